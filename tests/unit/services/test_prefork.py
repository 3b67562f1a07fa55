"""What the pool of processes reads from them."""

import os
import pickle
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from billiard import Pipe
from celery.concurrency import asynpool
from kombu.asynchronous import Hub

from services import prefork

MESSAGE = asynpool.WORKER_UP, ("x" * 20_000,)


def framed(message: Any) -> tuple[bytes, bytes]:
    """Return the two parts that a process writes of a large message."""
    body = pickle.dumps(message)
    return struct.pack("!i", len(body)), body


class Reader:
    """A worker's loop that reads what one process writes."""

    def __init__(self, handler_class: type) -> None:
        reader, self.writer = Pipe(duplex=False)
        os.set_blocking(reader.fileno(), False)
        self.fd = reader.fileno()
        self.process = SimpleNamespace(outq=SimpleNamespace(_reader=reader), outqR_fd=self.fd, _is_alive=lambda: True)
        self.read: list[Any] = []
        self.processes = {self.fd: self.process}
        nothing = dict.fromkeys(
            ("outqueue", "get", "poll", "join_exited_workers", "putlock", "restart_state", "check_timeouts")
        )
        self.handler: Any = handler_class(
            **nothing,
            cache={},
            on_job_ready=None,
            fileno_to_outq=self.processes,
            on_process_alive=self.read.append,
        )
        self.hub = Hub()
        self.begin()

    def begin(self) -> None:
        """Listen, as a worker does after each connect."""
        self.handler.register_with_event_loop(self.hub)
        self.hub.add_reader(self.fd, self.handler.handle_event, self.fd)
        self.loop = self.hub.create_loop()

    def write(self, part: bytes) -> None:
        os.write(self.writer.fileno(), part)

    def lose_the_broker(self) -> None:
        self.hub.reset()

    def turn(self) -> None:
        next(self.loop)


@pytest.fixture
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    made = Reader(getattr(request, "param", prefork.ResultHandler))
    yield made
    made.hub.close()


def test_a_result_that_was_half_read_when_the_broker_was_lost_is_read_to_its_end(reader: Reader):
    header, body = framed(MESSAGE)
    for part in (header, body[:9000], body[9000:], header, body):
        reader.write(part)
        reader.turn()
        reader.lose_the_broker()
        reader.begin()

    assert reader.read == [MESSAGE[1][0]] * 2


@pytest.mark.parametrize("found_again", [False, True])
@pytest.mark.parametrize("read", [0, 9000])
def test_a_result_that_was_half_read_is_read_to_its_end_where_the_worker_ends_meanwhile(
    reader: Reader, read: int, found_again: bool
):
    header, body = framed(MESSAGE)
    reader.write(header + body[:read])
    reader.turn()
    reader.lose_the_broker()
    if found_again:
        reader.begin()
    reader.write(body[read:])

    gone: list[int] = []
    reader.handler._flush_outqueue(reader.fd, gone.append, reader.processes, reader.handler.on_state_change)

    assert reader.read == [MESSAGE[1][0]]
    assert not gone


@pytest.mark.parametrize("left", [False, True])
def test_a_result_that_was_half_read_is_read_to_its_end_where_its_process_ends_meanwhile(reader: Reader, left: bool):
    header, body = framed(MESSAGE)
    reader.write(header)
    reader.turn()
    reader.lose_the_broker()
    if left:
        reader.write(body)

    pool = prefork.AsynPool.__new__(prefork.AsynPool)
    pool._result_handler, pool._state = reader.handler, None
    pool.process_flush_queues(reader.process)

    assert reader.read == ([MESSAGE[1][0]] if left else [])


def test_a_new_process_with_the_same_pipe_begins_with_a_result_of_its_own(reader: Reader):
    header, body = framed(MESSAGE)
    reader.write(header)
    reader.turn()
    reader.lose_the_broker()
    reader.processes[reader.fd] = SimpleNamespace(outq=reader.process.outq)
    reader.begin()

    for part in (header, body):
        reader.write(part)
    reader.turn()

    assert reader.read == [MESSAGE[1][0]]


@pytest.mark.parametrize("reader", [asynpool.ResultHandler], indirect=True)
def test_celery_still_needs_our_reader(reader: Reader):
    header, body = framed(MESSAGE)
    reader.write(header)
    reader.turn()
    reader.lose_the_broker()
    reader.begin()
    reader.write(body)
    reader.turn()

    assert reader.read == []
