"""What lies in the broker's queues: task ids, depths, and taking everything out of one queue."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, cast

from kombu import Connection, Queue
from kombu.exceptions import ContentDisallowed, DecodeError

from broker import rabbitmq
from broker.allegiance import RedisBroker, redis_broker

PAGE = 1_000


def message_ids(connection: Connection, queues: Sequence[str]) -> set[str] | None:
    """Return the ids of the tasks whose messages lie in these queues; None where it cannot be known."""
    broker = redis_broker(connection)
    if broker is None:
        return None
    return {task_id for name in queues for task_id in _queued_ids(broker, name)}


def depths(connection: Connection, queues: Sequence[str]) -> dict[str, int]:
    """Return how many messages lie in each queue, over all priorities."""
    broker = redis_broker(connection)
    if broker is None:
        return rabbitmq.depths(connection, queues)
    return {name: sum(broker.client.llen(key) for key in _keys(broker, name)) for name in queues}


def take_all(connection: Connection, queue: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """Take every message out of one queue; yields headers and body, None for a body that is not read here."""
    found = _messages(connection, queue) if redis_broker(connection) else rabbitmq.messages(connection, queue)
    for message in found:
        try:
            body = message.payload
        except (ContentDisallowed, DecodeError):
            body = None
        yield dict(message.headers or {}), body


def _messages(connection: Connection, queue: str) -> Iterator[Any]:
    bound = cast("Any", Queue(queue, channel=connection.default_channel))
    while (message := bound.get(no_ack=True)) is not None:
        yield message


def _keys(broker: RedisBroker, queue: str) -> list[str]:
    steps = broker.channel.priority_steps
    return [broker.key(broker.channel._q_for_pri(queue, step)) for step in steps]  # noqa: SLF001 - Kombu's key scheme


def _queued_ids(broker: RedisBroker, queue: str) -> Iterator[str]:
    for key in _keys(broker, queue):
        start = 0
        while page := broker.client.lrange(key, start, start + PAGE - 1):
            yield from filter(None, (_task_id(json.loads(raw)) for raw in page))
            start += PAGE


def _task_id(message: dict[str, Any]) -> str | None:
    headers: Any = message.get("headers")
    return headers.get("id") if headers else None
