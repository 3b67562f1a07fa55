"""Waiting for a task at a terminal: a bar while it goes on, its result at the end."""

import shlex
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.output import print_json, safe, say
from processors.errors import InvalidArgument, TaskTimeout
from processors.redaction import redact
from services.celery_service import celery_service
from services.status import unknown_task

POLL_SECONDS = 0.2
FINAL = frozenset({"SUCCESS", "FAILURE", "REVOKED"})

Wait = Annotated[bool, typer.Option("--wait", help="Wait for its end, with a progress bar.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, help="Wait so many seconds, then end with 4; left out: for ever.")
]

Look = Callable[[dict[str, Any]], None]


def check_timeout(timeout: float | None, *, waits: bool, by: str = "--wait") -> None:
    """Refuse a time to wait where nobody waits.

    Raises:
        InvalidArgument: it is given without the option that waits.
    """
    if timeout is not None and not waits:
        raise InvalidArgument(f"--timeout: says how long to wait, and wants {by}; got {timeout:g} without it.")


def answer(task_id: str, *, wait: bool, timeout: float | None, as_json: bool) -> None:
    """Print the id of a task that was submitted; with `wait` follow it, and end with the exit code that tells of it."""
    if as_json and not wait:
        print_json({"task_id": task_id})
    elif not as_json:
        print(task_id, flush=True)
    if wait:
        sys.exit(follow(task_id, timeout=timeout, as_json=as_json))


def answer_many(task_ids: Sequence[str], *, wait: bool, timeout: float | None, as_json: bool) -> None:
    """Print the ids of tasks that were submitted at once; with `wait` follow all, as `answer` follows one."""
    if as_json and not wait:
        print_json({"task_ids": list(task_ids)})
    elif not as_json:
        print("\n".join(task_ids), flush=True)
    if wait:
        statuses = wait_for_all(task_ids, timeout)
        print_json(statuses if as_json else [status["info"] for status in statuses])
        sys.exit(0 if all(status["status"] == "SUCCESS" for status in statuses) else 1)


def follow(task_id: str, *, timeout: float | None = None, as_json: bool = False) -> int:
    """Show a task's progress until its end, then its result.

    Args:
        task_id: whose.
        timeout: seconds; None: as long as it takes.
        as_json: whether to print all of its status.

    Returns:
        The exit code: 0 for success, 1 otherwise.

    Raises:
        TaskTimeout: it goes on after so many seconds.
        UnknownTask: there is none.
    """
    status = wait_for_end(task_id, timeout)
    print_json(status if as_json else status["info"])
    return 0 if status["status"] == "SUCCESS" else 1


def wait_for_end(task_id: str, timeout: float | None = None, looked: Look | None = None) -> dict[str, Any]:
    """Return how a task ended, with secrets masked; a bar shows how far it is.

    Args:
        task_id: whose.
        timeout: seconds; None: as long as it takes.
        looked: told at each look where it stands.

    Raises:
        TaskTimeout: it goes on after so many seconds.
        UnknownTask: there is none.
    """
    began = time.monotonic()
    with _going_on(task_id), progress_bar() as bar:

        def look(status: dict[str, Any]) -> None:
            bar(status)
            if looked is not None:
                looked(status)

        return _ended(task_id, began, timeout, look)


def wait_for_all(task_ids: Sequence[str], timeout: float | None = None) -> list[dict[str, Any]]:
    """Return how tasks ended, in their order; one bar shows how many have. Raises as `wait_for_end`."""
    began, statuses = time.monotonic(), list[dict[str, Any]]()
    with _going_on(*task_ids), progress_bar() as bar:

        def look(_: dict[str, Any]) -> None:
            done, total = len(statuses), len(task_ids)
            bar({"status": "PROGRESS", "info": {"progress": 100 * done / total, "status": f"{done} of {total} ended"}})

        for task_id in task_ids:
            statuses.append(_ended(task_id, began, timeout, look))
    return statuses


def _ended(task_id: str, began: float, timeout: float | None, look: Look) -> dict[str, Any]:
    while True:
        status = redact(celery_service.get_task_status(task_id))
        if status["status"] == "UNKNOWN":
            raise unknown_task(task_id)
        look(status)
        if status["status"] in FINAL:
            return status
        if timeout is not None and time.monotonic() - began >= timeout:
            raise TaskTimeout(
                f"Task {task_id} has no result after {timeout:g} s; it is {status['status']} and goes on."
            )
        time.sleep(POLL_SECONDS)


@contextmanager
def progress_bar() -> Generator[Look]:
    """Show a bar on the standard error for as long as this lasts, where that is a terminal; yields what moves it."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    progress = Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # what goes into a file is not shown above the bar
    )
    with progress:
        bar = progress.add_task("waits", total=100)

        def move(status: dict[str, Any]) -> None:
            done, words = how_far(status)
            progress.update(bar, completed=done, description=safe(words))

        yield move


def how_far(status: dict[str, Any]) -> tuple[float, str]:
    """Return how far a task is, in per cent, and what it says of that."""
    if status["status"] in FINAL:
        return 100, str(status["status"])
    info: dict[str, Any] = status["info"] or {}
    if "progress" in info:
        return info["progress"] or 0, " ".join(str(info.get("status") or "started").split())
    waits_for = info.get("waits_for")
    error = f" after: {info['error']}" if info.get("error") else ""
    return 0, f"waits for {waits_for}{error}" if waits_for else "waits"


@contextmanager
def _going_on(task_id: str, *more: str) -> Generator[None]:
    """Say, where somebody stops waiting, that the task does not stop with it."""
    try:
        yield
    except KeyboardInterrupt:
        who = f"Task {task_id} and {len(more)} others go on" if more else f"Task {task_id} goes on"
        say(f"{who}: see csai show {shlex.quote(task_id)} --follow, or csai cancel.")
        raise
