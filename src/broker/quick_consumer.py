"""A consumer that asks the broker and its own event loop for no more than it needs, where the transport is ours."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, cast

from celery.concurrency.solo import TaskPool as SoloPool
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.exceptions import TaskRevokedError
from celery.utils.functional import noop
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.consumer.gossip import Gossip

from broker import rabbitmq
from broker.envelopes import MALFORMED, MESSAGE_BYTES, UNDECODABLE
from config.log_setup import get_logger
from processors.json_text import MOST_HEADER_LEVELS, goes_deeper

logger = get_logger()

RULES: dict[str, Callable[[Any], bool]] = {
    "id": lambda value: isinstance(value, str) and bool(value.encode()),
    "task": lambda value: isinstance(value, str),
    "shadow": lambda value: not value or isinstance(value, str),
    "timelimit": lambda value: not value or _is_pair_of_numbers(value),
    "stamped_headers": lambda value: not value or isinstance(value, list),
    "stamps": lambda value: not value or isinstance(value, dict),
}
"""What Celery takes for granted of headers that it uses after it has given the message a slot."""


def check_headers(message: Any) -> None:
    """Check what Celery uses after it has given the message a slot, which no error gives back.

    Raises:
        TypeError: a header is not what Celery's protocol says; the message says which, and what it was.
        UnicodeEncodeError: the id has characters that no broker and no database takes.
        ValueError: the headers are too deep for a child to get them.
        https://docs.celeryq.dev/en/stable/internals/protocol.html
    """
    headers = _headers_of(message)
    if "task" not in headers:
        return  # no task at all: Celery puts it aside
    for name, holds in RULES.items():
        if not holds(headers.get(name)):
            raise TypeError(f"the header {name} must not be {headers.get(name)!r:.100}")
    if goes_deeper(_pickled(message), MOST_HEADER_LEVELS + 1):
        raise ValueError(f"the headers must not be nested over {MOST_HEADER_LEVELS} levels deep")


def check_size(message: Any) -> None:
    """Check what another program may have sent: RabbitMQ takes much more, and Redis anything.

    Raises:
        ValueError: the body is larger than a message may be.
    """
    size = len(message.body or b"")
    if size > MESSAGE_BYTES:
        raise ValueError(f"the body has {size} bytes, at most {MESSAGE_BYTES} are accepted")


def _headers_of(message: Any) -> Mapping[str, Any]:
    """Return the headers of a task's message; protocol 1 has them in the body."""
    headers: Mapping[str, Any] = message.headers or {}
    if "task" in headers:
        return headers
    with suppress(*UNDECODABLE):  # Celery says so when it decodes it again
        body = message.decode()
        if isinstance(body, dict):
            return cast("Mapping[str, Any]", body)
    return {}


def _pickled(message: Any) -> list[Any]:
    """Return what a child gets pickled: what is no body of protocol 2 as well."""
    with suppress(*UNDECODABLE):
        body = message.decode()
        if isinstance(body, dict):
            return [message.headers, message.properties, cast("Any", body)]
    return [message.headers, message.properties]


def _is_pair_of_numbers(value: Any) -> bool:
    match value:
        case [int() | float() | None, int() | float() | None]:
            return True
        case _:
            return False


class GuardedGossip(cast("Any", Gossip)):
    """Celery's gossip, which drops an event that it cannot read, where that ended all workers at once."""

    def get_consumers(self, channel: Any) -> Any:
        """Return what consumes the events of other workers."""
        consumers: list[Any] = cast("Any", Gossip).get_consumers(self, channel)
        for one in consumers:
            one.on_decode_error = self._drop
        return consumers

    def on_message(self, prepare: Callable[..., Any], message: Any) -> None:
        """Take an event."""
        try:
            cast("Any", Gossip).on_message(self, prepare, message)
        except (*MALFORMED, *UNDECODABLE) as error:
            self._drop(message, error)

    def _drop(self, _: Any, error: Exception) -> None:
        logger.error("malformed_event", error=str(error))


class QuickConsumer(cast("Any", Consumer)):
    """Celery's consumer, which fetches many messages at once and acknowledges in whatever thread ended the task."""

    class Blueprint(cast("Any", Consumer).Blueprint):
        """Celery's own parts, but for its gossip."""

        default_steps = tuple(
            f"{__name__}:GuardedGossip" if one == f"{Gossip.__module__}:{Gossip.__name__}" else one
            for one in cast("Any", Consumer).Blueprint.default_steps
        )

    def __init__(self, *arguments: Any, app: Any, worker_options: dict[str, Any] | None = None, **options: Any) -> None:
        if app.connection_for_read().transport_cls in rabbitmq.SCHEMES:
            # Under an alarm RabbitMQ reads nothing more from a connection that publishes, as a greeting does.
            worker_options = (worker_options or {}) | {"without_mingle": True}
        cast("Any", Consumer).__init__(self, *arguments, app=app, worker_options=worker_options, **options)
        if isinstance(self.pool, SoloPool):
            self.amqheartbeat = 0  # its tasks run in the loop that would beat
        if self.hub is not None and isinstance(self.pool, ThreadPool) and app.conf.worker_disable_prefetch:
            self.on_task_request = self._run_and_look_again

    def connect(self) -> Any:
        """Connect; while work waits in this worker the next messages are not fetched one by one."""
        connection = cast("Any", Consumer).connect(self)
        channel = connection.default_channel  # that of the tasks' consumer
        if self.hub is not None and hasattr(channel, "has_work"):
            channel.has_work = self._has_work
        return connection

    def create_task_handler(self, *arguments: Any, **options: Any) -> Any:
        """Return what takes a message; one that Celery stumbles over is put aside, instead of ending the worker."""
        take = cast("Any", Consumer).create_task_handler(self, *arguments, **options)

        def take_or_put_aside(message: Any) -> None:
            try:
                check_size(message)
                check_headers(message)
                take(message)
            except MALFORMED as error:
                if message.acknowledged:
                    raise
                logger.exception("malformed_message", error=str(error))
                message.reject_log_error(logger, self.connection_errors)

        return take_or_put_aside

    def _run_and_look_again(self, request: Any) -> None:
        """Run a task; its end makes room, which nothing else says of one that was acknowledged when it began."""
        with suppress(TaskRevokedError):
            request.execute_using_pool(self.pool).f.add_done_callback(partial(self.hub.call_soon, noop))

    def _has_work(self) -> bool:
        """Tell whether more than half of what this worker may hold beyond one message a slot waits for a slot."""
        try:
            slots = self.pool.num_processes or 0
        except AttributeError:  # a cold shutdown has ended the pool of processes, and this consumer before it
            return True
        return len(state.reserved_requests) - slots > slots * (self.prefetch_multiplier - 1) // 2

    def call_soon_ack(self, acknowledge: Any, *arguments: Any) -> Any:
        """Acknowledge or reject, at once where any thread may."""
        transport = getattr(self.connection, "transport", None)  # there is none between two connections
        if getattr(transport, "acknowledges_in_any_thread", False):
            return acknowledge(*arguments)
        return cast("Any", Consumer).call_soon_ack(self, acknowledge, *arguments)
