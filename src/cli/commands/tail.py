"""`csai tail`: tasks as they change, until Ctrl-C."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.exit_codes import TOLD
from cli.given import seconds_ago
from cli.output import AsJson, local, print_json, print_line, say, span, state
from processors.errors import InvalidArgument, ServiceUnavailable
from records.task_changes import WantedChanges
from services.celery_app import QUEUES
from services.task_changes import MOST, STATES, ChangedTasks

LOOK_SECONDS = 0.5
LONGEST_ERROR = 200

States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="<str>",
        help=f"One of {', '.join(STATES)}; may be given again.",
        autocompletion=lambda: list(STATES),
        show_default=False,
    ),
]
Queue = Annotated[str | None, typer.Option("--queue", help="Of this queue.", autocompletion=lambda: list(QUEUES))]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("tail", epilog=TOLD)(tail)


def tail(
    states: States = None,
    category: Annotated[str | None, typer.Option("--category", help="Of this category.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of this name.")] = None,
    queue: Queue = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Begin so long ago: 90s, 5m, 2h, or a moment; left out: now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show tasks as they change, until Ctrl-C; --json prints a line for each change."""
    wanted = WantedChanges(_states(states or []), category, name, queue)
    tasks = ChangedTasks(wanted, 0 if since is None else seconds_ago("--since", since))
    away = False
    while True:
        try:
            changed, away = tasks.look(), False
        except ServiceUnavailable as error:
            if not away:
                say(f"{error} This goes on once it does.")
            changed, away = [], True
        for one in changed:
            _print(one, as_json=as_json)
        if tasks.left_out and changed:
            say(f"More than {MOST} tasks changed at once: those before these are left out.")
        time.sleep(LOOK_SECONDS)


def _states(given: list[str]) -> tuple[str, ...]:
    states = tuple(one.upper() for one in given)
    for one in states:
        if one not in STATES:
            raise InvalidArgument(f"--state: must be one of {', '.join(STATES)}; got {one[:80]!r}.")
    return states


def _print(changed: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(changed, line=True)
        return
    head = state(changed["status"])
    head.pad_right(8 - len(head))
    print_line(local(changed["at"]), head, changed["task_id"], changed["name"], _words(changed))


def _words(changed: Mapping[str, Any]) -> str:
    """Return what else there is to say of a change."""
    match changed["status"]:
        case "PROGRESS":
            done = "" if changed["progress"] is None else f"{changed['progress']:.0f} % "
            return f"{done}{changed['progress_text'] or ''}".rstrip()
        case "FAILURE" | "RETRY":
            return f"{changed['error_type']}: {changed['error']}"[:LONGEST_ERROR]
        case "SUCCESS":
            return span(changed["seconds"])
        case "STARTED":
            return f"at {changed['worker']}"
        case _:
            return f"in {changed['queue']}"
