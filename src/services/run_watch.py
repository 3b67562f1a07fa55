"""Looks after the runs that a process has in hand: their time limits, and what goes on although it was cancelled.

One thread in each working process sleeps until the next moment that concerns a run. Whether a body has ended, and
whether its run has overrun, is decided under one lock, so that nothing that is done to a run can reach another one.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType

from celery.exceptions import SoftTimeLimitExceeded

from config.log_setup import get_logger
from processors.errors import Cancelled

logger = get_logger()

CANCEL_GRACE_SECONDS = 5.0
"""How long work goes on after its cancellation was noticed, before its process is replaced."""

SIGNAL_SECONDS = 1.5
"""Between two signals that tell of a soft time limit: the first may find another task of the body's loop."""

FOREVER_SECONDS = 3600.0
NAP_SECONDS = 60.0


def _nothing() -> None:
    """Do nothing: a run without a record has none to end."""


def _yes() -> bool:
    """Tell that what is raised in a body's thread reaches it: a plain function runs there, and nothing else."""
    return True


@dataclass(slots=True, eq=False)
class RunInHand:
    """One run that this process works on; all moments are `time.monotonic`'s.

    Attributes:
        task_id: the record.
        run: which of its runs; 0 for a task without a record.
        name: the task's name.
        soft_at: when its body is told to end.
        hard_at: when it is ended.
        give_up: ends its record where it overran its hard time limit.
        began: when it was taken in hand.
        lost_at: when it was noticed that the record is no longer its own: cancelled, or another run's.
        thread: the thread that runs its body.
        inside: whether its body runs, so that it may be told of its soft time limit.
        over: whether its body has ended in time.
        overrun: whether it was given up; what its body does counts no more.
        soft_sent: how often a signal was sent to tell it.
        soft_told: whether its body was told of its soft time limit, or has ended.
        reaches: tells whether what is raised here and now reaches its body, or else has the body told otherwise.
        on_lost: what is called once it is lost or was given up.
    """

    task_id: str
    run: int
    name: str = ""
    soft_at: float = math.inf
    hard_at: float = math.inf
    give_up: Callable[[], None] = _nothing
    began: float = 0.0
    lost_at: float = math.inf
    thread: int = 0
    inside: bool = False
    over: bool = False
    overrun: bool = False
    soft_sent: int = 0
    soft_told: bool = False
    reaches: Callable[[], bool] = _yes
    on_lost: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])

    @property
    def lost(self) -> bool:
        """Whether the record is known to be no longer this run's."""
        return self.lost_at < math.inf

    def when_lost(self, call: Callable[[], object]) -> None:
        """Call this once, from whatever thread notices, when the record is no longer this run's."""
        self.on_lost.append(call)
        if self.lost:
            self.lose()

    def lose(self) -> None:
        """Note that the record is no longer this run's."""
        self.lost_at = min(self.lost_at, time.monotonic())
        with suppress(IndexError):  # another thread may take the last one
            while self.on_lost:
                self.on_lost.pop()()

    def check(self) -> None:
        """Let the body go on, or end it.

        Raises:
            Cancelled: the record is no longer this run's, or it was given up.
            SoftTimeLimitExceeded: its soft time limit is over, and it was not told yet.
        """
        if self.lost or self.overrun:
            raise Cancelled(f"Task {self.task_id} was cancelled while it ran.")
        if time.monotonic() >= self.soft_at:
            self.tell()

    def tell(self) -> None:
        """Tell the body, once, that its soft time limit is over; only from a thread that works for it.

        Raises:
            SoftTimeLimitExceeded: the body was not told before, and is reached by this.
        """
        if not self.soft_told and self.reaches():
            self.soft_told = True
            raise SoftTimeLimitExceeded


class RunWatch:
    """The watcher of one process.

    Args:
        runs: what the process has in hand; others add to it and take from it.

    Attributes:
        replace: called when a run overran, to put another process in the place of this one; None where that cannot be.
        alone: whether the process runs one task at a time, in its main thread, and must begin none after an overrun.
    """

    def __init__(self, runs: Mapping[tuple[str, int], RunInHand]) -> None:
        self.replace: Callable[[], None] | None = None
        self.alone = False
        self._runs = runs
        self._changed = threading.Condition()
        self._sleeps_until = math.inf
        self._signals = False
        self._meant: RunInHand | None = None

    def use_signals(self) -> None:
        """Tell of soft time limits by a signal, from now on; only in the main thread, which runs all tasks."""
        signal.signal(signal.SIGUSR1, self._hear)
        self._signals = True

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._watch, name="run-watch", daemon=True).start()

    def note(self, hand: RunInHand) -> None:
        """Look at a run again that is in hand: it is new, or it was lost."""
        # Most are due later than what is slept for, and wake nobody.
        if self._next_moment(hand) < self._sleeps_until:
            with self._changed:
                self._changed.notify()

    def enter(self, hand: RunInHand) -> None:
        """Note that a run's body begins, in this thread."""
        hand.thread = threading.get_ident()
        hand.inside = True
        if hand.soft_sent:
            hand.tell()

    def leave(self, hand: RunInHand) -> None:
        """Note that a run's body has ended.

        Raises:
            Cancelled: it has overrun; its outcome counts no more.
        """
        hand.inside = False
        with self._changed:
            hand.over = not hand.overrun
        if hand.over:
            return
        while self.alone:
            time.sleep(FOREVER_SECONDS)  # this process is about to end, and must begin nothing else
        raise Cancelled(f"Task {hand.task_id} went on after it was given up.")

    def overruns(self) -> list[RunInHand]:
        """Return the runs that were given up and whose bodies go on."""
        return [hand for hand in list(self._runs.values()) if hand.overrun]

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._sleeps_until = math.inf  # whoever adds a run from here on wakes this thread
                hands, now = list(self._runs.values()), time.monotonic()
                due = [hand for hand in hands if self._next_moment(hand) <= now]
                if not due:
                    # Not for ever where nothing is in hand: each short task would wake this thread.
                    self._sleeps_until = min(map(self._next_moment, hands), default=math.inf)
                    self._sleeps_until = min(self._sleeps_until, now + NAP_SECONDS)
                    self._changed.wait(self._sleeps_until - now)
            for hand in due:
                try:
                    self._act(hand)
                except Exception as error:
                    logger.exception("run_not_watched", task_id=hand.task_id, error=str(error))

    def _next_moment(self, hand: RunInHand) -> float:
        """Return when something must be done about a run."""
        if hand.over or hand.overrun:
            return math.inf
        last = min(hand.hard_at, hand.lost_at + CANCEL_GRACE_SECONDS)
        if self._signals and not hand.soft_told:
            return min(last, hand.soft_at + hand.soft_sent * SIGNAL_SECONDS)
        return last

    def _act(self, hand: RunInHand) -> None:
        if time.monotonic() >= min(hand.hard_at, hand.lost_at + CANCEL_GRACE_SECONDS):
            self._give_up(hand)
        else:
            self._meant = hand
            hand.soft_sent += 1
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _hear(self, _signal: int, _frame: FrameType | None) -> None:
        """Tell the run that is meant; this runs between two steps of the thread that begins and ends bodies.

        Raises:
            SoftTimeLimitExceeded: it is in its body.
        """
        hand = self._meant
        if hand is not None and hand.inside:
            hand.tell()

    def _give_up(self, hand: RunInHand) -> None:
        with self._changed:
            if hand.over:
                return
            hand.overrun = True
        why = "it was cancelled" if hand.lost else "its hard time limit is over"
        seconds = round(time.monotonic() - hand.began, 1)
        try:
            if not hand.lost:
                hand.give_up()
        except Exception as error:
            logger.exception("overrun_not_followed", task_id=hand.task_id, error=str(error))
        logger.error("overrun", task_id=hand.task_id, name=hand.name, why=why, seconds=seconds, pid=os.getpid())
        hand.lose()
        if self.replace is not None:
            self.replace()
