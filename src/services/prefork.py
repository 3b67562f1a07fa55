"""Celery's pool of processes, which loses no result that comes in parts, and whose processes keep time themselves.

A process writes a large result, such as a failure with its traceback, in two goes or more. Celery 5.7 forgets the first
when the connection to the broker is lost in between; what comes next is then taken for the rest, or the rest for a
result, and the slot is lost or the worker ends. A worker that ends waits for ever for the rest of one whose process it
has just ended.

Time limits are kept in the processes (`services.run_watch`): what the parent sends may come when the task has ended.
"""

import os
import signal
import struct
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from heapq import heapify
from inspect import GEN_SUSPENDED, getgeneratorstate
from mmap import mmap
from typing import Any, cast

from billiard import pool
from celery.concurrency import asynpool, prefork

from services import pool_deaths
from services.working_process import working_process

FLUSH_SECONDS = 0.05
"""How long the end of a worker waits for one process before it looks at the next."""

HELD_SECONDS = 600.0
"""How long after its hard time limit a task's process is ended from outside, if it cannot act by itself.

C code that holds the interpreter (a regular expression, a huge number) lets no other thread run.
"""

ACTS_SECONDS = 60.0
"""How long a process that said that it acts is believed; one that does keeps its runs' time limits itself."""

CANCELLED_KEPT = 500
"""Limits of jobs that have ended, which the loop's timer keeps before it forgets them."""

MOMENT = struct.Struct("d")


class ResultHandler(cast("Any", asynpool.ResultHandler)):
    """Reads the results of the processes, each one to its end while its pipe is open."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)  # pyright: ignore[reportUnknownMemberType] - untyped
        self._begun = dict[int, tuple[Any, Generator[None]]]()

    def _recv_message(
        self, add_reader: Callable[..., None], fd: int, callback: Callable[..., None], **options: Any
    ) -> Generator[None]:
        """Return what reads the next result from a pipe: the one that was begun, where there is one."""
        process = self.fileno_to_outq[fd]
        begun = self._half_read(fd, process)
        if begun is None:
            parent: Any = super()
            read = parent._recv_message(add_reader, fd, callback, **options)  # noqa: SLF001 - Celery's reader
            begun = cast("Generator[None]", read)
            self._begun[fd] = process, begun
        return begun

    def _flush_outqueue(
        self,
        fd: int,
        remove: Callable[[int], None],
        process_index: dict[int, Any],
        on_state_change: Callable[..., None],
    ) -> None:
        """Read what is there of the next result when the worker ends; Celery waits for ever for one that is cut off."""
        parent: Any = super()
        if self._hub is None:  # no loop has read anything
            return parent._flush_outqueue(fd, remove, process_index, on_state_change)  # noqa: SLF001 - Celery's reader
        process = process_index.get(fd)
        if process is None:
            return remove(fd)
        try:
            if process.outq._reader.poll(FLUSH_SECONDS):  # noqa: SLF001 - Celery's own way to it
                next(self._recv_message(self._hub.add_reader, fd, on_state_change))
            elif not process._is_alive():  # noqa: SLF001 - as above
                return remove(fd)
        except StopIteration:
            return None
        except (OSError, EOFError):
            return remove(fd)
        return None

    def read_on(self, fd: int, process: Any) -> None:
        """Read what is there of a result that was begun."""
        begun = self._half_read(fd, process)
        if begun is not None:
            with suppress(StopIteration, OSError, EOFError):
                next(begun)

    def forget(self, process: Any) -> None:
        """Read no more from a process whose pipe is about to be closed: something else will get its number."""
        fd = process.outqR_fd
        if self.fileno_to_outq.get(fd) is process:
            del self.fileno_to_outq[fd]
        if self._begun.get(fd, (None, None))[0] is process:
            del self._begun[fd]

    def _half_read(self, fd: int, process: Any) -> Generator[None] | None:
        owner, begun = self._begun.get(fd, (None, None))
        # Another process may have got the number of the pipe.
        return begun if begun is not None and owner is process and getgeneratorstate(begun) == GEN_SUSPENDED else None


class Worker(cast("Any", asynpool.Worker)):
    """What runs in each process: it keeps its own time limits, and ends itself where a run overruns.

    Attributes:
        acts_until: memory that it shares with its parent: until when it is not to be ended from outside.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.acts_until = mmap(-1, MOMENT.size)
        super().__init__(*args, **options)  # pyright: ignore[reportUnknownMemberType] - untyped

    def contribute_to_object(self, obj: Any) -> Any:
        """Let the parent's view of the process have what it shares with it."""
        obj.acts_until = self.acts_until
        return super().contribute_to_object(obj)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped

    def on_loop_start(self, pid: int) -> None:
        """Begin to work."""
        watch = working_process.watch
        watch.use_signals()
        watch.alone, watch.replace = True, working_process.end_process
        working_process.on_beat = self.tell_that_it_acts
        super().on_loop_start(pid)  # pyright: ignore[reportUnknownMemberType] - untyped

    def tell_that_it_acts(self, recorded: bool) -> None:  # noqa: FBT001 - a callback's only argument
        """Tell the parent that this process acts; a run without a record has its hard time limit kept by the parent."""
        MOMENT.pack_into(self.acts_until, 0, time.monotonic() + ACTS_SECONDS if recorded else 0.0)


class TimeoutHandler(cast("Any", pool.TimeoutHandler)):
    """Ends a process that is over a hard time limit at once; a request to end would be taken for a shutdown."""

    def _trywaitkill(self, worker: Any) -> None:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)


def forget_cancelled(timer: Any) -> None:
    """Take what was cancelled out of a timer of Kombu's; only in the thread that it runs in."""
    waiting: list[Any] = timer._queue  # noqa: SLF001 - no public way
    waiting[:] = [one for one in waiting if not one.entry.canceled]  # in place: the timer's iterator holds this list
    heapify(waiting)


class AsynPool(cast("Any", asynpool.AsynPool)):
    """Celery's pool with our reader of results and our processes."""

    ResultHandler = ResultHandler
    TimeoutHandler = TimeoutHandler
    Worker = Worker
    _cancelled = 0

    def _create_timelimit_handlers(self, hub: Any) -> None:
        """Forget the limits of jobs that have ended: Celery's loop keeps each until its time would have come."""
        super()._create_timelimit_handlers(hub)  # pyright: ignore[reportUnknownMemberType] - untyped
        cancel = self.on_timeout_cancel

        def cancel_and_forget(result: Any) -> None:
            cancel(result)
            self._cancelled += 1
            if self._cancelled >= CANCELLED_KEPT:
                self._cancelled = 0
                forget_cancelled(hub.timer)

        self.on_timeout_cancel = cancel_and_forget

    def _on_hard_timeout(self, job: int) -> None:
        """End a process that cannot act by itself; one that can may wait for the database to take what it has done."""
        parent: Any = super()
        result = self._cache.get(job)
        process, _ = self._timeout_handler._process_by_pid(result._worker_pid) if result else (None, None)  # noqa: SLF001 - Celery's own way to it
        if process is not None and MOMENT.unpack_from(process.acts_until)[0] > time.monotonic():
            self.on_timeout_set(result, None, ACTS_SECONDS)
        else:
            parent._on_hard_timeout(job)  # noqa: SLF001 - Celery's method

    def destroy_queues(self, queues: Any, proc: Any) -> Any:
        """Close the pipes of a process that is gone."""
        self._result_handler.forget(proc)
        return super().destroy_queues(queues, proc)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped

    def process_flush_queues(self, proc: Any) -> None:
        """Read what a process has left that is gone."""
        self._result_handler.read_on(proc.outqR_fd, proc)
        super().process_flush_queues(proc)  # pyright: ignore[reportUnknownMemberType] - untyped

    def _process_cleanup_queues(self, proc: Any) -> None:
        """Remember how a process ended, before another one takes its place."""
        pool_deaths.see(proc.pid, proc.exitcode)
        super()._process_cleanup_queues(proc)  # pyright: ignore[reportUnknownMemberType] - untyped


def _without_arguments(job: Sequence[Any]) -> tuple[Any, ...]:
    """Return a job whose request lacks the task's arguments: its process takes them from the body.

    Pickle goes half as deep as JSON: what is deeper ended the worker, and whichever took the message next.
    """
    return tuple(_request(cast("dict[str, Any]", part)) if isinstance(part, dict) else part for part in job)


def _request(whole: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in whole.items() if name not in {"args", "kwargs"}}


class TaskPool(cast("Any", prefork.TaskPool)):
    """What `worker_pool` names."""

    Pool = AsynPool

    def __init__(self, *args: Any, **options: Any) -> None:
        # Each job says its own limit, or has none here.
        super().__init__(*args, **options | {"timeout": None, "soft_timeout": None})  # pyright: ignore[reportUnknownMemberType] - untyped

    def apply_async(self, target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Hand a job to a process, which tells of its soft time limit itself, and keeps the hard one of a record."""
        task = self.app.tasks.get(args[0]) if args else None
        hard = options.pop("timeout", None)
        margin = HELD_SECONDS if getattr(task, "record", False) else 0.0
        options |= {"timeout": hard and hard + margin, "soft_timeout": None}
        if task is not None:
            args = _without_arguments(args)
        return super().apply_async(target, args, kwargs, **options)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped
