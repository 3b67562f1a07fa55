"""Celery as it comes, in an environment that holds nothing of ours."""

from collections.abc import Iterable

import plain_celery

DISTRIBUTIONS = ("celery", "kombu", "billiard", "redis", "hiredis")

app = plain_celery.make_app()


def publish(task: str, numbers: Iterable[int]) -> None:
    """Publish one by one."""
    plain_celery.delay_each(app, task, numbers)


def publish_bulk(task: str, numbers: Iterable[int]) -> None:
    """Publish in bulk."""
    plain_celery.publish_batched(app, task, numbers)


def waiting() -> int:
    """Return how many messages lie in the queue."""
    return plain_celery.depth(app)


def call(number: int) -> int:
    """Submit one task and wait for its result."""
    return plain_celery.call_task(app, number)
