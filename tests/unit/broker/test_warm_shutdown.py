"""The end of a pool of threads on a broker that must hear something meanwhile."""

from concurrent.futures import ThreadPoolExecutor, wait
from types import SimpleNamespace

from amqp.exceptions import RecoverableConnectionError
from celery.concurrency.thread import TaskPool
from kombu.asynchronous import Hub

from broker.warm_shutdown import GiveBackUnbegun

THREADS = 20


class QuietConnection:
    """A connection on which nothing comes."""

    heartbeat = 3
    supports_heartbeats = True

    def drain_events(self, timeout: float) -> None:
        raise TimeoutError

    def heartbeat_check(self) -> None:
        """Beat."""


def test_what_ended_in_threads_is_acknowledged_though_another_connection_of_the_loop_was_cut():
    hub, acknowledged = Hub(), list[int]()
    pool = TaskPool(limit=THREADS)
    pool.executor = ThreadPoolExecutor(THREADS)

    def cut(_number: int) -> None:
        raise RecoverableConnectionError("Socket was disconnected")

    for number in range(THREADS):
        hub.call_soon(cut, number)
    wait([pool.executor.submit(hub.call_soon, acknowledged.append, number) for number in range(THREADS)])
    worker = SimpleNamespace(
        consumer=SimpleNamespace(connection=QuietConnection()), pool=pool, hub=hub, state=SimpleNamespace(requests={})
    )

    step = GiveBackUnbegun(worker)
    step.close(worker)
    step.stop(worker)

    assert sorted(acknowledged) == list(range(THREADS))
