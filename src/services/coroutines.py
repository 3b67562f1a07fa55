"""Bodies that are coroutines: each runs to its result on an event loop that its thread keeps."""

import asyncio
import os
import threading
from collections.abc import Awaitable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, cast

from processors.errors import Cancelled, PermanentError, WorkError
from services.run_watch import RunInHand

LEAVE_SECONDS = 5.0
"""How long a body that a signal has interrupted may take to clean up."""


class _Kept(threading.local):
    """This thread's runner, and the process that made it: a fork shares its parent's."""

    runner: asyncio.Runner | None = None
    pid = 0


_kept = _Kept()


def run_to_result(body: Awaitable[Any], hand: RunInHand | None) -> Any:
    """Run an awaitable to its result, and whatever it has left running to its end.

    Args:
        body: what a task's function returned.
        hand: its run; the body is cancelled once it is lost.

    Raises:
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
    own: list[asyncio.Task[Any]] = []
    try:
        return runner.run(_whole(body, hand, own), context=copy_context())
    except asyncio.CancelledError as error:
        if hand is not None and hand.lost:
            raise Cancelled(f"Task {hand.task_id} was cancelled while it ran.") from error
        raise WorkError("The task's coroutine was cancelled, and not by the service; let it raise an error.") from error
    finally:
        if own and not own[0].done():  # what a signal's handler raised, not the body: the loop stopped in mid-step
            _abandon(runner.get_loop(), own[0])


def close_loop() -> None:
    """Close this thread's event loop; the next body gets another one."""
    runner, _kept.runner = _kept.runner, None
    if runner is not None and _kept.pid == os.getpid():
        runner.close()


async def _whole(body: Awaitable[Any], hand: RunInHand | None, own: list[asyncio.Task[Any]]) -> Any:
    """Await the body; nothing that it started outlives it."""
    loop, task = asyncio.get_running_loop(), cast("asyncio.Task[Any]", asyncio.current_task())
    own.append(task)
    if hand is not None:
        hand.when_lost(partial(_cancel, loop, task))
    try:
        return await body
    finally:
        left = asyncio.all_tasks() - {task}
        for one in left:
            one.cancel()
        await asyncio.gather(*left, return_exceptions=True)


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
