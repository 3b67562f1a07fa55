"""One part of the service as a child process: started, watched, restarted with back-off, ended with its whole group."""

import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from config.child_process import die_with_parent
from config.settings import PROJECT_ROOT, settings

KEPT_LINES = 30
READ_BYTES = 65_536
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
MOST_LEAVING = 4
"""Processes of a part that end beside the one that works: each needs a worker's memory."""

SUPERVISED = "--supervised"
"""Tells a worker that its next process is started here as soon as it leaves a mark, while it ends its last tasks."""


def mark_of(pid: int) -> Path:
    """Return the file in which a process says that it takes nothing more, and how many seconds it may need to end."""
    return settings.run_dir / f"draining-{pid}"


def forget_marks() -> None:
    """Remove what processes of an earlier start have left."""
    for mark in settings.run_dir.glob("draining-*"):
        mark.unlink()


def leave_mark(seconds: float) -> None:
    """Say so of this process.

    Args:
        seconds: how long it may need to end.
    """
    mark = mark_of(os.getpid())
    unfinished = mark.with_suffix(".new")
    unfinished.write_text(str(int(seconds)))
    unfinished.rename(mark)


@dataclass
class SupervisedPart:
    """A part that the supervisor keeps running.

    Attributes:
        name: what people call it.
        command: how it is started.
        ready: tells whether it does its work now.
        stop_signal: asks it to end cleanly.
        stop_seconds: how long that may take before it is killed.
        leaving: processes whose place another one has taken, and when, by `time.monotonic`, they are killed.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    process: subprocess.Popen[bytes] | None = None
    was_ready: bool = False
    lines: deque[str] = field(default_factory=lambda: deque[str](maxlen=KEPT_LINES))
    leaving: dict[subprocess.Popen[bytes], float] = field(default_factory=dict[subprocess.Popen[bytes], float])
    _started_at: float = 0.0
    _failures: int = 0
    _next_start: float = 0.0

    def start(self, selector: selectors.BaseSelector) -> None:
        """Start the process in a group of its own; it is killed should this process die."""
        self.process = subprocess.Popen(  # noqa: S603 - our own commands
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=PROJECT_ROOT,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGKILL),  # noqa: PLW1509 - the supervisor starts no threads
        )
        self._started_at = time.monotonic()
        self.was_ready = False
        if self.process.stdout is not None:
            os.set_blocking(self.process.stdout.fileno(), False)
            selector.register(self.process.stdout, selectors.EVENT_READ, self)

    def alive(self) -> bool:
        """Tell whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def alive_or_leaving(self) -> bool:
        """Tell whether any process of this part runs."""
        return self.alive() or any(process.poll() is None for process in self.leaving)

    def hand_over(self) -> bool:
        """Make room for the next process where this one takes nothing more; False where it goes on.

        Where too many end already, the next process waits for one of them.
        """
        if self.process is None or len(self.leaving) >= MOST_LEAVING:
            return False
        mark = mark_of(self.process.pid)
        try:
            seconds = int(mark.read_text())
        except FileNotFoundError:
            return False
        mark.unlink()
        self.leaving[self.process] = time.monotonic() + seconds
        self.process = None
        return True

    def see_off(self, selector: selectors.BaseSelector) -> list[int]:
        """Take leave of those that have ended, or should have; returns how they ended."""
        now = time.monotonic()
        gone = [one for one, until in self.leaving.items() if one.poll() is not None or now > until]
        for process in gone:
            del self.leaving[process]
            self._end(process, selector)
        return [process.wait() for process in gone]

    def read(self, selector: selectors.BaseSelector, stream: IO[bytes]) -> None:
        """Take what a process printed; its last lines tell why it ended."""
        chunk = stream.read(READ_BYTES)
        if chunk:
            self.lines.extend(line for line in chunk.decode("utf-8", "replace").splitlines() if line.strip())
        elif chunk == b"":
            selector.unregister(stream)
            stream.close()

    def bury(self, selector: selectors.BaseSelector) -> float:
        """Take leave of a process that ended; returns the seconds until it may start again."""
        if self.process is not None:
            mark_of(self.process.pid).unlink(missing_ok=True)
            self._end(self.process, selector)
        steady = time.monotonic() - self._started_at >= STEADY_SECONDS
        self._failures = 1 if steady else self._failures + 1
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (self._failures - 1))
        self._next_start = time.monotonic() + pause
        self.process = None
        return pause

    def may_start(self) -> bool:
        """Tell whether the pause after the last end is over."""
        return time.monotonic() >= self._next_start

    def ask_to_stop(self) -> None:
        """Ask for a clean end."""
        for process in self._processes():
            if process.poll() is None:
                process.send_signal(self.stop_signal)

    def kill(self) -> None:
        """End the processes and their whole groups at once."""
        for process in self._processes():
            _kill_group(process)
            process.wait()

    def _processes(self) -> list[subprocess.Popen[bytes]]:
        return [*self.leaving, *([] if self.process is None else [self.process])]

    def _end(self, process: subprocess.Popen[bytes], selector: selectors.BaseSelector) -> None:
        if process.stdout is not None and not process.stdout.closed:
            self.read(selector, process.stdout)
            if not process.stdout.closed:
                selector.unregister(process.stdout)
                process.stdout.close()
        _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # the whole group has ended
