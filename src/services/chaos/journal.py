"""What happened to a numbered task, one line per event, in a file of the process that saw it.

A line is one `write` to a file opened for appending: a process that is killed at any moment has written it or has not,
and no process waits for another.
"""

import os
import time
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from config.settings import settings

MAIN_PID = os.getpid()
"""The worker's own process: this module is imported before the pool forks."""


class Kind(StrEnum):
    """What a line tells."""

    READY = "ready"  # a worker or a publisher takes work from now on
    SENT = "sent"  # the publisher begins to hand over the task
    ACCEPTED = "accepted"  # the hand-over returned
    RECEIVED = "received"  # a worker got its message
    STARTED = "started"  # a run began
    DONE = "done"  # the effect
    LEFT = "left"  # the run ended without one: whether a former run's happened is open
    FINISHED = "finished"  # the record says SUCCESS
    FIRED = "fired"  # a task of a schedule began


class Event(NamedTuple):
    """One line.

    Attributes:
        kind: what happened.
        number: the task, or the schedule; 0 where it is about none.
        run: the record's run; 0 without a record.
        time: seconds by the machine's monotonic clock, which all its processes share.
        main: the worker's (or publisher's) process.
        pid: the process that wrote the line.
        more: what else it says: of a fire its time, in ISO 8601, and its task's id.
    """

    kind: Kind
    number: int
    run: int
    time: float
    main: int
    pid: int
    more: tuple[str, ...] = ()


class Journal:
    """Writes this process's lines; opens a new file after a fork."""

    def __init__(self) -> None:
        self._file = -1
        self._pid = 0

    def write(self, kind: Kind, numbers: Iterable[int] = (0,), run: int = 0, more: Iterable[str] = ()) -> None:
        """Write one line per number, all at once."""
        if self._pid != os.getpid():
            self._open()
        now = time.monotonic()
        lines = (" ".join((kind, str(number), str(run), f"{now:.6f}", *more)) for number in numbers)
        os.write(self._file, "".join(f"{line}\n" for line in lines).encode())

    def _open(self) -> None:
        self._pid = os.getpid()
        path = journal_folder(settings.data_dir) / f"{MAIN_PID}-{self._pid}-{time.monotonic_ns()}"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def journal_folder(data_dir: Path) -> Path:
    """Return where the files lie; whoever starts the processes makes the folder."""
    return data_dir / "journal"


def tells(folder: Path, kind: Kind, number: int) -> bool:
    """Tell whether any process has written such a line about a task."""
    begin = f"{kind} {number} ".encode()
    return any(line.startswith(begin) for path in folder.iterdir() for line in path.read_bytes().splitlines())


def parse(file_name: str, line: str) -> Event:
    """Read one whole line back.

    Raises:
        ValueError: no process of ours wrote it.
    """
    main, pid, _ = file_name.split("-")
    kind, number, run, moment, *more = line.split(" ")
    return Event(Kind(kind), int(number), int(run), float(moment), int(main), int(pid), tuple(more))


journal = Journal()
