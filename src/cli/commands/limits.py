"""`csai limits`: how many tasks may start and run, and changing it."""

from typing import Annotated, Any

import typer

from cli.acts import note
from cli.exit_codes import TOLD
from cli.output import AsJson, print_json, print_table
from services.celery_service import celery_service

Scope = Annotated[
    str, typer.Argument(help="Such as queue:email, category:email, task:email.send_email, tenant:acme or tenant:*.")
]

COLUMNS = ("scope", "rate", "at once", "from", "started", "run", "wait")
NUMBERS = frozenset({"started", "run", "wait"})


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="How many tasks may start and run.", epilog=TOLD)
    group.callback(invoke_without_command=True)(limits)
    group.command("set")(change)
    group.command("clear")(clear)
    root.add_typer(group, name="limits")


def limits(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the limits in force, with what started, runs and waits under each."""
    if context.invoked_subcommand is None:
        _print(celery_service.get_limits(), as_json=as_json)


def change(
    scope: Scope,
    rate: Annotated[
        str | None, typer.Option("--rate", help="Starts per second, minute or hour, such as 50/m, or none.")
    ] = None,
    concurrency: Annotated[
        str | None, typer.Option("--concurrency", metavar="<number>", help="How many may run at once, or none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Limit starts over all workers, from the next one on; what is left out stays as it is."""
    at_once = int(concurrency) if concurrency and concurrency.isdecimal() else concurrency
    in_force = celery_service.set_limit(scope, rate, at_once)
    note("limit.set", ("limit", scope), details={"rate": rate, "concurrency": at_once})
    _print(in_force, as_json=as_json)


def clear(scope: Scope, as_json: AsJson = False) -> None:
    """Forget what was set for a scope; its default is in force then."""
    in_force = celery_service.clear_limit(scope)
    note("limit.clear", ("limit", scope))
    _print(in_force, as_json=as_json)


def _print(told: list[dict[str, Any]] | dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    names = ("scope", "rate", "concurrency", "source", "used", "running", "waiting")
    rows = told if isinstance(told, list) else [told]
    print_table(COLUMNS, [[one[name] for name in names] for one in rows], right=NUMBERS)
