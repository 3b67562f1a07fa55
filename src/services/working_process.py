"""This process as a worker: its row, its heartbeat, and the runs it has in hand."""

import os
import resource
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

from config.log_setup import get_logger
from processors.errors import ServiceUnavailable
from records.workers import RENEW_SECONDS
from services.wiring import parts

logger = get_logger()


@dataclass(slots=True)
class RunInHand:
    """One run that this process works on; `lost` is set once the record is no longer its own."""

    task_id: str
    run: int
    lost: bool = False
    on_lost: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])

    def when_lost(self, call: Callable[[], object]) -> None:
        """Call this once, from whatever thread notices, when the record is no longer this run's."""
        self.on_lost.append(call)
        if self.lost:
            self.lose()

    def lose(self) -> None:
        """Note that the record is no longer this run's."""
        self.lost = True
        with suppress(IndexError):  # another thread may take the last one
            while self.on_lost:
                self.on_lost.pop()()


class WorkingProcess:
    """Keeps this process's row alive from a thread that no task blocks, and compares its runs with the records'."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def enter(self, name: str) -> str:
        """Return this process's worker id; announces it, before its first claim, in each process anew.

        Args:
            name: Celery's node name.
        """
        with self._lock:
            if self._pid != os.getpid():
                self._forget()
            if self._id is None:
                self._name = name
                self._announce()
                self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
                self._thread.start()
            return self._id or ""

    def begin(self, task_id: str, run: int) -> RunInHand:
        """Take a run in hand."""
        hand = RunInHand(task_id, run)
        self._runs[task_id] = hand
        return hand

    def end(self, hand: RunInHand) -> None:
        """Put a run down."""
        if self._runs.get(hand.task_id) is hand:
            del self._runs[hand.task_id]

    def leave(self) -> None:
        """Say goodbye: what is still in hand is taken back by the leader at once."""
        self._stopping.set()
        if self._id is not None and self._pid == os.getpid():
            try:
                parts().workers.stop(self._id)
            except ServiceUnavailable as error:
                logger.warning("goodbye_unsaid", worker=self._name, error=str(error))
        self._id = None

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._id: str | None = None
        self._name = ""
        self._runs: dict[str, RunInHand] = {}
        self._strays: dict[str, int] = {}
        self._stopping = threading.Event()

    def _announce(self) -> None:
        fresh = str(uuid4())
        parts().workers.start(fresh, self._name, socket.gethostname(), os.getpid(), os.getppid(), peak_memory_mb())
        self._id = fresh

    def _beat(self) -> None:
        stopping = self._stopping
        while not stopping.wait(RENEW_SECONDS):
            try:
                self._renew()
            except ServiceUnavailable as error:
                logger.warning("heartbeat_failed", worker=self._name, error=str(error))

    def _renew(self) -> None:
        worker_id = self._id
        if worker_id is None:
            return
        hands = list(self._runs.values())
        if not parts().workers.renew(worker_id, peak_memory_mb()):
            logger.warning("declared_dead", worker=self._name)
            for hand in hands:
                hand.lose()
            self._announce()
            return
        recorded = parts().moves.runs_of(worker_id)
        for hand in hands:
            if recorded.get(hand.task_id) != hand.run:
                hand.lose()
        self._give_back_strays(recorded)

    def _give_back_strays(self, recorded: dict[str, int]) -> None:
        """Return runs that only the records know of: the answer to their start was lost."""
        strays = {task_id: run for task_id, run in recorded.items() if task_id not in self._runs}
        for task_id, run in strays.items():
            if self._strays.get(task_id) == run:
                logger.warning("stray_run_given_back", task_id=task_id, run=run)
                parts().moves.give_back(task_id, run)
        self._strays = strays


def peak_memory_mb() -> int:
    """Return the most memory that this process has held at once, in MB."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held // (1024 if sys.platform == "linux" else 1024**2)


working_process = WorkingProcess()
