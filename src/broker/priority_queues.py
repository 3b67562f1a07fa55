"""Celery's view of queues on RabbitMQ: whoever names a queue means all its priorities."""

from typing import Any, cast

from celery.app.amqp import Queues
from kombu import Consumer, Queue

from broker.rabbitmq import level_names, level_queues, settle


class PriorityQueues(cast("Any", Queues)):
    """The queues by their names; a worker that is told one of them takes every priority of it."""

    @property
    def consume_from(self) -> dict[str, Queue]:
        """What a worker consumes from, the most urgent first."""
        chosen = cast("dict[str, Queue]", super().consume_from)  # pyright: ignore[reportUnknownMemberType] - untyped
        every = [level_queues(queue) for queue in chosen.values()]
        return {level.name: level for of_one_urgency in zip(*every, strict=True) for level in of_one_urgency}


class PriorityConsumer(cast("Any", Consumer)):
    """A consumer that starts and stops every priority of a queue together."""

    def declare(self) -> None:
        """Make the queues that are not there."""
        super().declare()  # pyright: ignore[reportUnknownMemberType] - untyped
        settle(self.channel)

    def add_queue(self, queue: Queue) -> Queue:
        """Add every priority of a queue."""
        for level in level_queues(queue):
            super().add_queue(level)  # pyright: ignore[reportUnknownMemberType] - untyped
        return queue

    def cancel_by_queue(self, queue: Queue | str) -> None:
        """Stop taking from every priority of a queue."""
        for name in level_names(queue.name if isinstance(queue, Queue) else queue):
            super().cancel_by_queue(name)  # pyright: ignore[reportUnknownMemberType] - untyped
