"""A task that takes its time, and tells a journal what it does; loaded by the workers of `lives` alone."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from processors.interfaces import Absent, Happened
from services.celery_app import celery_app


def note(journal: str, what: str, **more: Any) -> None:
    """Write a line whole; the moment is the kernel's monotonic clock, which nobody's wrong clock touches."""
    line = {"what": what, "at": time.monotonic(), "pid": os.getpid(), "host": socket.gethostname(), **more}
    with Path(journal).open("a") as file:
        file.write(json.dumps(line) + "\n")


@celery_app.task(name="lives.work", bind=True)
def work(self: Any, journal: str, number: int, seconds: float = 0.0, once: bool = False) -> int:
    """Work so long, then change the outside world: a line `done`.

    Args:
        journal: the file of lines.
        number: which task this is.
        seconds: how long it takes.
        once: whether the change is an effect, which happens once however often this runs.
    """
    run = self.current.fence.number
    note(journal, "begin", number=number, run=run)
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
        self.current.check_cancelled()

    def change() -> int:
        note(journal, "done", number=number, run=run)
        return number

    def find(_key: str) -> Happened | Absent:
        lines = map(json.loads, Path(journal).read_text().splitlines())
        there = any(line["what"] == "done" and line["number"] == number for line in lines)
        return Happened(number) if there else Absent()

    return self.effect(f"lives:{number}", change, deadline=2.0, reconcile=find) if once else change()
