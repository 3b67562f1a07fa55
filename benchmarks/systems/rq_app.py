"""RQ with its pickled jobs; it always keeps a result."""

from collections.abc import Iterable, Iterator
from itertools import islice

import effects
from redis import Redis
from rq import Queue

DISTRIBUTIONS = ("rq", "redis", "hiredis")
BATCH = 500
CALL_SECONDS = 30
BODIES = {body.__name__: body for body in (effects.no_operation, effects.wait, effects.echo)}

queue = Queue("bench", connection=Redis.from_url(effects.BROKER_URL))


def publish(task: str, numbers: Iterable[int]) -> None:
    """Publish one by one."""
    for number in numbers:
        queue.enqueue(BODIES[task], effects.payload(number))


def publish_bulk(task: str, numbers: Iterable[int]) -> None:
    """Publish in bulk."""
    jobs: Iterator = (Queue.prepare_data(BODIES[task], args=(effects.payload(number),)) for number in numbers)
    while batch := list(islice(jobs, BATCH)):
        queue.enqueue_many(batch)


def waiting() -> int:
    """Return how many messages lie in the queue."""
    return queue.count


def call(number: int) -> int:
    """Submit one task and wait for its result."""
    return queue.enqueue(effects.echo, effects.payload(number)).latest_result(timeout=CALL_SECONDS).return_value
