"""Group commit: what arrives while a commit runs is the next commit, in one transaction, by one thread a process.

A lone caller is committed at once, and may do so itself. Each caller waits for its own outcome, and an error is only
that caller's.
"""

import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from typing import Any, Protocol

from sqlalchemy import Connection

from config.log_setup import get_logger
from processors.errors import ServiceUnavailable

logger = get_logger()

Work = Callable[[Connection], Any]

GROUP_SIZE = 500
WAITING_LIMIT = 20_000
LATER_SECONDS = 0.02
"""How long a write that nobody waits for is kept back for a neighbour to commit it with."""

TOGETHER_SECONDS = 0.003
"""How long it waits, at most, for most of those who write."""

MOST = 0.8

TURN_SECONDS = 0.05
"""How long whoever waits for a commit sleeps before it looks whether there was one."""

SIGNALS = tuple(map(int, signal.valid_signals()))
WITHOUT_HANDLER = {signal.SIG_DFL, signal.SIG_IGN, None, signal.default_int_handler}
"""What a signal has that no function of the program's own handles; Python's own for Ctrl-C waits for nobody."""

_handler_of: Callable[[int], object] = import_module("_signal").getsignal
"""What `signal.getsignal` asks, to make an Enum of the answer, which takes 20 times as long."""

BUSY_SECONDS = 10.0


class CommitUnknown(ServiceUnavailable):
    """The connection was lost while a commit was under way: it may or may not have been kept."""


class Job:
    """One write and, once it is `finished`, what became of it.

    Args:
        work: what it writes.
        durable: whether its commit must survive a power cut.
        waits: whether a caller waits for it, or for what it does in the end.
        then: called in the writer's thread when the outcome is known; must write nothing itself, and nobody else waits.
    """

    __slots__ = ("durable", "error", "finished", "following", "result", "then", "thread", "turn", "waits", "work")

    def __init__(self, work: Work, *, durable: bool, waits: bool, then: Callable[["Job"], None] | None = None) -> None:
        self.work = work
        self.durable = durable
        self.waits = waits
        self.then = then
        self.thread = threading.get_ident()
        self.result: Any = None
        self.error: BaseException | None = None
        self.finished = False
        self.following: Job | None = None
        self.turn = threading.Lock()
        self.turn.acquire()

    def outcome(self) -> Any:
        """Wait until it is committed; returns its result or raises its own error.

        Those who wait for one commit wake one after the other: all at once they would fight for Python's lock. Whoever
        does not get its turn, because the one before it was interrupted, looks for itself.
        """
        while not self.turn.acquire(timeout=TURN_SECONDS) and not self.finished:
            pass
        if self.following is not None:
            self.following.turn.release()
        if self.error is not None:
            raise self.error
        return self.result


class Commits(Protocol):
    """Commits a group over a connection of its own."""

    def commit(self, group: Sequence[Job]) -> None:
        """Commit these together; fills in their results and errors, or raises what befell all of them."""

    def close(self) -> None:
        """Close the connection."""


class Writer:
    """The thread that commits for a whole process."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self._arrivals = _Arrivals()
        self._committing = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="records-writer", daemon=True)
        self._thread.start()

    def take(self, job: Job) -> bool:
        """Take this to be committed; False where the writer has ended: another one must take it."""
        return self._arrivals.put(job)

    def commit_alone(self, job: Job) -> bool:
        """Commit this in its caller's own thread, where nobody else writes; False where it must be given to `take`."""
        if not self._arrivals.nobody_writes or self._committing.locked() or _handles_signals():
            return False
        with self._committing:
            if self._arrivals.ended:
                return False
            self._commit([job])
        job.turn.release()
        return True

    def offer(self, work: Work) -> None:
        """Commit this soon; it is dropped where too much waits, and where the writer has ended."""
        if len(self._arrivals) < WAITING_LIMIT:
            self._arrivals.put(Job(work, durable=False, waits=False))

    def stop(self) -> None:
        """Commit what waits, and end."""
        self._arrivals.end()
        self._thread.join(BUSY_SECONDS)

    def _serve(self) -> None:
        while group := self._arrivals.next_group():
            with self._committing:
                self._commit(group)
            for job in group:
                self._tell(job)
            self._wake(group)  # last: whoever wakes wants to run at once
        with self._committing:
            self._commits.close()

    def _wake(self, group: Sequence[Job]) -> None:
        """Wake the first of those who wait; each wakes the next."""
        waiting = [job for job in group if job.waits and job.then is None]
        for job, following in pairwise(waiting):
            job.following = following
        for job in group:
            job.finished = True
        if waiting:
            waiting[0].turn.release()

    def _commit(self, group: Sequence[Job]) -> None:
        """Commit these together; where an error of one stands in the way of all, each by itself."""
        try:
            self._commits.commit(group)
        except ServiceUnavailable as error:
            for job in group:
                job.error = error
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            if len(group) == 1:
                group[0].error = error
                return
            for job in group:
                self._commit([job])

    def _tell(self, job: Job) -> None:
        """Say what became of a write; whatever comes of that, the next one is written."""
        if job.then is None:
            return
        try:
            job.then(job)
        except Exception as error:
            logger.exception("outcome_not_taken", error=str(error))


def _handles_signals() -> bool:
    """Tell whether a handler of the program's own may run in this thread, at any line.

    It may wait for another thread, which waits for the commit that it interrupts; or raise the end of a time limit.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    try:
        return not WITHOUT_HANDLER.issuperset(map(_handler_of, SIGNALS))
    except TypeError:  # a handler that cannot be hashed
        return True


class _Arrivals:
    """What waits for the next commit, and when that is to begin."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._jobs: list[Job] = []
        self._callers: set[int] = set()
        self._expected = 1
        self._before: set[int] = set()
        self._wanted: int | None = None  # the writer sleeps until so many callers are here
        self._ended = False

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def nobody_writes(self) -> bool:
        """Whether no caller waits and there were not several of late; true for a moment only."""
        return not self._callers and self._expected == 1

    @property
    def ended(self) -> bool:
        """Whether nothing more is taken."""
        return self._ended

    def put(self, job: Job) -> bool:
        """Add one, unless this has ended; wakes the writer only when it has what it sleeps for."""
        with self._lock:
            if self._ended:
                return False
            self._jobs.append(job)
            if job.waits:
                self._callers.add(job.thread)
            self._ring(len(self._callers))
            return True

    def end(self) -> None:
        """Let the next empty group be the last."""
        with self._lock:
            self._ended = True
            self._ring(GROUP_SIZE)

    def next_group(self) -> list[Job]:
        """Return what has arrived, nothing at the end; waits for the first.

        Where several threads write, it stays a moment for most of them: fewer commits. A lone caller waits for nobody.
        Writes that nobody waits for stay for a caller.
        """
        since, until = 0, 0.0
        while True:
            with self._lock:
                here = 0 if not self._jobs else 1 if not self._callers else 2
                if here != since:
                    since, until = here, time.monotonic() + (0.0, LATER_SECONDS, TOGETHER_SECONDS)[here]
                patience = until - time.monotonic() if here else None
                if self._ended or len(self._callers) >= self._expected or (patience is not None and patience <= 0):
                    return self._taken()
                self._wanted = (0, 1, self._expected)[here]
            with suppress(queue.Empty):
                self._bell.get(timeout=patience)

    def _taken(self) -> list[Job]:
        self._wanted = None
        group, self._jobs = self._jobs[:GROUP_SIZE], self._jobs[GROUP_SIZE:]
        threads = {job.thread for job in group if job.waits}
        self._expected = max(1, int(len(threads | self._before) * MOST))
        self._before = threads
        self._callers = {job.thread for job in self._jobs if job.waits}
        return group

    def _ring(self, callers: int) -> None:
        if self._wanted is not None and callers >= self._wanted:
            self._wanted = None
            self._bell.put(None)
