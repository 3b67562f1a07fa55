"""Tasks that somebody waits for over HTTP: one look at the database for all of them, whoever waits.

A look costs the same for two hundred who wait as for one, and blocks no thread between two of them.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool

from config.log_setup import get_logger
from processors.errors import ServiceUnavailable, WorkError

Mark = tuple[Any, ...]
"""What differs where a task has changed."""

LOOKING_SECONDS = 0.5
"""Between two looks; the first ones come sooner, because most tasks are short."""

FIRST_SECONDS = 0.02

logger = get_logger()


class TooManyWatchers(ServiceUnavailable):
    """As many wait as this process takes."""


class TooManyOfOne(WorkError):
    """As many wait for one caller as this process takes of one."""


class Watching:
    """Tells who waits when a task changes.

    Args:
        marks_of: returns the marks of those of these ids that exist; called in a thread.
        most: who may wait at once.
        most_of_one: how many of them for one caller.
    """

    def __init__(
        self, marks_of: Callable[[list[str]], Mapping[str, Mark]], most: int, most_of_one: int | None = None
    ) -> None:
        self._marks_of, self._most = marks_of, most
        self._most_of_one = most if most_of_one is None else most_of_one
        self._watched: defaultdict[str, list[Watch]] = defaultdict(list)
        self._count = 0
        self._of: Counter[str] = Counter()
        self._looker: asyncio.Task[None] | None = None
        self._sooner = asyncio.Event()

    @asynccontextmanager
    async def watch(self, task_id: str, caller: str | None = None) -> AsyncGenerator["Watch"]:
        """Look at a task for as long as this lasts.

        Args:
            task_id: which.
            caller: for whom; None: for one who is not counted.

        Raises:
            TooManyWatchers: as many wait as may.
            TooManyOfOne: as many wait for this caller as may.
        """
        if self._count >= self._most:
            raise TooManyWatchers(f"{self._most} already wait for tasks here, which is the most; ask again later.")
        if caller is not None and self._of[caller] >= self._most_of_one:
            raise TooManyOfOne(f"{self._most_of_one} already wait for tasks with this key, which is the most of one.")
        watch = Watch()
        self._watched[task_id].append(watch)
        self._count += 1
        if caller is not None:
            self._of[caller] += 1
        self._sooner.set()
        if self._looker is None or self._looker.done():
            self._looker = asyncio.create_task(self._look())
        try:
            yield watch
        finally:
            self._count -= 1
            if caller is not None:
                self._left(caller)
            self._watched[task_id].remove(watch)
            if not self._watched[task_id]:
                del self._watched[task_id]

    def _left(self, caller: str) -> None:
        self._of[caller] -= 1
        if not self._of[caller]:
            del self._of[caller]

    async def _look(self) -> None:
        """Look for as long as anybody waits."""
        pause = FIRST_SECONDS
        while self._watched:
            if self._sooner.is_set():
                self._sooner.clear()
                pause = FIRST_SECONDS
            await self._look_once()
            try:
                await asyncio.wait_for(self._sooner.wait(), pause)
            except TimeoutError:
                pause = min(LOOKING_SECONDS, pause * 1.5)

    async def _look_once(self) -> None:
        try:
            marks = await run_in_threadpool(self._marks_of, list(self._watched))
        except ServiceUnavailable as error:
            logger.warning("watching_waits", error=str(error))  # who waits goes on waiting until the database is back
            return
        for task_id, mark in marks.items():
            _tell(self._watched.get(task_id, ()), mark)


class Watch:
    """One who waits for one task.

    Attributes:
        mark: how the task stood at the last look; None before the first one.
    """

    def __init__(self) -> None:
        self.mark: Mark | None = None
        self._changed = asyncio.Event()

    def tell(self, mark: Mark) -> None:
        """Say how the task stands now."""
        if mark != self.mark:
            self.mark = mark
            self._changed.set()

    async def change(self, seconds: float) -> bool:
        """Wait for the next change, the first look included; False where there was none in so many seconds."""
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return False
        self._changed.clear()
        return True


def _tell(watches: Iterable[Watch], mark: Mark) -> None:
    for watch in watches:
        watch.tell(mark)
