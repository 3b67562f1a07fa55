"""The order in which a worker starts what it holds; Celery's own memory of requests, a clock that the test moves."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery.worker import state

from services import priority_order
from services.priority_order import GRACE_SECONDS, LEVEL_SECONDS, PriorityOrder


class Request:
    """What the order needs of Celery's request."""

    def __init__(self, queue: str) -> None:
        self.id = self.queue = queue
        self.delivery_info = {"routing_key": queue}


class Worker:
    """A pool of one slot, a loop and a clock."""

    def __init__(self) -> None:
        self.now, self.started, self.timers = 1000.0, list[str](), list[tuple[float, Any]]()
        self.running: Request | None = None
        self.order = PriorityOrder(self._start, lambda: 1, lambda call, *arguments: call(*arguments), self._later)

    def take(self, *queues: str) -> list[Request]:
        requests = [Request(queue) for queue in queues]
        for request in requests:
            state.task_reserved(request)
            self.order.process(request)
        return requests

    def end(self) -> None:
        """End what runs: Celery forgets it, then answers the broker."""
        ended = self.running
        assert ended is not None
        state.task_ready(ended)
        self.order.watched(ended.delivery_info, lambda: None)()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        due = [call for at, call in self.timers if at <= self.now]
        self.timers = [(at, call) for at, call in self.timers if at > self.now]
        for call in due:
            call()

    def _start(self, request: Request) -> None:
        self.running = request
        self.started.append(request.queue)

    def _later(self, seconds: float, call: Any) -> None:
        self.timers.append((self.now + seconds, call))


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    worker = Worker()
    monkeypatch.setattr(priority_order.time, "monotonic", lambda: worker.now)
    yield worker
    state.reset_state()


def test_the_most_urgent_that_is_held_starts_first_and_equals_as_they_came(worker: Worker):
    worker.take("default", "email.low", "email", "email.high", "default")

    for _ in range(4):
        worker.end()
        worker.wait(GRACE_SECONDS)

    assert worker.started == ["default", "email.high", "email", "default", "email.low"]


def test_a_free_slot_waits_a_moment_for_the_next_urgent_message_and_no_longer(worker: Worker):
    worker.take("email.high", "email.low")

    worker.end()
    assert worker.started == ["email.high"]
    worker.take("email.high")
    worker.end()
    worker.wait(GRACE_SECONDS)

    assert worker.started == ["email.high", "email.high", "email.low"]


def test_what_waits_longer_than_a_priority_is_worth_goes_first(worker: Worker):
    worker.take("email.high", "email.low")
    worker.wait(2 * LEVEL_SECONDS + 1)
    worker.take("email.high")

    worker.end()
    worker.wait(GRACE_SECONDS)

    assert worker.started == ["email.high", "email.low"]


def test_what_a_lost_connection_took_from_the_worker_is_never_started(worker: Worker):
    worker.take("email", "email")
    state.reserved_requests.clear()  # as Celery's consumer does when it closes

    worker.take("default")

    assert worker.started == ["email", "default"]
