"""taskiq with its Redis list and its JSON; results only where they are waited for."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice

import effects
from redis import Redis
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

DISTRIBUTIONS = ("taskiq", "taskiq-redis", "redis", "hiredis")
BATCH = 50
CALL_SECONDS = 30

broker = ListQueueBroker(effects.BROKER_URL)
if effects.KEEPS_RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(effects.BROKER_URL))


@broker.task
async def no_operation(argument: dict) -> None:
    """Do nothing but be counted."""
    effects.note_effect(argument)


@broker.task
async def wait(argument: dict) -> None:
    """Wait 50 ms and be counted."""
    await asyncio.sleep(effects.WAIT_SECONDS)
    effects.note_effect(argument)


@broker.task
async def echo(argument: dict) -> int:
    """Return the task's number."""
    return effects.echo(argument)


TASKS = {"no_operation": no_operation, "wait": wait}


async def open_client() -> None:
    """Connect."""
    await broker.startup()


async def publish(task: str, numbers: Iterable[int]) -> None:
    """Publish one by one."""
    for number in numbers:
        await TASKS[task].kiq(effects.payload(number))


async def publish_bulk(task: str, numbers: Iterable[int]) -> None:
    """Publish 50 at a time."""
    jobs: Iterator = (TASKS[task].kiq(effects.payload(number)) for number in numbers)
    while batch := list(islice(jobs, BATCH)):
        await asyncio.gather(*batch)


def waiting() -> int:
    """Return how many messages lie in the queue."""
    return Redis.from_url(effects.BROKER_URL).llen(broker.queue_name)


async def call(number: int) -> int:
    """Submit one task and wait for its result."""
    kicked = await echo.kiq(effects.payload(number))
    return (await kicked.wait_result(timeout=CALL_SECONDS)).return_value
