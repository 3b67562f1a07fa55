"""What was put aside because no worker can use it: how many, what, and back into its queue or away."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from amqp.exceptions import ChannelError, NotFound
from kombu import Connection

from broker.envelopes import DEATH_QUEUE, DEATH_REASON, DELIVERY_COUNT, PARKED_QUEUE
from broker.waiting_messages import depths, next_message
from config.log_setup import get_logger

logger = get_logger()

SHOWN_BYTES = 200
NO_ROUTE = 312
"""AMQP's code for a message that no queue took."""


@dataclass(frozen=True, slots=True)
class Parked:
    """One parked message.

    Args:
        queue: where it came from.
        reason: why it is here.
        task_id: the task's id; None for what is no task.
        task: the task's name.
        content: the beginning of its body.
    """

    queue: str
    reason: str
    task_id: str | None
    task: str | None
    content: str


def count(connection: Connection) -> int:
    """Return how many messages are parked."""
    return depths(connection, [PARKED_QUEUE])[PARKED_QUEUE]


def look(connection: Connection, limit: int) -> list[Parked]:
    """Return the parked messages, at most `limit`, and leave them where they are."""
    return [_described(message) for _, message in zip(range(limit), messages(connection), strict=False)]


def messages(connection: Connection) -> Iterator[Any]:
    """Look at every parked message; what the caller does not acknowledge stays there."""
    # RabbitMQ has no such queue before the first start; what is not acknowledged goes back when the channel closes.
    with connection.channel() as channel, suppress(NotFound):
        while (message := next_message(channel, PARKED_QUEUE)) is not None:
            yield message


def retry(connection: Connection) -> int:
    """Put every parked message back into the queue that it came from, once; returns how many.

    What is no task stays, and what came from a queue that is gone.
    """
    moved = 0
    # What is parked again meanwhile is not tried again.
    for _, message in zip(range(count(connection)), messages(connection), strict=False):
        if _described(message).task_id is not None and _put_back(connection, message):
            message.channel.basic_ack(message.delivery_tag)  # its own would park what cannot be decompressed here
            moved += 1
    return moved


def _put_back(connection: Connection, message: Any) -> bool:
    """Put a message back into the queue that it came from; False where that is gone."""
    headers = {key: value for key, value in message.headers.items() if key not in _MARKS}
    if not message.errors:
        headers.pop("compression", None)  # Kombu has undone it
    queue = message.headers[DEATH_QUEUE]
    try:
        cast("Any", connection).Producer(message.channel).publish(
            message.body,
            exchange="",
            routing_key=queue,
            mandatory=True,
            headers=headers,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            priority=message.properties.get("priority") or 0,
            correlation_id=headers.get("id"),
            reply_to=message.properties.get("reply_to"),
        )
    except ChannelError as error:
        if error.reply_code != NO_ROUTE:
            raise
        logger.warning("parked_queue_gone", queue=queue, task_id=headers.get("id"))
        return False
    return True


def drop(connection: Connection) -> int:
    """Delete every parked message; returns how many."""
    with connection.channel() as channel:
        try:
            return cast("Any", channel).queue_purge(PARKED_QUEUE)
        except NotFound:
            return 0


_MARKS = {DEATH_QUEUE, DEATH_REASON, DELIVERY_COUNT, "redelivered"}


def _described(message: Any) -> Parked:
    headers: dict[str, Any] = message.headers or {}
    content: Any = message.body[:SHOWN_BYTES]
    task_id, task = (given if isinstance(given := headers.get(name), str) else None for name in ("id", "task"))
    return Parked(
        queue=headers.get(DEATH_QUEUE, ""),
        reason=headers.get(DEATH_REASON, ""),
        task_id=task_id,
        task=task,
        content=content if isinstance(content, str) else bytes(content).decode(errors="replace"),
    )
