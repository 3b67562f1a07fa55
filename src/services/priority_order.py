"""The order in which a worker on RabbitMQ starts what it holds: the most urgent first, and nothing waits for ever.

RabbitMQ limits each consumer by itself: a worker holds as many messages of each priority as it has slots, and Celery
would start them as they came, one priority in turn with the others.
"""

import heapq
import time
from collections.abc import Callable
from itertools import count
from typing import Any, cast

from celery import bootsteps
from celery.worker import state

from broker import rabbitmq
from broker.location import resolve
from config.settings import settings

LEVEL_SECONDS = 60.0
"""A priority is worth so many seconds of waiting: whoever waits longer goes first."""

GRACE_SECONDS = 0.02
"""How long a free slot waits for the next message of a more urgent task that has just ended."""

LOOK_SECONDS = 1.0


class PriorityOrder:
    """Hands requests to the pool as slots get free; everything happens in the worker's own loop.

    Args:
        start: hands one request to the pool.
        slots: tells how many may run.
        soon: calls a function from the loop, from whichever thread it is asked.
        later: calls a function after so many seconds.
    """

    def __init__(
        self,
        start: Callable[[Any], Any],
        slots: Callable[[], int],
        soon: Callable[..., Any],
        later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self._start, self._slots, self._soon, self._later = start, slots, soon, later
        self._waiting: list[tuple[float, int, int, Any]] = []
        self._running: list[Any] = []
        self._arrivals = count()
        self._expected, self._until = 0, 0.0

    def process(self, request: Any) -> None:
        """Take a request that came; what the pool would get from Celery."""
        urgency = _urgency(request.delivery_info)
        key = time.monotonic() + urgency * LEVEL_SECONDS
        heapq.heappush(self._waiting, (key, next(self._arrivals), urgency, request))
        self.fill()

    def watched(self, delivery_info: dict[str, Any], answer: Callable[..., Any]) -> Callable[..., Any]:
        """Return an answer to the broker after which a slot is free."""

        def answer_and_look(*arguments: Any) -> None:
            answer(*arguments)
            self._soon(self._ended, _urgency(delivery_info))

        return answer_and_look

    def fill(self) -> None:
        """Start what may start now."""
        # Celery forgets what ended, and what was waiting when the connection was lost: that comes again.
        self._running = [one for one in self._running if one in state.reserved_requests]
        while self._waiting and len(self._running) < self._slots():
            _, _, urgency, request = self._waiting[0]
            if request not in state.reserved_requests:
                heapq.heappop(self._waiting)
                continue
            pause = self._until - time.monotonic()
            if urgency > self._expected and pause > 0:
                self._later(pause, self.fill)
                return
            heapq.heappop(self._waiting)
            self._running.append(request)
            self._start(request)

    def _ended(self, urgency: int) -> None:
        now = time.monotonic()
        self._expected = min(urgency, self._expected) if now < self._until else urgency
        self._until = now + GRACE_SECONDS
        self.fill()


class StartByPriority(cast("Any", bootsteps.Step)):
    """Puts the order between Celery's consumer and its pool."""

    requires = ("celery.worker.components:Pool",)

    def include_if(self, worker: Any) -> bool:
        """Tell whether this worker needs it: one on RabbitMQ, with a loop of its own."""
        return rabbitmq.serves(resolve(settings).url) and worker.use_eventloop

    def create(self, worker: Any) -> None:
        """Take the pool's place."""
        order = PriorityOrder(
            start=worker.process_task,
            slots=lambda: worker.pool.num_processes if worker.pool.active else 0,
            soon=worker.hub.call_soon,
            later=worker.timer.call_after,
        )
        worker.priority_order = order
        worker.process_task = order.process
        worker.timer.call_repeatedly(LOOK_SECONDS, order.fill, priority=10)


def _urgency(delivery_info: dict[str, Any] | None) -> int:
    return rabbitmq.urgency((delivery_info or {}).get("routing_key") or "")
