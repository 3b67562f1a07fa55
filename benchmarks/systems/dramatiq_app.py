"""Dramatiq with its Redis broker and its JSON encoder; results only where they are waited for."""

from collections.abc import Iterable

import dramatiq
import effects
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

DISTRIBUTIONS = ("dramatiq", "redis", "hiredis")
QUEUE = "default"
CALL_MILLISECONDS = 30_000

broker = RedisBroker(url=effects.BROKER_URL)
if effects.KEEPS_RESULTS:
    broker.add_middleware(Results(backend=RedisBackend(url=effects.BROKER_URL)))
dramatiq.set_broker(broker)

ACTORS = {body.__name__: dramatiq.actor(queue_name=QUEUE)(body) for body in (effects.no_operation, effects.wait)}
echo = dramatiq.actor(queue_name=QUEUE, **({"store_results": True} if effects.KEEPS_RESULTS else {}))(effects.echo)


def publish(task: str, numbers: Iterable[int]) -> None:
    """Publish one by one."""
    send = ACTORS[task].send
    for number in numbers:
        send(effects.payload(number))


def waiting() -> int:
    """Return how many messages lie in the queue."""
    return broker.do_qsize(QUEUE)


def call(number: int) -> int:
    """Submit one task and wait for its result."""
    return echo.send(effects.payload(number)).get_result(block=True, timeout=CALL_MILLISECONDS)
