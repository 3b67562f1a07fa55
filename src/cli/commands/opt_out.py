"""`csai opt-out`: who is not called any more."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List who is not called, in the order of their numbers."""
    found = celery_service.get_opt_outs(limit, after)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table("number", "source", "since", Column("reason", overflow="fold"), box=None)
    for one in found:
        table.add_row(*map(escape, (one["phone_number"], one["source"], one["created_at"], one["reason"])))
    Console().print(table if found else "Nobody has opted out.")


def add(number: Number, reason: Annotated[str, typer.Option(help="Kept with it, for people.")] = "") -> None:
    """Call a number no more, what waits for it in any campaign included."""
    new = celery_service.add_opt_out(number, reason)
    print(f"{number} is not called any more." if new else f"{number} had opted out before.")


def remove(number: Number) -> None:
    """Let a number be called again."""
    done = celery_service.remove_opt_out(number)
    print(f"{number} may be called again." if done else f"{number} had not opted out.")
