"""What lies in the broker's queues: task ids, depths, and taking everything out of one queue."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

from kombu import Connection
from kombu.exceptions import ContentDisallowed, DecodeError

from broker import rabbitmq
from broker.allegiance import RedisBroker, redis_broker
from broker.claims import READ, ClaimKeys, Script
from broker.envelopes import opened

READ_PAGE = Script("page")
PAGE = 1_000
PAGE_BYTES = 16_000_000
"""What is read at once ends with the message that exceeds this."""


def message_ids(
    connection: Connection, queues: Sequence[str], meanwhile: Callable[[], object] = lambda: None
) -> set[str] | None:
    """Return the ids of the tasks whose messages lie in these queues or in a claim; None where it cannot be known.

    The queues are read first: what a worker claims meanwhile is found there.

    Args:
        connection: leads to the broker.
        queues: their names.
        meanwhile: is called again and again, because many messages take long.
    """
    broker = redis_broker(connection)
    if broker is None:
        return None
    found = set[str]()
    for task_id in chain(chain.from_iterable(_queued_ids(broker, name) for name in queues), _claimed_ids(broker)):
        found.add(task_id)
        meanwhile()
    return found


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
        except (ContentDisallowed, DecodeError, TypeError):  # the last where its content type is no text
            body = None
        yield dict(message.headers or {}), body


def _messages(connection: Connection, queue: str) -> Iterator[Any]:
    while (message := next_message(connection.default_channel, queue)) is not None:
        yield message
        message.ack()


def next_message(channel: Any, queue: str) -> Any:
    """Take one message, None where there is none; Kombu's own way raises for one that cannot be decompressed."""
    message = channel.basic_get(queue=queue, no_ack=False)
    return channel.message_to_python(message) if message and hasattr(channel, "message_to_python") else message


def _keys(broker: RedisBroker, queue: str) -> list[str]:
    steps = broker.channel.priority_steps
    return [broker.key(broker.channel._q_for_pri(queue, step)) for step in steps]  # noqa: SLF001 - Kombu's key scheme


def _queued_ids(broker: RedisBroker, queue: str) -> Iterator[str]:
    for key in _keys(broker, queue):
        start = 0
        while page := READ_PAGE(broker.client, [key], [start, PAGE, PAGE_BYTES]):
            yield from filter(None, map(_task_id, page))
            start += len(page)


def _claimed_ids(broker: RedisBroker) -> Iterator[str]:
    keys = ClaimKeys(broker.key(""))
    for owner in {*broker.client.zrange(keys.owners, 0, -1), *broker.client.smembers(keys.dead)}:
        claim = keys.claim(owner.decode())
        waiting = broker.client.hkeys(claim)
        while waiting:
            page: list[bytes | None] = READ(broker.client, [claim], [PAGE_BYTES, *waiting[:PAGE]])
            yield from filter(None, (_task_id(raw) for raw in page if raw))
            del waiting[: len(page)]


def _task_id(raw: bytes) -> str | None:
    envelope = opened(raw)
    found = envelope["headers"].get("id") if envelope else None
    return found if isinstance(found, str) else None  # a malformed message may say anything
