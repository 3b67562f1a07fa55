"""Celery's pool of threads, which keeps time limits and cancellations, and stops in time.

A thread cannot be ended. Where a run overruns, its process takes nothing new, lets its other tasks end, and another
process takes its place; where a worker is stopped, what goes on for too long is given back and left behind.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# Celery's worker has no types.

import logging
import math
import os
import sys
import time
from importlib import import_module
from typing import Any, NoReturn, cast

from celery import bootsteps, signals
from celery.concurrency import thread
from celery.worker import state

from config.log_setup import get_logger
from config.settings import settings
from processors.errors import ServiceUnavailable
from services.late_ends import late_ends
from services.supervised_part import leave_mark
from services.wiring import parts
from services.working_process import working_process

logger = get_logger()

TURN_SECONDS = 0.05
SLACK_SECONDS = 60.0
"""How much longer than its longest task a process may take to end that is being replaced."""


class TaskPool(cast("Any", thread.TaskPool)):
    """What `--pool=threads` names."""

    def on_close(self) -> None:
        """Begin to end: from here on the tasks have so much time."""
        ending.begin()

    def on_stop(self) -> None:
        """Wait for the tasks, but not for ever; give back what goes on."""
        self.executor.shutdown(wait=False, cancel_futures=True)
        while self.goes_on():
            time.sleep(TURN_SECONDS)
        working_process.give_back()

    def goes_on(self) -> bool:
        """Tell whether a task runs that is worth waiting for."""
        return time.monotonic() < ending.until and self.busy(besides=_overrun_threads())

    def busy(self, besides: frozenset[int] = frozenset()) -> bool:
        """Tell whether a thread of the pool lives, besides these."""
        return any(one.is_alive() and one.ident not in besides for one in self.executor._threads)  # noqa: SLF001 - no public way to ask

    def terminate_job(self, pid: int, signal: Any = None) -> None:
        """Do nothing: whoever asks for it cancels the record as well, and that ends the task."""


class Ending:
    """Why and when this process ends.

    Attributes:
        supervised: whether a supervisor puts another process in the place of this one; else it does so itself.
        replaced: whether another one is to take its place.
        asked: how often somebody asked it to stop.
        until: when it waits for its tasks no longer, by `time.monotonic`.
    """

    def __init__(self) -> None:
        self.supervised = self.replaced = False
        self.asked = 0
        self.until = math.inf

    def replace(self) -> None:
        """Let another process take the place of this one; from any thread, any number of times."""
        if self.replaced:
            return
        self.replaced = True
        logger.warning("draining", pid=os.getpid(), supervised=self.supervised)
        if state.should_stop is None:
            state.should_stop = os.EX_TEMPFAIL
        if self.supervised:
            try:
                leave_mark(_longest() + SLACK_SECONDS)
            except OSError as error:
                logger.warning("not_handed_over", error=str(error))  # the next one starts when this one has ended

    def hear(self, **_: Any) -> None:
        """Note that somebody asks this process to stop, by a signal; the second time it waits for nothing."""
        self.asked += 1
        self.until = time.monotonic() + (settings.soft_shutdown_timeout if self.asked == 1 else 0.0)

    def begin(self) -> None:
        """Begin to end; who is replaced and was not asked to stop lets its tasks take the time that they have."""
        if not (self.replaced or self.asked):
            self.until = time.monotonic() + settings.soft_shutdown_timeout

    def end(self, worker: Any) -> None:
        """End this process, whatever its threads do, where they would hold it or another one is to take its place.

        Args:
            worker: Celery's; one of another pool ends by itself.
        """
        if not isinstance(worker.pool, TaskPool):
            return
        if self.asked:
            worker.exitcode = os.EX_OK
        elif self.replaced and not self.supervised:
            replace_process()
        if worker.pool.busy():
            _flush()
            os._exit(worker.exitcode or os.EX_OK)


ending = Ending()


class KeepTime(cast("Any", bootsteps.StartStopStep)):
    """Prepares a worker whose tasks run in its own process."""

    requires = ("celery.worker.components:Pool",)

    def include_if(self, worker: Any) -> bool:
        """Tell whether this worker's tasks run in threads."""
        return isinstance(worker.pool_cls, type) and issubclass(worker.pool_cls, TaskPool)

    def start(self, worker: Any) -> None:
        """Announce this process, and let every signal that stops it give its tasks the same time."""
        late_ends.possible = True
        try:
            working_process.enter(worker.hostname)
        except ServiceUnavailable as error:
            logger.warning("not_announced", error=str(error))
        working_process.watch.replace = ending.replace
        signals.worker_shutting_down.connect(ending.hear, weak=False)
        install: Any = import_module("celery.apps.worker").install_worker_term_handler
        for name in ("SIGTERM", "SIGQUIT", "SIGINT"):
            install(worker, sig=name, how="Warm", callback=None, exitcode=os.EX_OK)


def replace_process() -> NoReturn:
    """Begin anew with this process's own command line, whatever its threads do."""
    logger.warning("begins_anew", pid=os.getpid())
    _flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - what this process was started by


def replace_at_once() -> NoReturn:
    """Begin anew although the only thread that runs tasks goes on: the pool `solo`."""
    working_process.leave()
    parts().database.close()
    replace_process()


def _longest() -> float:
    """Return how many seconds the tasks in hand, and those that may begin just now, can take at most."""
    left = [hand.hard_at - time.monotonic() for hand in working_process.in_hand() if math.isfinite(hand.hard_at)]
    return max(settings.celery_task_time_limit, settings.ai_task_time_limit, *left)


def _overrun_threads() -> frozenset[int]:
    return frozenset(hand.thread for hand in working_process.watch.overruns())


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
