"""The floor: the bytes of one Celery message, pushed and popped by Redis' client in pipelines and nothing else."""

from collections.abc import Callable, Iterable
from itertools import islice

import plain_celery
from effects import BROKER_URL
from redis import Redis

DISTRIBUTIONS = ("redis", "hiredis")
BATCH = 500
KEY = "floor"

client = Redis.from_url(BROKER_URL)
messages: list[bytes] = []


def open_client() -> None:
    """Take the bytes of a message that Celery made."""
    plain_celery.delay_each(plain_celery.make_app(), "no_operation", [0])
    messages.append(client.rpop(plain_celery.QUEUE))


def publish(_task: str, numbers: Iterable[int]) -> None:
    """Push, 500 commands in a pipeline."""
    _pipelined(numbers, lambda pipeline: pipeline.lpush(KEY, messages[0]))


def pop(numbers: Iterable[int]) -> int:
    """Pop, 500 commands in a pipeline; returns how many messages came."""
    return sum(answer is not None for answer in _pipelined(numbers, lambda pipeline: pipeline.rpop(KEY)))


def waiting() -> int:
    """Return how many messages lie in the queue."""
    return client.llen(KEY)


def _pipelined(numbers: Iterable[int], command: Callable[[object], object]) -> list[object]:
    answers: list[object] = []
    rest = iter(numbers)
    while batch := list(islice(rest, BATCH)):
        pipeline = client.pipeline(transaction=False)
        for _ in batch:
            command(pipeline)
        answers += pipeline.execute()
    return answers
