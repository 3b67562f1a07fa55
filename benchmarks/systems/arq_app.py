"""arq with its pickled jobs; it always keeps a result, and its worker and its caller poll twice a second."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice

import effects
from arq import ArqRedis, create_pool
from arq.connections import RedisSettings
from arq.constants import default_queue_name

DISTRIBUTIONS = ("arq", "redis", "hiredis")
BATCH = 50
CALL_SECONDS = 30
SETTINGS = RedisSettings.from_dsn(effects.BROKER_URL)

pools: list[ArqRedis] = []


async def no_operation(_context: dict, argument: dict) -> None:
    """Do nothing but be counted."""
    effects.note_effect(argument)


async def wait(_context: dict, argument: dict) -> None:
    """Wait 50 ms and be counted."""
    await asyncio.sleep(effects.WAIT_SECONDS)
    effects.note_effect(argument)


async def echo(_context: dict, argument: dict) -> int:
    """Return the task's number."""
    return effects.echo(argument)


class WorkerSettings:
    """What the worker is told."""

    functions = (no_operation, wait, echo)
    redis_settings = SETTINGS
    max_jobs = 100


async def open_client() -> None:
    """Connect."""
    pools.append(await create_pool(SETTINGS))


async def publish(task: str, numbers: Iterable[int]) -> None:
    """Publish one by one."""
    for number in numbers:
        await pools[0].enqueue_job(task, effects.payload(number))


async def publish_bulk(task: str, numbers: Iterable[int]) -> None:
    """Publish 50 at a time."""
    jobs: Iterator = (pools[0].enqueue_job(task, effects.payload(number)) for number in numbers)
    while batch := list(islice(jobs, BATCH)):
        await asyncio.gather(*batch)


async def waiting() -> int:
    """Return how many messages lie in the queue."""
    return await pools[0].zcard(default_queue_name)


async def call(number: int) -> int:
    """Submit one task and wait for its result."""
    job = await pools[0].enqueue_job("echo", effects.payload(number))
    return await job.result(timeout=CALL_SECONDS)
