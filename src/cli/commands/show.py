"""`csai show ID`: where a task stands, how its workers died, and what it logged."""

import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from cli.exit_codes import TOLD
from cli.following import Timeout, check_timeout, wait_for_end
from cli.output import AsJson, local, print_fields, print_json, print_line, state
from processors.redaction import redact
from records.task_logs import LogLine
from services.celery_service import celery_service
from services.status import incident_of, line_of, unknown_task
from services.wiring import parts

LINES = 50
MOST_LINES = 20_000
MOST_AT_ONCE = 1_000
"""New ones of one look, while a task is followed."""

MOMENTS = ("created_at", "due_at", "started_at", "finished_at", "expires_at")
LEVELS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("show", epilog=TOLD)(show)


def show(
    task_id: Annotated[str, typer.Argument(help="What a submit returned.")],
    logs: Annotated[bool, typer.Option("--logs", help="Print the lines that it logged, and nothing else.")] = False,
    lines: Annotated[
        int | None,
        typer.Option(
            "--lines", min=1, max=MOST_LINES, help=f"So many of them, the last; else {LINES}, or all by --logs."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until it ends: its lines as it logs them, then where it stands.")
    ] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Show where a task stands: its result or error, and what it logged.

    With --follow the exit code tells how it ended, and --json prints one line for each change: {"task": …} or
    {"log": …}.
    """
    check_timeout(timeout, waits=follow, by="--follow")
    wanted = lines or (MOST_LINES if logs else LINES)
    if follow:
        sys.exit(_follow(task_id, timeout, wanted, status_too=not logs, as_json=as_json))
    if logs:
        _print_lines(celery_service.get_task_logs(task_id, limit=wanted), as_json=as_json)
        return
    told = story_of(task_id, wanted)
    if as_json:
        print_json(told)
    else:
        print_story(told)


def story_of(task_id: str, lines: int) -> dict[str, Any]:
    """Return all that is told of a task, with secrets masked.

    Raises:
        UnknownTask: there is none.
    """
    status = redact(celery_service.get_task_status(task_id))
    if status["status"] == "UNKNOWN":
        raise unknown_task(task_id)
    return status | {
        "incidents": [incident_of(one) for one in parts().incidents.of([task_id])[task_id]],
        "logs": celery_service.get_task_logs(task_id, limit=lines),
    }


def print_story(told: Mapping[str, Any]) -> None:
    """Print a task for people: what there is of it, and its lines below."""
    fields = {name: value for name, value in told.items() if name != "logs" and value not in (None, [])}
    shown = {name: local(value) if name in MOMENTS else value for name, value in fields.items()}
    print_fields(shown | {"status": state(told["status"])})
    _print_lines(told.get("logs", ()), as_json=False)


def _print_lines(lines: Iterable[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(list(lines))
        return
    for line in lines:
        _print_line(line)


def _print_line(line: Mapping[str, Any]) -> None:
    level = Text(f"{line['level']:<8}", style=LEVELS.get(line["level"], ""))
    print_line(local(line["at"]), level, line["text"])


def _follow(task_id: str, timeout: float | None, lines: int, *, status_too: bool, as_json: bool) -> int:
    """Print what a task logs until it ends, then where it stands; returns 0 for success, 1 otherwise."""
    news = _News(task_id, lines)

    def looked(status: dict[str, Any]) -> None:
        for line in news.lines():
            if as_json:
                print_json({"log": line}, line=True)
            else:
                _print_line(line)
        if as_json and news.has_changed(status):
            print_json({"task": status}, line=True)

    status = wait_for_end(task_id, timeout, looked)
    if status_too and not as_json:
        print_story(status)
    return 0 if status["status"] == "SUCCESS" else 1


class _News:
    """Tells what is new of a task at each look.

    Args:
        task_id: whose.
        lines: how many of its lines are told at first.
    """

    def __init__(self, task_id: str, lines: int) -> None:
        self._task_id, self._most = task_id, lines
        self._last = (-1, -1)
        self._status: dict[str, Any] | None = None

    def lines(self) -> list[dict[str, Any]]:
        """Return what it has logged since the last look."""
        found = parts().task_logs.of(self._task_id, self._most)
        self._most = MOST_AT_ONCE
        new = [line for line in found if _place(line) > self._last]
        if new:
            self._last = _place(new[-1])
        return [line_of(line) for line in new]

    def has_changed(self, status: dict[str, Any]) -> bool:
        """Tell whether it stands elsewhere than at the last look."""
        changed = status != self._status
        self._status = status
        return changed


def _place(line: LogLine) -> tuple[int, int]:
    return line.run, line.number
