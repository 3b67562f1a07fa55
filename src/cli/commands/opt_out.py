"""`csai opt-out`: who is not called any more."""

from typing import Annotated

import typer

from cli.acts import change
from cli.output import AsJson, local, print_json, print_table
from services.celery_service import celery_service

Number = Annotated[str, typer.Argument(help="The phone number, as +49 170 1234567.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Who is not called any more, and why.", no_args_is_help=True)
    group.command("list")(show)
    group.command("add")(add)
    group.command("remove")(remove)
    root.add_typer(group, name="opt-out")


def show(
    limit: Annotated[int, typer.Option("--limit", help="How many at most.")] = 100,
    after: Annotated[str | None, typer.Option("--after", help="The last number of the page before.")] = None,
    as_json: AsJson = False,
) -> None:
    """List who is not called, in the order of their numbers."""
    found = celery_service.get_opt_outs(limit, after)
    if as_json:
        print_json(found)
        return
    rows = [(one["phone_number"], one["source"], local(one["created_at"]), one["reason"]) for one in found]
    print_table(("number", "source", "since", "reason"), rows, nothing="Nobody has opted out.")


def add(
    number: Number,
    reason: Annotated[str, typer.Option(help="Kept with it, for people.")] = "",
    as_json: AsJson = False,
) -> None:
    """Call a number no more, what waits for it in any campaign included."""
    change(
        "opt_out.add",
        ("number", number),
        lambda: celery_service.add_opt_out(number, reason),
        f"{number} is not called any more.",
        f"{number} had opted out before.",
        as_json=as_json,
    )


def remove(number: Number, as_json: AsJson = False) -> None:
    """Let a number be called again."""
    change(
        "opt_out.remove",
        ("number", number),
        lambda: celery_service.remove_opt_out(number),
        f"{number} may be called again.",
        f"{number} had not opted out.",
        as_json=as_json,
    )
