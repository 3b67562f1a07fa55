"""Processes that the benchmark starts: each in a session of its own, each ended by its id with all its children."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import psutil

from config.child_process import begin_held_child, stop_signals_held

END_SECONDS = 10
LOOK_SECONDS = 0.02
LAST_LINES, LAST_CHARACTERS = 3, 300


class ProcessFailed(Exception):
    """A process of a measurement ended before its time; the message has its last words."""


class Processes:
    """Some processes that live and end together.

    Args:
        environment: their environment.
        folder: where they work, and write what they say.
    """

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment, self._folder = environment, folder
        self._logs: dict[int, Path] = {}
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __len__(self) -> int:
        return len(self._started)

    def start(self, command: Sequence[str], user: int | None = None) -> subprocess.Popen[bytes]:
        """Start a process; it hears nothing of the terminal's Ctrl-C, and ends with this process at the latest."""
        log = self._folder / f"{len(self._started)}-{Path(command[0]).name}.txt"
        with log.open("wb") as output, stop_signals_held():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self.environment,
                start_new_session=True,
                user=user,
                preexec_fn=partial(begin_held_child, os.getpid()),  # noqa: PLW1509 - this process has no threads
            )
            self._started.append(process)
            self._logs[process.pid] = log
        return process

    def run(self, command: Sequence[str], seconds: float) -> dict[str, Any]:
        """Run a process to its end and return the JSON of its last line.

        Raises:
            ProcessFailed: it failed or took longer.
        """
        return self.outcome(self.start(command), seconds)

    def outcome(self, process: subprocess.Popen[bytes], seconds: float) -> dict[str, Any]:
        """Wait for the end of a process and return the JSON of its last line; raises as `run`."""
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(f"not done after {seconds:.0f} s: {self.last_words(process)}") from None
        if code:
            raise ProcessFailed(f"ended with {code}: {self.last_words(process)}")
        return json.loads(self.said_by(process).read_text().splitlines()[-1])

    def said_by(self, process: subprocess.Popen[bytes]) -> Path:
        """Return the file that has what a process said."""
        return self._logs[process.pid]

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill one of them with its whole group at once; returns when nothing of it lives."""
        group = [one for one in self.tree() if os.getpgid(one.pid) == process.pid]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(END_SECONDS)
        if left := _wait(group):
            raise ProcessFailed(f"{len(left)} processes outlived kill -9")

    def check(self) -> None:
        """Raise `ProcessFailed` where one of them has ended."""
        for process in self._started:
            if process.poll() is not None:
                raise ProcessFailed(f"a worker ended with {process.returncode}: {self.last_words(process)}")

    def last_words(self, process: subprocess.Popen[bytes]) -> str:
        """Return the last lines that a process wrote."""
        lines = [line.strip() for line in self._logs[process.pid].read_text(errors="replace").splitlines()]
        return " / ".join([line for line in lines if line][-LAST_LINES:])[-LAST_CHARACTERS:]

    def all_last_words(self) -> str:
        """Return the last lines of each."""
        return " | ".join(filter(None, map(self.last_words, self._started))) or "nothing was said"

    def tree(self) -> list[psutil.Process]:
        """Return all that live: what was started, and what that started."""
        found: list[psutil.Process] = []
        for process in self._started:
            try:
                root = psutil.Process(process.pid)
                found += [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        return found

    def cpu_seconds(self) -> float:
        """Return the processor time that all of them have used so far."""
        return sum(sum(times[:2]) for times in (_cpu_times(process) for process in self.tree()) if times)

    def memory_mb(self) -> tuple[float, float, int]:
        """Return the sum of their PSS and RSS in MiB, and their number."""
        sizes = [process.memory_full_info() for process in self.tree()]
        return sum(size.pss for size in sizes) / 2**20, sum(size.rss for size in sizes) / 2**20, len(sizes)

    def stop(self) -> None:
        """End all of them: asked first, then killed, children that outlived their parent included."""
        tree = self.tree()
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in _wait(tree):
            process.kill()
        for process in self._started:
            process.wait(END_SECONDS)
        self._started.clear()


def _wait(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Wait for the end of these; returns those that live on."""
    deadline = time.monotonic() + END_SECONDS
    while (alive := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return alive


def _lives(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _cpu_times(process: psutil.Process) -> Any:
    try:
        return process.cpu_times()
    except psutil.NoSuchProcess:
        return None
