"""Acknowledgements go at once where any thread may make them, and through the event loop elsewhere."""

from types import SimpleNamespace

import pytest
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


@pytest.mark.parametrize(
    ("slots", "multiplier", "disabled", "least"),
    [(10, 64, False, 315), (50, 4, False, 75), (2, 4, False, 3), (10, 1, False, 1), (1, 2, False, 1), (50, 4, True, 1)],
)
def test_a_claim_is_worth_half_of_what_waits_in_a_worker_so_that_no_slot_runs_dry(slots, multiplier, disabled, least):
    found = consumer(None)
    conf = SimpleNamespace(worker_disable_prefetch=disabled)
    vars(found).update(
        app=SimpleNamespace(conf=conf), pool=SimpleNamespace(num_processes=slots), prefetch_multiplier=multiplier
    )
    assert found._least_claim() == least
    assert slots * multiplier - (least - 1) >= slots


def test_an_applications_own_consumer_wins():
    app = QuickCelery("x", broker="memory://")
    assert app.conf.worker_consumer == "broker.quick_consumer:QuickConsumer"
    other = QuickCelery("y", broker="memory://")
    other.conf.worker_consumer = "celery.worker.consumer:Consumer"
    assert other.conf.worker_consumer == "celery.worker.consumer:Consumer"
