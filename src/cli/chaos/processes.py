"""The processes of one run: each a group of its own, and none outlives the run."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from config.child_process import begin_held_child, stop_signals_held
from config.settings import PROJECT_ROOT

END_SECONDS = 20.0
STOP_SECONDS = 5.0
PAUSE_SECONDS = 0.001
STOPPED = frozenset("TZX")
"""How proc(5) calls a thread that a signal has stopped, or that has ended."""

LAST_LINES = 5


class ProcessGroup:
    """A process with all that it starts."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """The id of its first process, and of the group."""
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        """What it reads."""
        if self._process.stdin is None:
            raise ValueError(f"{self.name} was started without an input.")
        return self._process.stdin

    def alive(self) -> bool:
        """Tell whether its first process runs."""
        return self._process.poll() is None

    def ended_well(self) -> bool:
        """Tell whether its first process has ended as it should."""
        return self._process.poll() == 0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; one that has ended is left alone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def freeze(self) -> None:
        """Stop the whole group, and return once nothing of it runs any more.

        Whoever is within a system call ends that first, and may take a lock on a file by it.
        """
        self.signal(signal.SIGSTOP)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and not all(_stands_still(one) for one in self._members()):
            time.sleep(PAUSE_SECONDS)

    def _members(self) -> list[int]:
        """Return the processes of the group."""
        with suppress(psutil.Error):
            below = [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
            return [self.pid, *(pid for pid in below if _group(pid) == self.pid)]
        return []

    def kill(self) -> None:
        """Kill -9 of all of it."""
        self.signal(signal.SIGKILL)
        self._process.wait(END_SECONDS)
        if self._process.stdin is not None:
            with suppress(OSError):  # what it did not read any more
                self._process.stdin.close()

    def terminate(self) -> None:
        """Ask the first process to end; kill it where it does not."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self.kill()

    def pool(self) -> list[psutil.Process]:
        """Return the processes that a worker's pool has forked: they still have its command line."""
        with suppress(psutil.Error):
            own = psutil.Process(self.pid)
            return [child for child in own.children() if _command(child) == own.cmdline()]
        return []

    def last_words(self, lines: int = LAST_LINES) -> str:
        """Return what it printed last."""
        printed = self.log.read_text(errors="replace").splitlines()
        return " / ".join(line.strip() for line in printed[-lines:] if line.strip())


class Processes:
    """Starts process groups and, at the end, leaves none.

    Args:
        logs: the folder for what they print.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._started: list[ProcessGroup] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for group in reversed(self._started):
            group.kill()

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        reads: bool = False,
        folder: Path = PROJECT_ROOT,
    ) -> ProcessGroup:
        """Start a command; it is killed should this process die.

        Args:
            name: names its log.
            command: the program and its arguments.
            environment: its whole environment.
            reads: whether it has an input.
            folder: where it works.
        """
        log = self._logs / f"{name}.txt"
        with log.open("ab") as output, stop_signals_held():
            process = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                preexec_fn=partial(begin_held_child, os.getpid(), signal.SIGKILL),  # noqa: PLW1509 - this process has no threads
            )
            group = ProcessGroup(name, process, log)
            self._started = [*(one for one in self._started if one.alive()), group]
        return group


def _group(pid: int) -> int | None:
    with suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None


def _stands_still(pid: int) -> bool:
    """Tell whether no thread of a process runs; where the system does not tell of threads, none is taken to."""
    return all(_state(place) in STOPPED for place in Path(f"/proc/{pid}/task").glob("*/stat"))


def _state(place: Path) -> str:
    with suppress(OSError):
        return place.read_text().rpartition(") ")[2][:1]
    return "X"


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []
