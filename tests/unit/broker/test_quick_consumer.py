"""Acknowledgements go at once where any thread may make them, and through the event loop elsewhere."""

from types import SimpleNamespace

import pytest
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.concurrency.solo import TaskPool as SoloPool
from celery.worker import state
from kombu import Connection

from broker.quick_consumer import QuickConsumer
from broker.quick_messages import QuickCelery
from broker.redis_transport import register


class Loop:
    """An event loop that only keeps what it is to do soon."""

    def __init__(self) -> None:
        self.soon = []

    def call_soon(self, callback):
        self.soon.append(callback)


def consumer(connection) -> QuickConsumer:
    found = QuickConsumer.__new__(QuickConsumer)
    vars(found).update(connection=connection, hub=Loop(), _pending_operations=SimpleNamespace())
    return found


@pytest.mark.parametrize(
    ("connection", "at_once"),
    [(lambda: Connection("redis://"), True), (lambda: Connection("memory://"), False), (lambda: None, False)],
    ids=["ours", "another transport", "between two connections"],
)
def test_an_acknowledgement_is_made_at_once_only_where_any_thread_may(connection, at_once):
    register()
    told, quick = [], consumer(connection())

    quick.call_soon_ack(told.append, "acknowledged")

    assert told == ["acknowledged"] * at_once
    assert len(quick.hub.soon) == 1 - at_once


class Reserved:
    """A request that waits or runs."""


@pytest.mark.parametrize(
    ("slots", "multiplier", "enough"), [(10, 64, 316), (50, 4, 76), (2, 4, 4), (10, 1, 1), (1, 2, 1), (10, 0, -4)]
)
def test_a_worker_has_work_while_more_than_half_of_what_it_may_hold_waits_for_a_slot(slots, multiplier, enough):
    found = consumer(None)
    vars(found).update(pool=SimpleNamespace(num_processes=slots), prefetch_multiplier=multiplier)
    held = [Reserved() for _ in range(slots + enough - 1)]
    state.reserved_requests.update(held)
    assert not found._has_work()
    one_more = Reserved()
    state.reserved_requests.add(one_more)
    assert found._has_work()
    state.reserved_requests.clear()


def test_a_worker_that_runs_tasks_in_its_loop_promises_no_beat():
    app = QuickCelery("x", broker="memory://")
    pools, part = (
        [SoloPool(app=app), SimpleNamespace(num_processes=2, is_green=False)],
        SimpleNamespace(use_eventloop=True),
    )
    beats = [
        QuickConsumer(print, app=app, pool=pool, hub=Loop(), controller=part, amqheartbeat=3).amqheartbeat
        for pool in pools
    ]
    assert beats == [0, 3]


def test_an_applications_own_consumer_wins():
    app = QuickCelery("x", broker="memory://")
    assert app.conf.worker_consumer == "broker.quick_consumer:QuickConsumer"
    other = QuickCelery("y", broker="memory://")
    other.conf.worker_consumer = "celery.worker.consumer:Consumer"
    assert other.conf.worker_consumer == "celery.worker.consumer:Consumer"


def test_a_worker_whose_processes_were_ended_takes_nothing_more():
    found = consumer(None)
    pool = PreforkPool(2)  # as after its end, and before its start
    vars(found).update(pool=pool, prefetch_multiplier=1)

    assert found._has_work()
