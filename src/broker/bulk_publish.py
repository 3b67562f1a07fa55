"""Many messages in one go: on Redis in one round trip, on RabbitMQ with one wait for all confirms."""

from collections.abc import Sequence
from typing import Any, cast

from kombu import Connection, Producer

from broker.claim_channel import ClaimChannel, encode

Message = tuple[str, int, dict[str, Any]]
"""A queue's name, a priority, and a payload as Kombu's channels prepare it, its body not yet encoded for transport."""


def publish_messages(connection: Connection, messages: Sequence[Message]) -> int:
    """Put ready messages into their queues, in this order; returns how many.

    Raises:
        Exception: one of `broker.away.AWAY_ERRORS`; some of them may have been taken.
    """
    channel = cast("Any", connection.default_channel)
    if not isinstance(channel, ClaimChannel):
        producer = Producer(channel, auto_declare=False)
        with cast("Any", producer).batch(max(1, len(messages))):
            for queue, _, payload in messages:
                _publish(producer, queue, payload)
        return len(messages)
    ready: dict[tuple[str, int], list[str]] = {}
    for queue, priority, payload in messages:
        channel._inplace_augment_message(payload, "", queue)  # noqa: SLF001 - Kombu's form of a queued message
        ready.setdefault((queue, priority), []).append(encode(payload))
    for (queue, priority), texts in ready.items():
        channel.push(queue, priority, texts)
    return len(messages)


def _publish(producer: Producer, queue: str, payload: dict[str, Any]) -> None:
    producer.publish(
        payload["body"],
        exchange="",
        routing_key=queue,
        mandatory=True,
        content_type=payload["content-type"],
        content_encoding=payload["content-encoding"],
        headers=payload["headers"],
        **payload["properties"],
    )
