"""Many messages in one go: on Redis in one round trip, on RabbitMQ with one wait for all confirms."""

import base64
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

from kombu import Connection, Producer

from broker.away import MessageRefused
from broker.claim_channel import ClaimChannel, check_size, encode
from broker.delivery_tags import fresh_tag
from broker.envelopes import task_id_of


class Message:
    """One message on its way to a queue.

    Args:
        queue: the broker's own queue.
        priority: 0 to 9, the smallest served first.
        payload: what Kombu's `prepare_message` makes of body, headers and properties.
        first: whether it goes to the front of its queue, where the broker has such a place.
    """

    def __init__(self, queue: str, priority: int, payload: dict[str, Any], *, first: bool = False) -> None:
        self.queue = queue
        self.priority = priority
        self.payload = payload
        self.first = first

    @cached_property
    def text(self) -> str:
        """The message as it lies in Redis, in Kombu's form."""
        properties = {
            **self.payload["properties"],
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": self.queue},
            "delivery_tag": fresh_tag(),
        }
        body = base64.b64encode(self.payload["body"].encode()).decode()
        return encode({**self.payload, "body": body, "properties": properties})


def publish_messages(connection: Connection, messages: Sequence[Message]) -> set[Message]:
    """Put messages into their queues, in this order; those that go first before all others there.

    Returns:
        Those that RabbitMQ refused while it took the others, because their queue is full.

    Raises:
        InvalidArgument: one is larger than any worker would take; some of the others may have been taken.
        Exception: one of `broker.away.AWAY_ERRORS`; some of them may have been taken.
    """
    channel = cast("Any", connection.default_channel)
    if not isinstance(channel, ClaimChannel):
        return _publish_to_rabbitmq(channel, messages)
    ready: dict[tuple[str, int, bool], list[str]] = {}
    for message in messages:
        ready.setdefault((message.queue, message.priority, message.first), []).append(message.text)
    for (queue, priority, first), texts in ready.items():
        channel.push(queue, priority, texts, first=first)
    return set()


def _publish_to_rabbitmq(channel: Any, messages: Sequence[Message]) -> set[Message]:
    producer = Producer(channel, auto_declare=False)
    try:
        with cast("Any", producer).batch(len(messages) + 1):
            for message in messages:
                check_size(message.queue, message.payload["body"])
                _publish(producer, message)
    except MessageRefused as refused:
        return {message for message in messages if task_id_of(message.payload["properties"]) in refused.ids}
    return set()


def _publish(producer: Producer, message: Message) -> None:
    payload = message.payload
    producer.publish(
        payload["body"],
        exchange="",
        routing_key=message.queue,
        mandatory=True,
        content_type=payload["content-type"],
        content_encoding=payload["content-encoding"],
        headers=payload["headers"],
        **payload["properties"],
    )
