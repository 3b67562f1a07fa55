"""What the pool of processes reads from them."""

import fcntl
import os
import pickle
import signal
import struct
import subprocess
import sys
import termios
from array import array
from collections.abc import Iterator
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest
from billiard import Pipe, get_context
from billiard.pool import READY
from celery.concurrency import asynpool
from kombu.asynchronous import Hub
from kombu.utils.imports import symbol_by_name

from services import prefork
from services.celery_app import celery_app
from waiting import until

MESSAGE = asynpool.WORKER_UP, ("x" * 20_000,)
LARGE = asynpool.WORKER_UP, ("x" * 500_000,)


def framed(message: Any) -> tuple[bytes, bytes]:
    """Return the two parts that a process writes of a large message."""
    body = pickle.dumps(message)
    return struct.pack("!i", len(body)), body


class Thing(SimpleNamespace):
    """A stand-in that can be a key."""

    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType]


class Reader:
    """A worker's loop that reads what one process writes."""

    def __init__(self, handler_class: type) -> None:
        reader, self.writer = Pipe(duplex=False)
        os.set_blocking(reader.fileno(), False)
        self.fd = reader.fileno()
        self.process = Thing(outq=Thing(_reader=reader), outqR_fd=self.fd, _is_alive=lambda: True)
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


@pytest.mark.parametrize("written", [4, 9000])
def test_a_worker_that_ends_does_not_wait_for_the_rest_of_a_result_whose_process_was_ended(
    reader: Reader, written: int
):
    reader.write(b"".join(framed(MESSAGE))[:written])
    reader.process._is_alive = lambda: False
    gone: list[int] = []

    def waits(*_: object) -> None:
        raise AssertionError("it waits for ever")

    signal.signal(signal.SIGALRM, waits)
    signal.alarm(30)
    try:
        while not gone:
            reader.handler._flush_outqueue(reader.fd, gone.append, reader.processes, reader.handler.on_state_change)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    assert gone == [reader.fd]


def test_a_worker_that_ends_waits_for_no_process_that_does_not_finish_its_result_before_it_looks_at_the_next(
    reader: Reader,
):
    reader.write(b"".join(framed(MESSAGE))[:9000])
    gone: list[int] = []

    reader.handler._flush_outqueue(reader.fd, gone.append, reader.processes, reader.handler.on_state_change)

    assert (reader.read, gone) == ([], [])  # Celery's reader gives it up after ten seconds


def test_a_result_that_nobody_has_begun_to_read_is_read_when_the_worker_ends(reader: Reader):
    writing = Thread(target=lambda: [reader.write(part) for part in framed(LARGE)])
    writing.start()
    while not reader.read:
        reader.handler._flush_outqueue(reader.fd, None, reader.processes, reader.handler.on_state_change)
    writing.join(30)

    assert reader.read == [LARGE[1][0]]


@pytest.mark.parametrize("left", [False, True])
def test_a_result_that_was_half_read_is_read_to_its_end_where_its_process_ends_meanwhile(reader: Reader, left: bool):
    header, body = framed(MESSAGE)
    reader.write(header)
    reader.turn()
    reader.lose_the_broker()
    if left:
        reader.write(body)

    pool_of(reader).process_flush_queues(reader.process)

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


def pool_of(reader: Reader) -> Any:
    """Return what a pool needs to look after the process that is read."""
    pool = prefork.AsynPool.__new__(prefork.AsynPool)
    pool._result_handler, pool._state = reader.handler, None
    pool._waiting_to_start, pool._queues = set[Any](), dict[Any, Any]()
    pool.on_inqueue_close = lambda *_: None
    pool.hub_remove = reader.hub.remove
    return pool


def test_what_gets_the_number_of_a_pipe_that_was_closed_half_read_keeps_its_bytes(reader: Reader):
    header, body = framed(MESSAGE)
    reader.write(header)
    reader.turn()
    foreign, writer = os.pipe()
    os.set_blocking(foreign, False)
    pool, inq = pool_of(reader), Thing()
    inq._reader, inq._writer = Pipe(duplex=False)
    reader.process._is_alive = lambda: False
    fd = reader.fd
    outq = Thing(_reader=reader.process.outq._reader, _writer=reader.writer)
    pool.destroy_queues((inq, outq, None), reader.process)

    os.dup2(foreign, fd)
    os.write(writer, body)
    try:
        reader.handler.register_with_event_loop(reader.hub)
        reader.handler._flush_outqueue(fd, lambda _: None, reader.processes, reader.handler.on_state_change)
        pool.process_flush_queues(reader.process)

        assert fd not in reader.processes
        assert fd not in reader.hub.readers
        assert os.read(foreign, len(body)) == body
    finally:
        for number in (foreign, writer, fd):
            os.close(number)


BLOCKED_WRITER = """
import os, signal, sys
from types import SimpleNamespace
from billiard import Pipe, get_context
from billiard.connection import Connection
from billiard.pool import ACK, READY, soft_timeout_sighandler
from celery.concurrency import asynpool
from services import prefork

pipe = Connection(int(sys.argv[2]), readable=False)
kind = {"ours": prefork, "celery": asynpool}[sys.argv[1]].Worker
worker = kind.__new__(kind)
worker.outq = SimpleNamespace(put=pipe.send)
signal.signal(signal.SIGUSR1, soft_timeout_sighandler)
worker.on_loop_start(os.getpid())
worker.outq.put((ACK, ()))
worker.outq.put((READY, "x" * 500_000))
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.parametrize("whose", ["ours", "celery"])
def test_a_soft_time_limit_cuts_no_result_off_that_waits_to_be_read_as_it_does_in_celery(whose: str):
    reader, writer = Pipe(duplex=False)
    reader, writer = cast("Any", reader), cast("Any", writer)
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCKED_WRITER, whose, str(writer.fileno())],
        pass_fds=[writer.fileno()],
        stderr=subprocess.DEVNULL,
    )
    try:
        writer.close()
        capacity = fcntl.fcntl(reader.fileno(), fcntl.F_GETPIPE_SZ)

        def full() -> bool:
            waiting = array("i", [0])
            fcntl.ioctl(reader.fileno(), termios.FIONREAD, waiting)
            return waiting[0] >= capacity - 4096

        until(full, 30, "the process waits for its reader")
        process.send_signal(signal.SIGUSR1)
        read: list[Any] = []
        try:
            read = [reader.recv(), reader.recv(), reader.recv()]
        except (EOFError, OSError):
            assert whose == "celery"
        assert process.wait(30) == (0 if whose == "ours" else 1)
        assert read[2:] == ([(READY, "x" * 500_000)] if whose == "ours" else [])
    finally:
        process.kill()
        process.wait(30)
        reader.close()


def test_the_service_has_our_pool_with_our_reader_and_writer():
    pool = symbol_by_name(celery_app.conf.worker_pool).Pool
    assert pool.ResultHandler is prefork.ResultHandler
    assert pool.Worker is prefork.Worker


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


@pytest.mark.parametrize(("recorded", "hard"), [(True, 60 + prefork.HELD_SECONDS), (False, 60)])
def test_a_pool_sends_no_signal_for_a_soft_time_limit_and_for_a_hard_one_only_where_a_process_cannot(recorded, hard):
    pool = prefork.TaskPool(1, app=SimpleNamespace(tasks={"t": SimpleNamespace(record=recorded)}), timeout=9)
    given: dict[str, Any] = {}
    pool.on_apply = lambda *_, **options: given.update(options)

    pool.apply_async(print, ("t",), timeout=60, soft_timeout=50)

    assert (given["timeout"], given["soft_timeout"]) == (hard, None)
    assert (pool.options["timeout"], pool.options["soft_timeout"]) == (None, None)


class TimedPool(prefork.AsynPool):
    """A pool with one job that is over its hard time limit, and one process, which may be another one's child."""

    def __init__(self) -> None:  # pyright: ignore[reportMissingSuperCall] - nothing is forked
        self.worker = prefork.Worker(get_context().SimpleQueue(), get_context().SimpleQueue())
        self.process = self.worker.contribute_to_object(SimpleNamespace(pid=1))
        self._timeout_handler = prefork.TimeoutHandler([self.process], {}, None, None)
        self._cache = {7: SimpleNamespace(_worker_pid=1)}
        self.happened: list[Any] = []
        self.on_hard_timeout = lambda _: self.happened.append("ended")
        self.on_timeout_set = lambda _, __, seconds: self.happened.append(seconds)
        self._discard_tref = lambda _: None


@pytest.mark.parametrize(
    ("tells", "happened"), [([True], [prefork.ACTS_SECONDS]), ([True, False], ["ended"]), ([], ["ended"])]
)
def test_a_process_that_acts_is_not_ended_from_outside_while_its_run_waits_for_the_database(tells, happened):
    pool = TimedPool()
    child = os.fork()
    if not child:
        for recorded in tells:
            pool.worker.tell_that_it_acts(recorded)
        os._exit(0)
    os.waitpid(child, 0)

    pool._on_hard_timeout(7)

    assert pool.happened == happened


def test_a_process_that_has_not_told_for_long_that_it_acts_is_ended_from_outside(monkeypatch):
    monkeypatch.setattr(prefork, "ACTS_SECONDS", -1)
    pool = TimedPool()
    pool.worker.tell_that_it_acts(True)
    pool._on_hard_timeout(7)
    assert pool.happened == ["ended"]


def test_the_limits_of_jobs_that_have_ended_are_not_kept_until_they_would_have_come(monkeypatch):
    monkeypatch.setattr(prefork, "CANCELLED_KEPT", 10)
    hub, pool = Hub(), prefork.AsynPool.__new__(prefork.AsynPool)
    pool._create_timelimit_handlers(hub)
    jobs = [Thing(_job=number) for number in range(100)]
    for number, job in enumerate(jobs):
        pool.on_timeout_set(job, None, 3_600 - number)
    next(iter(hub.timer))

    for job in jobs[:95]:
        pool.on_timeout_cancel(job)

    left = hub.timer._queue
    assert len(left) < 5 + 10
    assert sorted(one.entry.args[0] for one in left if not one.entry.canceled) == [95, 96, 97, 98, 99]
    assert left[0] == min(left), "the first one due is still the first"
