"""Pieces of work side by side, in threads that live on and keep their sandboxed children warm."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

from processors.errors import Cancelled
from processors.interfaces import Answer, Report

LOOK_SECONDS = 0.5
DONE = 100.0
Told = tuple[int, float, str | None]
"""Which piece of work, how far it is and what it does; None where it has ended."""


class SideBySideThreads:
    """Fulfils `processors.interfaces.SideBySide`: a few threads for all tasks of a process, made on first use.

    Args:
        at_once: how many threads.
    """

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self._threads: ThreadPoolExecutor | None = None
        self._pid = os.getpid()

    def run(self, works: Sequence[Callable[[Report], Answer]], report: Report) -> list[Answer]:
        """Do every piece of work; whatever ends this ends all of them, at their next report."""
        told: SimpleQueue[Told] = SimpleQueue()
        ended = Event()
        futures = [self._begin(at, work, told, ended) for at, work in enumerate(works)]
        try:
            _watch(futures, told, report)
            return [future.result() for future in futures]
        finally:
            ended.set()
            wait([future for future in futures if not future.cancel()])

    def close(self) -> None:
        """End the threads, and with them their children."""
        if self._threads is not None and self._pid == os.getpid():
            self._threads.shutdown()
        self._threads = None

    def _begin(
        self, at: int, work: Callable[[Report], Answer], told: SimpleQueue[Told], ended: Event
    ) -> Future[Answer]:
        def tell(percent: float, text: str) -> None:
            if ended.is_set():
                raise Cancelled("The task for which this was done has ended.")
            told.put((at, percent, text))

        def begin() -> Answer:
            tell(0.0, "beginning")
            return work(tell)

        future = self._pool().submit(begin)
        future.add_done_callback(lambda _future: told.put((at, DONE, None)))
        return future

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None or self._pid != os.getpid():  # a fork has none of its parent's threads
            self._threads, self._pid = ThreadPoolExecutor(self.at_once, "side-by-side"), os.getpid()
        return self._threads


def _watch(futures: Sequence[Future[Any]], told: SimpleQueue[Told], report: Report) -> None:
    """Report the mean of what all report until the last one has ended, or the first one has failed."""
    shares = [0.0] * len(futures)
    doing = ""
    left = len(futures)
    while left:
        with suppress(Empty):  # the report is also where a cancellation is noticed
            at, shares[at], text = told.get(timeout=LOOK_SECONDS)
            doing = text or doing
            if text is None:
                futures[at].result()
                left -= 1
        report(sum(shares) / len(shares), doing)
