"""A leader that knows the tests' tasks, and freezes or dies at a point of its work.

FAULT is a signal and a point, such as SIGKILL:moved; PUBLISHED is a file that gets the id of each task it publishes.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import signals

import service_tasks  # noqa: F401 - so that they can be scheduled
from records import schedules
from records.schedules import Schedules
from records.task_moves import TaskMoves
from services import leader

strikes = dict([reversed(os.environ["FAULT"].split(":"))]) if "FAULT" in os.environ else {}


def strike(point: str) -> None:
    """Do once what is to happen at this point."""
    if name := strikes.pop(point, None):
        print(f"{name} at {point}", flush=True)  # noqa: T201 - the test reads it
        os.kill(os.getpid(), signal.Signals[name])


def striking(point: str, do: Callable[..., Any], *, before: bool = False) -> Callable[..., Any]:
    """Return what does the same, and then meets the point if something came of it; or meets it first."""

    def done(*arguments: Any, **options: Any) -> Any:
        if before:
            strike(point)
        result = do(*arguments, **options)
        if result and not before:
            strike(point)
        if point == "fired":
            print(f"moved {len(result)}", flush=True)  # noqa: T201 - the test reads it
        return result

    return done


def note(headers: dict[str, Any], **_: Any) -> None:
    with Path(os.environ["PUBLISHED"]).open("a") as file:
        file.write(f"{headers['id']}\n")


Schedules.due = striking("read", Schedules.due)
Schedules.fire = striking("fired", Schedules.fire)
schedules.insert_drafts = striking("moved", schedules.insert_drafts, before=True)
TaskMoves.claim = striking("claimed", TaskMoves.claim)
if "PUBLISHED" in os.environ:
    signals.after_task_publish.connect(note, weak=False)

if __name__ == "__main__":
    leader.main()
