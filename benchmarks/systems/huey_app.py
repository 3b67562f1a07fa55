"""Huey with its Redis list."""

from collections.abc import Iterable

import effects
from huey import RedisHuey

DISTRIBUTIONS = ("huey", "redis", "hiredis")
CALL_SECONDS = 30

huey = RedisHuey("bench", url=effects.BROKER_URL)
TASKS = {body.__name__: huey.task()(body) for body in (effects.no_operation, effects.wait, effects.echo)}


def publish(task: str, numbers: Iterable[int]) -> None:
    """Publish one by one."""
    enqueue = TASKS[task]
    for number in numbers:
        enqueue(effects.payload(number))


def waiting() -> int:
    """Return how many messages lie in the queue."""
    return huey.pending_count()


def call(number: int) -> int:
    """Submit one task and wait for its result."""
    return TASKS["echo"](effects.payload(number)).get(blocking=True, timeout=CALL_SECONDS)
