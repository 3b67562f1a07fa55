"""Bodies that are coroutines: each runs to its result on an event loop that its thread keeps."""

import asyncio
import math
import os
import threading
import time
from collections.abc import Awaitable, Generator
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from types import CoroutineType
from typing import Any, cast

from celery.exceptions import SoftTimeLimitExceeded

from processors.errors import Cancelled, PermanentError, WorkError
from services.run_watch import RunInHand

LEAVE_SECONDS = 5.0
"""How long a body that a signal has interrupted may take to clean up."""

TURN_SECONDS = 1.0
"""How long a loop has to turn and tell its body of the soft time limit; then whatever holds it is told."""


class _Kept(threading.local):
    """This thread's runner, and the process that made it: a fork shares its parent's."""

    runner: asyncio.Runner | None = None
    pid = 0


_kept = _Kept()


def run_to_result(body: Awaitable[Any], hand: RunInHand) -> Any:
    """Run an awaitable to its result, and whatever it has left running to its end.

    Args:
        body: what a task's function returned.
        hand: its run; the body is told of its soft time limit, and cancelled once its run is lost.

    Raises:
        SoftTimeLimitExceeded: the soft time limit is over, and the body did not catch that.
        Cancelled: the run was lost.
        WorkError: the body was cancelled by something else.
        PermanentError: an event loop runs in this thread already.
        Exception: the body's own.
    """
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - `get_running_loop` raises where there is none
        getattr(body, "close", bool)()  # or Python warns that nobody awaited it
        raise PermanentError(
            "An async task cannot run inside a running event loop; submit it from a thread, with asyncio.to_thread."
        )
    runner = _runner()
    told = _Told(body, hand, runner.get_loop())
    try:
        return runner.run(_whole(told, hand), context=copy_context())
    except asyncio.CancelledError as error:
        if hand.lost:
            raise Cancelled(f"Task {hand.task_id} was cancelled while it ran.") from error
        raise WorkError("The task's coroutine was cancelled, and not by the service; let it raise an error.") from error
    except BaseExceptionGroup as group:  # what a `TaskGroup` makes of any error that is raised inside it
        if group.split(SoftTimeLimitExceeded)[1] is None:
            raise SoftTimeLimitExceeded from group
        raise
    finally:
        if told.task and not told.task.done():  # what a signal's handler raised: the loop stopped in mid-step
            _abandon(runner.get_loop(), told.task)


def close_loop() -> None:
    """Close this thread's event loop; the next body gets another one."""
    runner, _kept.runner = _kept.runner, None
    if runner is not None and _kept.pid == os.getpid():
        runner.close()


async def _whole(told: "_Told", hand: RunInHand) -> Any:
    """Await the body; nothing that it started outlives it."""
    task = told.task = cast("asyncio.Task[Any]", asyncio.current_task())
    hand.when_lost(partial(_cancel, asyncio.get_running_loop(), task))
    try:
        return await told
    finally:
        hand.soft_told = True  # there is no body any more
        while left := asyncio.all_tasks() - {task}:  # again: what is cancelled may start something as it cleans up
            for one in left:
                one.cancel()
            await asyncio.gather(*left, return_exceptions=True)


class _Told:
    """A body that is told of its soft time limit where it stands, whatever else runs on its loop just then.

    A loop can only cancel: what comes into the body as a cancellation is turned into what it is.

    Args:
        body: the awaitable.
        hand: its run.
        loop: where it runs.

    Attributes:
        task: what runs it, once it has begun.
    """

    def __init__(self, body: Awaitable[Any], hand: RunInHand, loop: asyncio.AbstractEventLoop) -> None:
        self.task: asyncio.Task[Any] | None = None
        self._coroutine: CoroutineType[Any, Any, Any] = _awaited(body)
        self._hand = hand
        self._loop = loop
        self._thread = threading.get_ident()
        self._asked = math.inf  # when its loop was asked to tell it
        self._late = False
        hand.reaches = self._reaches

    def __await__(self) -> Generator[Any, Any, Any]:
        """Run the body, step by step."""
        step, value = self._coroutine.send, cast("Any", None)
        while True:
            if self._late and self.task:
                self._late = False
                self.task.uncancel()
                step, value = self._coroutine.throw, SoftTimeLimitExceeded()
            try:
                waits_for = step(value)
            except StopIteration as end:
                return end.value
            try:
                step, value = self._coroutine.send, (yield waits_for)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the body's
                step, value = self._coroutine.throw, error

    def _reaches(self) -> bool:
        """Tell whether what is raised here and now reaches the body; else have its loop tell it.

        A loop that does not turn, because something else on it never waits, tells nobody: then what holds it is hit.
        """
        if self._coroutine.cr_running and threading.get_ident() == self._thread:
            return True
        if self._asked < math.inf:
            return time.monotonic() - self._asked >= TURN_SECONDS
        self._asked = time.monotonic()
        with suppress(RuntimeError):  # the loop was closed: the body has ended
            self._loop.call_soon_threadsafe(self._tell)
        return False

    def _tell(self) -> None:
        """Let the body's next step be the news."""
        if not self._hand.soft_told:
            self._hand.soft_told = self._late = True
            if self.task:
                self.task.cancel()


async def _awaited(body: Awaitable[Any]) -> Any:
    """Return what it comes to; a coroutine tells whether it runs just now, any other awaitable does not."""
    return await body


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    with suppress(RuntimeError):  # the loop was closed: the body has ended
        loop.call_soon_threadsafe(task.cancel)


def _abandon(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    """Let an interrupted body clean up, and trust its loop no more: it may have lost what it was about to do."""
    _kept.runner = None
    try:
        task.cancel()
        task.add_done_callback(lambda _: loop.stop())
        loop.call_later(LEAVE_SECONDS, loop.stop)
        loop.run_forever()
    finally:
        loop.close()


def _runner() -> asyncio.Runner:
    if _kept.runner is None or _kept.pid != os.getpid():
        _kept.runner, _kept.pid = asyncio.Runner(debug=False), os.getpid()
    return _kept.runner
