"""Celery's pool of processes, which loses no result where the worker's loop begins anew.

A process writes a large result, such as a failure with its traceback, in two goes. Celery 5.7 forgets the first half
when the connection to the broker is lost in between, takes the second one for the next result, and so loses the slot or
ends the worker.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
from inspect import GEN_SUSPENDED, getgeneratorstate
from typing import Any, cast

from celery.concurrency import asynpool, prefork


class ResultHandler(cast("Any", asynpool.ResultHandler)):
    """Reads the results of the processes, each one to its end."""

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

    def _finish_partial_read(self, fd: int, proc: Any) -> bool:
        """Complete what was half read when the worker ends, even where the loop has not come back to it."""
        begun = self._half_read(fd, proc)
        if begun is not None and self._hub is not None:
            self._hub.add_reader(fd, begun)
        parent: Any = super()
        return parent._finish_partial_read(fd, proc)  # noqa: SLF001 - Celery's reader

    def read_on(self, fd: int, process: Any) -> None:
        """Read what is there of a result that was begun."""
        begun = self._half_read(fd, process)
        if begun is not None:
            with suppress(StopIteration, OSError, EOFError):
                next(begun)

    def _half_read(self, fd: int, process: Any) -> Generator[None] | None:
        owner, begun = self._begun.get(fd, (None, None))
        # Another process may have got the number of the pipe.
        return begun if begun is not None and owner is process and getgeneratorstate(begun) == GEN_SUSPENDED else None


class AsynPool(cast("Any", asynpool.AsynPool)):
    """Celery's pool with our reader."""

    ResultHandler = ResultHandler

    def process_flush_queues(self, proc: Any) -> None:
        """Read what a process has left that is gone."""
        self._result_handler.read_on(proc.outqR_fd, proc)
        super().process_flush_queues(proc)  # pyright: ignore[reportUnknownMemberType] - untyped


class TaskPool(cast("Any", prefork.TaskPool)):
    """What `worker_pool` names."""

    Pool = AsynPool
