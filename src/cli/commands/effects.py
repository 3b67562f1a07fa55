"""`csai effects`: what nobody knows whether it happened, and settling it."""

from typing import Annotated

import typer

from cli.acts import note
from cli.exit_codes import TOLD
from cli.given import JSON_FORMS, json_of
from cli.output import AsJson, local, print_json, print_table, tell
from processors.errors import InvalidArgument
from services.celery_service import celery_service

COLUMNS = ("key", "kind", "state", "since", "task", "error")


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Effects, mails and calls in doubt.", epilog=TOLD)
    group.callback(invoke_without_command=True)(effects)
    group.command("settle")(settle)
    root.add_typer(group, name="effects")


def effects(context: typer.Context, as_json: AsJson = False) -> None:
    """List what nobody knows whether it happened.

    What is intended is looked at again by its task; what is unknown waits for csai effects settle.
    """
    if context.invoked_subcommand is not None:
        return
    found = celery_service.get_effects_in_doubt()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["key"],
            one["kind"],
            one["state"],
            local(one["intended_at"]),
            f"{one['name']} {one['task_id']}",
            one["error"],
        )
        for one in found
    ]
    print_table(COLUMNS, rows, nothing="Nothing is in doubt.")


def settle(
    key: Annotated[str, typer.Argument(help="As csai effects shows it.")],
    absent: Annotated[bool, typer.Option("--absent", help="It did not happen: a retry of its task may do it.")] = False,
    outcome: Annotated[
        str | None, typer.Option("--outcome", metavar="<JSON>", help=f"It happened, and came to this: {JSON_FORMS}.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what became of an effect in doubt, after a look at the other side."""
    if absent is (outcome is not None):
        raise InvalidArgument("settle: give either --absent (it did not happen) or --outcome (it happened).")
    if outcome is None:
        celery_service.settle_effect(key, absent=True)
    else:
        celery_service.settle_effect(key, json_of("--outcome", outcome))
    note("effect.settle", ("effect", key), details={"absent": absent})
    tell({"changed": True}, f"{key} is settled: it {'did not happen' if absent else 'happened'}.", as_json=as_json)
