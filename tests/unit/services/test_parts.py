"""A process has one of each part, whatever threads come first at once."""

import os
import signal
import threading
from contextlib import nullcontext, suppress
from functools import lru_cache

import pytest
from celery import Celery
from celery.app.amqp import AMQP
from celery.canvas import Signature
from kombu import Connection
from kombu.transport import redis

from broker.bulk_publish import Message
from config.settings import Settings, ensure_folders
from records.submit_keys import SubmitKeys
from services import wiring
from services.celery_app import celery_app
from services.submission import RecordingAMQP
from services.wiring import Parts


def test_threads_that_come_first_at_once_get_the_same_parts(monkeypatch):
    both, got = threading.Barrier(2), list[Parts]()

    def meet(given: Settings) -> None:
        ensure_folders(given)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.2)

    monkeypatch.setattr(wiring, "ensure_folders", meet)
    monkeypatch.setattr(wiring, "_own_parts", lru_cache(maxsize=1)(wiring._own_parts.__wrapped__))
    threads = [threading.Thread(target=lambda: got.append(wiring.parts())) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    for one in got:
        one.database.close()
    assert len(got) == 2
    assert got[0] is got[1]


@pytest.mark.parametrize(
    ("owner", "name", "makes"),
    [
        (Parts, "inbox", lambda: Parts(wiring.parts().database).inbox),
        (SubmitKeys, "_database_id", lambda: SubmitKeys(wiring.parts().database)._database_id),
        (Celery, "amqp", lambda: celery_app.amqp),
        (AMQP, "router", lambda: celery_app.amqp.router),
        (Message, "text", lambda: Message("default", 0, {"body": "[]", "properties": {}}).text),
        (Connection, "recoverable_connection_errors", lambda: Connection("memory://").recoverable_connection_errors),
        (Signature, "type", lambda: celery_app.signature("celery.accumulate").type),
        (redis.Channel, "client", lambda: vars(redis.Channel)["client"].lock.acquire(timeout=5) or None),
        (RecordingAMQP, "send_task_message", lambda: type(celery_app.amqp)(celery_app).send_task_message),
    ],
)
def test_a_child_makes_its_parts_though_a_thread_of_its_parent_was_making_them_at_the_fork(owner, name, makes):
    assert celery_app.amqp
    held, forked = threading.Event(), threading.Event()

    def make() -> None:
        with getattr(vars(owner)[name], "lock", nullcontext()):
            held.set()
            forked.wait(20)

    maker = threading.Thread(target=make)
    maker.start()
    held.wait(20)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        made = None
        try:
            made = makes()
        finally:
            os._exit(0 if made is not None else 1)
    forked.set()
    maker.join(20)
    assert os.waitpid(child, 0)[1] == 0


def test_threads_that_come_first_at_once_keep_their_orders_apart_by_the_same_pace():
    """Python makes a cached property without a lock from 3.12 on: each thread would get one of its own."""
    service = Parts(wiring.parts().database)
    make = Parts.order_pace.func
    assert make(service) is make(service) is service.order_pace
