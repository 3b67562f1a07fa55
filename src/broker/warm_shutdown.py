"""A warm shutdown gives back at once what its worker has taken and no task has begun.

Celery keeps it until the worker ends, which is as long as its longest task.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# Celery's worker has no types.

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from celery import bootsteps
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.worker.request import Request

from broker.away import AWAY_ERRORS
from broker.claim_channel import ClaimMessage
from config.log_setup import get_logger

logger = get_logger()

BEAT_SECONDS = 0.5

_beginning = threading.Lock()


class TakenBack(Exception):
    """This message was given to others; its task does not begin here."""


class ReturnableRequest(cast("Any", Request)):
    """Celery's request, which may be taken back until its task begins."""

    _begun = _taken_back = False

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """Begin; in a pool of threads this is called by the thread that is to run the task.

        Raises:
            TakenBack: it must not begin any more.
        """
        with _beginning:
            if self._taken_back or _is_others(self.message):
                raise TakenBack
            self._begun = True
        super().on_accepted(pid, time_accepted)

    def revoked(self) -> bool:
        """Tell the pool whether this must not begin."""
        return self._taken_back or super().revoked()

    def take_back(self, *, from_threads: bool) -> bool:
        """Keep the task from beginning; False where it has begun, or may have.

        Args:
            from_threads: the pool's threads ask `on_accepted` before they begin; a process tells of it afterwards.
        """
        with _beginning:
            handed_over = self._apply_result is not None and not from_threads
            self._taken_back = not (self._begun or self.acknowledged or handed_over)
            self.acknowledged = self.acknowledged or self._taken_back
        return self._taken_back


def _is_others(message: Any) -> bool:
    """Tell whether a message went back to its queue with the connection that it came over."""
    return isinstance(message, ClaimMessage) and not message.acknowledged and not message.in_hand


class GiveBackUnbegun(cast("Any", bootsteps.StartStopStep)):
    """Gives back between the end of consuming and the wait for what runs."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_: Any) -> None:
        self._requests: tuple[Any, ...] = ()
        super().__init__(worker)

    def close(self, worker: Any) -> None:
        """Note what the worker has: the consumer forgets it when it stops."""
        self._requests = tuple(worker.state.requests.values())

    def stop(self, worker: Any) -> None:
        """Give back; the pool takes nothing more by now, and nothing is consumed."""
        from_threads = isinstance(worker.pool, ThreadPool)
        returnable = [one for one in self._requests if isinstance(one, ReturnableRequest)]
        messages = [one.message for one in returnable if one.take_back(from_threads=from_threads)]
        try:
            _give_back(messages)
        except AWAY_ERRORS as error:
            logger.warning("not_given_back", error=str(error))  # the broker does so when this worker ends
        if messages:
            logger.info("given_back", messages=len(messages))
        if from_threads:
            _outlast_threads(worker)


def give_back_early(app: Any) -> None:
    """Let the workers of an application give back at once, in a warm shutdown, what no task has begun.

    A task with a base class of its own must name `ReturnableRequest` as its `Request`; else its messages go back last.
    """
    app.steps["worker"].add(GiveBackUnbegun)
    app.Task.Request = f"{__name__}:{ReturnableRequest.__name__}"


def _outlast_threads(worker: Any) -> None:
    """Wait for the tasks of a pool of threads; Celery's own wait lets the broker hear nothing meanwhile."""
    connection, executor = worker.consumer.connection, worker.pool.executor
    if connection is None or not (connection.heartbeat and connection.supports_heartbeats):
        return
    executor.shutdown(wait=False, cancel_futures=True)
    try:
        while goes_on(worker.pool):
            with suppress(TimeoutError):
                connection.drain_events(timeout=BEAT_SECONDS)
            connection.heartbeat_check()
            _do_what_is_ready(worker.hub)
    except AWAY_ERRORS as error:
        logger.warning("connection_lost", error=str(error))  # what runs is delivered again
    _do_what_is_ready(worker.hub)


def goes_on(pool: Any) -> bool:
    """Tell whether a pool of threads runs something that is worth waiting for; a pool may know that itself."""
    if hasattr(pool, "goes_on"):
        return pool.goes_on()
    return any(thread.is_alive() for thread in pool.executor._threads)  # noqa: SLF001 - no public way to ask


def _do_what_is_ready(hub: Any) -> None:
    """Send the acknowledgements that the threads have left for the loop.

    A loop that closes gives up at the first error, as of the connection for events, which nobody kept alive meanwhile.
    """
    if hub is None:
        return
    for item in hub._pop_ready():  # noqa: SLF001 - no public way to go on after an error
        try:
            item()
        except AWAY_ERRORS as error:
            logger.debug("connection_lost", error=str(error))
        except Exception as error:
            logger.exception("not_done_at_the_end", error=str(error))


def _give_back(messages: Sequence[Any]) -> None:
    """Give back in the order that keeps theirs: Redis serves first what comes back last, RabbitMQ what comes first."""
    for message in reversed(messages):
        if isinstance(message, ClaimMessage):
            message.put_back()
    for message in messages:
        if not message.acknowledged:
            message.requeue()
