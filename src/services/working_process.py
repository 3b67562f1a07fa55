"""This process as a worker: its row, its heartbeat, and the runs it has in hand."""

import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any, cast
from uuid import uuid4

from billiard import common as pool_child
from celery.exceptions import WorkerShutdown, WorkerTerminate

from config.log_setup import get_logger
from processors.errors import ServiceUnavailable
from records.workers import RENEW_SECONDS
from services.run_watch import RunInHand, RunWatch
from services.wiring import parts

logger = get_logger()

LOOK_SECONDS = 1
"""Between two comparisons with the records, while something is in hand that has run for as long."""

ENDS = (KeyboardInterrupt, WorkerShutdown, WorkerTerminate)
"""What a signal raises; every other `SystemExit` is a program's own, such as that of a parser of its arguments."""


class WorkingProcess:
    """Keeps this process's row alive from a thread that no task blocks, and compares its runs with the records'.

    Attributes:
        watch: looks after the runs in hand.
        on_beat: called about once a second, while this process can act, with whether a recorded run is in hand.
    """

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
                self.watch.start()
            return self._id or ""

    def begin(self, hand: RunInHand) -> None:
        """Take a run in hand."""
        hand.began = time.monotonic()
        self._runs[hand.task_id, hand.run] = hand
        self.watch.note(hand)

    def end(self, hand: RunInHand) -> None:
        """Put a run down."""
        self._runs.pop((hand.task_id, hand.run), None)

    def ends_by(self, error: BaseException) -> bool:
        """Tell whether what ended a body is to end this process, and not an error of the body's own."""
        return isinstance(error, ENDS) or cast("Any", pool_child).terminate_handler_fired()

    def in_hand(self) -> list[RunInHand]:
        """Return what is in hand now."""
        return list(self._runs.values())

    def give_back(self) -> None:
        """Return to their records, without blame, the runs whose bodies go on; this process is about to end."""
        for hand in self._recorded():
            if not (hand.over or hand.overrun or hand.lost):
                hand.lose()
                try:
                    given_back = parts().moves.give_back(hand.task_id, hand.run)
                except ServiceUnavailable as error:
                    logger.warning("not_given_back", task_id=hand.task_id, error=str(error))
                    continue
                if given_back:
                    logger.info("run_given_back", task_id=hand.task_id, run=hand.run)

    def leave(self) -> None:
        """Say goodbye: what is still in hand is taken back by the leader at once."""
        self._stopping.set()
        if self._id is not None and self._pid == os.getpid():
            try:
                parts().workers.stop(self._id)
            except ServiceUnavailable as error:
                logger.warning("goodbye_unsaid", worker=self._name, error=str(error))
        self._id = None

    def end_process(self) -> None:
        """End this process at once, with nothing left unwritten but what its overrun task does."""
        try:
            self.leave()
            parts().database.close()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._id: str | None = None
        self._name = ""
        self._runs: dict[tuple[str, int], RunInHand] = {}
        self.watch = RunWatch(self._runs)
        self._strays: dict[str, int] = {}
        self._stopping = threading.Event()
        self.on_beat: Callable[[bool], object] = bool

    def _announce(self) -> None:
        fresh = str(uuid4())
        parts().workers.start(fresh, self._name, socket.gethostname(), os.getpid(), os.getppid(), peak_memory_mb())
        self._id = fresh

    def _beat(self) -> None:
        stopping = self._stopping
        for second in count(1):
            if stopping.wait(LOOK_SECONDS):
                return
            self.on_beat(bool(self._recorded()))
            try:
                if second % RENEW_SECONDS == 0:
                    self._renew()
                else:
                    self._look()
            except ServiceUnavailable as error:
                logger.warning("heartbeat_failed", worker=self._name, error=str(error))
            except Exception:  # without the next renewal all that it runs would be taken away
                logger.exception("heartbeat_failed", worker=self._name)

    def _look(self) -> None:
        """Compare between two renewals, where that may concern anybody."""
        long_since = time.monotonic() - LOOK_SECONDS
        if self._id is not None and any(hand.began < long_since for hand in self._recorded()):
            self._compare(self._id)

    def _renew(self) -> None:
        worker_id = self._id
        if worker_id is None or self._stopping.is_set():
            return
        hands = self._recorded()
        overrun = next((hand.task_id for hand in self.watch.overruns()), None)
        if not parts().workers.renew(worker_id, peak_memory_mb(), overrun):
            logger.warning("declared_dead", worker=self._name)
            for hand in hands:
                self._lose(hand)
            self._announce()
            return
        self._give_back_strays(self._compare(worker_id))

    def _compare(self, worker_id: str) -> dict[str, int]:
        """Look for runs that the records say are no longer this process's; returns what they say."""
        hands = self._recorded()
        recorded = parts().moves.runs_of(worker_id)
        for hand in hands:
            if recorded.get(hand.task_id) != hand.run:
                self._lose(hand)
        return recorded

    def _recorded(self) -> list[RunInHand]:
        return [hand for hand in self.in_hand() if hand.run]

    def _lose(self, hand: RunInHand) -> None:
        hand.lose()
        self.watch.note(hand)

    def _give_back_strays(self, recorded: dict[str, int]) -> None:
        """Return runs that only the records know of: the answer to their start was lost."""
        strays = {task_id: run for task_id, run in recorded.items() if (task_id, run) not in self._runs}
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
