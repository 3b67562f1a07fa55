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

from config.child_process import die_with_parent
from config.settings import PROJECT_ROOT

KEPT_LINES = 30
READ_BYTES = 65_536
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0


@dataclass
class SupervisedPart:
    """A part that the supervisor keeps running.

    Attributes:
        name: what people call it.
        command: how it is started.
        ready: tells whether it does its work now.
        stop_signal: asks it to end cleanly.
        stop_seconds: how long that may take before it is killed.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    process: subprocess.Popen[bytes] | None = None
    was_ready: bool = False
    lines: deque[str] = field(default_factory=lambda: deque[str](maxlen=KEPT_LINES))
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

    def read(self, selector: selectors.BaseSelector) -> None:
        """Take what the process printed; its last lines tell why it ended."""
        if self.process is None or self.process.stdout is None:
            return
        chunk = self.process.stdout.read(READ_BYTES)
        if chunk:
            self.lines.extend(line for line in chunk.decode("utf-8", "replace").splitlines() if line.strip())
        elif chunk == b"":
            selector.unregister(self.process.stdout)
            self.process.stdout.close()

    def bury(self, selector: selectors.BaseSelector) -> float:
        """Take leave of a process that ended; returns the seconds until it may start again."""
        if self.process is not None and self.process.stdout is not None and not self.process.stdout.closed:
            self.read(selector)
            if not self.process.stdout.closed:
                selector.unregister(self.process.stdout)
                self.process.stdout.close()
        self._kill_group()
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
        if self.alive() and self.process is not None:
            self.process.send_signal(self.stop_signal)

    def kill(self) -> None:
        """End the process and its whole group at once."""
        self._kill_group()
        if self.process is not None:
            self.process.wait()

    def _kill_group(self) -> None:
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # the whole group has ended
