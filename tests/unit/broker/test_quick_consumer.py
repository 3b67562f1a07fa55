"""Acknowledgements go at once where any thread may make them, and through the event loop elsewhere."""

from types import SimpleNamespace

import pytest
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.concurrency.solo import TaskPool as SoloPool
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.exceptions import TaskRevokedError
from celery.worker import state
from kombu import Connection, Message

from broker.quick_consumer import QuickConsumer
from broker.quick_messages import QuickCelery
from broker.redis_transport import register


class Loop:
    """An event loop that only keeps what it is to do soon."""

    def __init__(self) -> None:
        self.soon = []

    def call_soon(self, callback, *arguments):
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


class Revoked:
    def execute_using_pool(self, pool):
        raise TaskRevokedError


class InThread:
    """A request for what ends at once."""

    def execute_using_pool(self, pool):
        return pool.on_apply(print, ("it runs",), {}, callback=print)


def test_a_threads_end_makes_the_loop_look_for_more_where_nothing_is_fetched_before():
    app = QuickCelery("x", broker="memory://")
    app.conf.worker_disable_prefetch = True
    pool, part = ThreadPool(1, app=app), SimpleNamespace(use_eventloop=True)
    quick = QuickConsumer(print, app=app, pool=pool, hub=Loop(), controller=part)

    quick.on_task_request(Revoked())
    quick.on_task_request(InThread())
    pool.executor.shutdown()

    assert len(quick.hub.soon) == 1


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (b"5", {}),
        (b"{}", {}),
        (b"{", {}),
        (b"x", {"content_type": "application/x-python-serialize"}),
        (b"x", {"headers": {"compression": "gzip"}}),
        (b"x", {"headers": {"compression": "bzip2"}}),
        (b"{}", {"delivery_info": {}}),
    ],
    ids=["number", "empty", "not JSON", "pickle", "gzip", "bzip2", "no key"],
)
def test_an_event_that_cannot_be_read_ends_no_worker(body, options):
    register()
    app = QuickCelery("x", broker="redis://", set_as_current=False)
    pool, part = SimpleNamespace(num_processes=1, is_green=False), SimpleNamespace(use_eventloop=True)
    timer = SimpleNamespace(call_repeatedly=print)
    quick = QuickConsumer(print, app=app, pool=pool, hostname="here", hub=Loop(), controller=part, timer=timer)
    with Connection("memory://") as connection:
        (events,) = quick.gossip.get_consumers(connection.default_channel)
        about = {"content_type": "application/json", "delivery_info": {"routing_key": "worker.heartbeat"}} | options
        events._receive_callback(Message(body, content_encoding="utf-8", channel=None, **about))


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


@pytest.mark.parametrize("header", ["eta", "expires"])
def test_a_message_whose_time_is_before_all_time_in_the_workers_zone_is_put_aside(header):
    app = QuickCelery("x", broker="memory://", set_as_current=False)
    app.conf.timezone = "America/New_York"

    @app.task(name="any", shared=False)
    def any_task():
        pass

    app.finalize()
    rejected, found = [], consumer(None)
    loop = SimpleNamespace(call_at=print, state=SimpleNamespace(revoked=set()))
    vars(found).update(
        app=app,
        hostname="x",
        pool=SimpleNamespace(apply_async=print),
        timer=loop,
        controller=loop,
        event_dispatcher=None,
    )
    vars(found).update(disable_rate_limits=True, task_buckets={}, connection_errors=(), strategies={})
    vars(found).update(on_task_request=print, on_task_message=(), _maximum_prefetch_restored=True)
    found.strategies["any"] = app.tasks["any"].start_strategy(app, found)
    message = Message(
        b"[[],{},{}]",
        headers={"id": "1", "task": "any", header: "0001-01-01T00:00:00"},
        channel=SimpleNamespace(basic_reject=lambda tag, requeue: rejected.append((tag, requeue))),
        delivery_tag="1",
        content_type="application/json",
        content_encoding="utf-8",
    )

    found.create_task_handler()(message)

    assert rejected == [("1", False)]
