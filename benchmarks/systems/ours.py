"""Ours on a plain Celery application: our transport, and our two ways to publish. The one file that knows them."""

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec

import plain_celery
from celery import Celery
from effects import NotBuilt, payload

from broker.redis_transport import register

DISTRIBUTIONS = ("celery", "kombu", "billiard", "redis", "hiredis")

register()
app = plain_celery.make_app()


def publish(task: str, numbers: Iterable[int]) -> None:
    """Publish one by one through Celery's API, with our message factory."""
    plain_celery.delay_each(_quick_app(), task, numbers)


def publish_plain(task: str, numbers: Iterable[int]) -> None:
    """Publish one by one through Celery's API, with Celery's own message factory and our transport."""
    plain_celery.delay_each(app, task, numbers)


def publish_bulk(task: str, numbers: Iterable[int]) -> None:
    """Publish in bulk, the way that is ours."""
    if find_spec("broker.bulk_publish") is None:
        raise NotBuilt("broker.bulk_publish")
    from broker.bulk_publish import publish_many  # noqa: PLC0415 - there is a version of ours without it

    arguments = (([payload(number)], {}) for number in numbers)
    publish_many(app, f"bench.{task}", arguments, queue=plain_celery.QUEUE)


def publish_batched(task: str, numbers: Iterable[int]) -> None:
    """Publish in bulk through Kombu's `Producer.batch` over our transport."""
    plain_celery.publish_batched(app, task, numbers)


def waiting() -> int:
    """Return how many messages lie in the queue."""
    return plain_celery.depth(app)


def call(number: int) -> int:
    """Submit one task and wait for its result."""
    return plain_celery.call_task(app, number)


@cache
def _quick_app() -> Celery:
    if find_spec("broker.quick_messages") is None:
        raise NotBuilt("broker.quick_messages")
    return plain_celery.make_app(amqp="broker.quick_messages:QuickAMQP")
