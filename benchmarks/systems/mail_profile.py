"""Told to a worker by `-I`: looks, each millisecond of its processor time, what it does while it sends a bulk.

The pool must be solo, whose tasks run in the main thread: that is the one which signals interrupt. What another thread
does meanwhile, such as SQLite's writer, is counted where the main thread waits for it.
"""

import json
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from celery.signals import task_postrun, task_prerun

EVERY_SECONDS = 0.001
BATCH = "email.send_batch"
PARTS = {
    "SMTP": r"adapters/smtp_",
    "database": r"records/",
    "composing": r"processors/(composition|messages|mail_|built_bodies|dkim)",
    "delivery: states, outcomes, results": r"processors/",
    "the task around a batch": r"",
}
SOURCES = str(Path(__file__).parents[2] / "src") + os.sep
_patterns = {name: re.compile(pattern) for name, pattern in PARTS.items()}
_known: dict[str, str] = {}
_counted: Counter[str] = Counter()
_began = 0.0


def look(_signal: int, frame: FrameType | None) -> None:
    """Count the part that the innermost of our own modules belongs to."""
    while frame is not None and not frame.f_code.co_filename.startswith(SOURCES):
        frame = frame.f_back
    file = "" if frame is None else frame.f_code.co_filename.removeprefix(SOURCES)
    _counted[_known.get(file) or _known.setdefault(file, part_of(file))] += 1


def part_of(file: str) -> str:
    """Return the part that a module of ours belongs to."""
    return next(name for name, pattern in _patterns.items() if pattern.match(file))


@task_prerun.connect
def begin(task: Any, **_: Any) -> None:
    """Begin with the first batch."""
    global _began  # noqa: PLW0603 - the process's own
    if task.name == BATCH and not _began:
        _began = time.process_time()
        signal.signal(signal.SIGPROF, look)
        signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)


@task_postrun.connect
def tell(task: Any, **_: Any) -> None:
    """Write down, after each batch, the processor time so far and how the looks fell."""
    if task.name == BATCH:
        told = {"seconds": time.process_time() - _began, "looks": {name: _counted[name] for name in PARTS}}
        Path(os.environ["BENCH_PROFILE"]).write_text(json.dumps(told))  # noqa: TID251 - the runner's word to a worker
