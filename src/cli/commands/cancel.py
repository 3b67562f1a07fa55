"""`csai cancel ID…`: these tasks, or all that a filter finds, will not be done."""

import sys
from typing import Annotated, Any

import typer

from cli.acts import note
from cli.exit_codes import NOT_FOUND, TOLD
from cli.filters import All, alone, begin, with_filter
from cli.following import answer
from cli.output import AsJson, Yes, print_json, safe, say
from services.celery_service import celery_service
from services.task_filters import TaskFilter


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("cancel", epilog=TOLD)(with_filter(cancel))


def cancel(
    asked: TaskFilter | None,
    task_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="The tasks; - reads ids, a line each.")
    ] = None,
    every: All = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Cancel tasks, for good, each with all tasks of it; says which changed.

    One that had ended before stays as it is, which is no failure. Where one is unknown the others are cancelled all
    the same, and the exit code is 3. With options of csai ls, or --all, it is all tasks like that which have not ended:
    it asks with their count, and prints the id of the task that does it.
    """
    if not task_ids:
        act_id = begin("cancel", asked, "Cancel {}?", "Cancels {}", every=every, yes=yes)
        answer(act_id, wait=False, timeout=None, as_json=as_json)
        return
    alone(asked, every=every)
    found = [_cancelled(one, as_json=as_json) for one in _ids(task_ids)]
    if as_json:
        print_json(found)
    if any(one["status"] == "UNKNOWN" for one in found):
        sys.exit(NOT_FOUND)


def _ids(given: list[str]) -> list[str]:
    """Return the ids, each once; `-` stands for those on the standard input."""
    named = [line for one in given for line in (sys.stdin.read().split() if one == "-" else [one])]
    return list(dict.fromkeys(named))


def _cancelled(task_id: str, *, as_json: bool) -> dict[str, Any]:
    """Cancel one task; returns what came of it."""
    changed = celery_service.cancel_task(task_id)
    if changed:
        note("task.cancel", ("task", task_id))
    status = celery_service.get_task_status(task_id)["status"]
    if not as_json and status == "UNKNOWN":
        say(f"{task_id}: there is no such task.")
    elif not as_json:
        print(safe(f"{task_id}: " + ("is cancelled." if changed else f"had ended before, as {status}.")))
    return {"task_id": task_id, "changed": changed, "status": status}
