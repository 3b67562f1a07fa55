"""Ours on a plain Celery application: our transport, and our two ways to publish. The one file that knows them."""

from collections.abc import Iterable

import plain_celery
from celery import Celery
from effects import payload

from broker.quick_messages import QuickCelery
from broker.redis_transport import register

DISTRIBUTIONS = ("celery", "kombu", "billiard", "redis", "hiredis")

register()
app = plain_celery.make_app(QuickCelery)
plain = plain_celery.make_app(Celery)


def publish(task: str, numbers: Iterable[int]) -> None:
    """Publish one by one through Celery's API."""
    plain_celery.delay_each(app, task, numbers)


def publish_plain(task: str, numbers: Iterable[int]) -> None:
    """Publish one by one as stock Celery does, over our transport."""
    plain_celery.delay_each(plain, task, numbers)


def publish_bulk(task: str, numbers: Iterable[int]) -> None:
    """Publish in bulk, the way that is ours."""
    app.send_many(f"bench.{task}", (((payload(number),), {}) for number in numbers), ignore_result=True)


def publish_batched(task: str, numbers: Iterable[int]) -> None:
    """Publish in bulk through Kombu's `Producer.batch` over our transport."""
    plain_celery.publish_batched(plain, task, numbers)


def waiting() -> int:
    """Return how many messages lie in the queue."""
    return plain_celery.depth(app)


def call(number: int) -> int:
    """Submit one task and wait for its result."""
    return plain_celery.call_task(app, number)
