import gc
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dis import opname
from pathlib import Path
from types import FrameType

import pytest
from sqlalchemy import Connection, text

from records import database as database_module
from records import engines, sqlite
from records import forks as module
from records.database import Database
from records.forks import forks
from records.task_records import Draft, TaskRecords
from waiting import until

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def write(records: TaskRecords, task_id: str) -> bool:
    return records.open(Draft(task_id, "x", "x", "default"))


def open_files(database: Database) -> list[Path]:
    """Return which files of the database this process has open."""
    opened = Path("/proc/self/fd")
    if not opened.exists():
        pytest.skip("nothing tells here what is open")
    files = [link.readlink() for link in opened.iterdir() if os.path.lexists(link)]
    return [file for file in files if str(database.url.database) in str(file)]


def fork_and_wait(work: Callable[[], object] = lambda: True) -> None:
    """Fork a child that does this; it must come out true."""
    child = os.fork()
    if child == 0:
        status = 2
        with suppress(BaseException):
            status = 0 if work() else 1
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def lost_where_the_parent_ends_first(database: Database, meanwhile: Callable[[], object] = lambda: None) -> list[str]:
    """Fork a child that writes before and after its parent has closed the database; returns what nobody finds then.

    Args:
        database: has a record "before".
        meanwhile: called in the parent after the fork.
    """
    records = TaskRecords(database)
    has_written, write_on = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ok = write(records, "child")
            os.write(has_written[1], b"x")
            os.read(write_on[0], 1)
            ok = ok and all(write(records, f"child-{number}") for number in range(3))
        except BaseException:
            os._exit(2)
        os._exit(0 if ok else 1)
    os.read(has_written[0], 1)
    meanwhile()
    write(records, "parent")
    database.close()
    os.write(write_on[1], b"x")
    _, status = os.waitpid(child, 0)
    for end in (*has_written, *write_on):
        os.close(end)

    assert os.waitstatus_to_exitcode(status) == 0
    return [one for one in ("before", "child", "parent", "child-0", "child-1", "child-2") if not records.read(one)]


class Busy:
    """A thread that is in the middle of something with a connection until it may `end`."""

    def __init__(self, use: Callable[[Callable[[Connection], None]], object]) -> None:
        self._works, self._work_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=use, args=(self._work,))
        self._thread.start()
        self._works.wait(20)

    def _work(self, connection: Connection) -> None:
        connection.execute(text("SELECT 1 FROM task_records")).all()
        self._works.set()
        self._work_on.wait(20)

    def end(self) -> None:
        self._work_on.set()
        self._thread.join(20)


def test_a_forked_child_uses_connections_of_its_own(database):
    records = TaskRecords(database)
    write(records, "parent")
    fork_and_wait(lambda: (write(records, "child") and records.read("parent"), database.close())[0])
    assert records.read("child") is not None


@pytest.mark.parametrize("busy", ["alone", "beside a thread that reads"])
def test_what_a_child_wrote_is_there_though_its_parent_closed_the_database_first(database, busy):
    """SQLite's parent would remove the log that its child writes to, which thinks that it has the parent's locks."""
    records, stop = TaskRecords(database), threading.Event()
    write(records, "before")

    def read() -> None:
        while not stop.is_set():
            records.read("before")

    def end() -> None:
        stop.set()
        if busy != "alone":
            reading.join(20)

    reading = threading.Thread(target=read, daemon=True)
    if busy != "alone":
        reading.start()
    assert lost_where_the_parent_ends_first(database, end) == []


@on_sqlite
def test_what_a_child_wrote_is_there_though_a_thread_read_while_its_parent_closed_the_database(database):
    """That read's connection went to a pool that was given up: open, and seen by no fork."""
    write(TaskRecords(database), "before")
    reading = Busy(database.read)
    database.close()
    reading.end()
    assert lost_where_the_parent_ends_first(database, gc.collect) == []


def test_a_fork_beside_a_thread_that_closes_the_database_costs_nobody_a_write(database):
    records, stop = TaskRecords(database), threading.Event()
    written: list[str] = []

    def write_and_close() -> None:
        while not stop.is_set():
            task_id = f"parent-{len(written)}"
            assert write(records, task_id)
            written.append(task_id)
            database.close()

    closing = threading.Thread(target=write_and_close)
    closing.start()
    for number in range(10):
        fork_and_wait(lambda task_id=f"child-{number}": (write(records, task_id), database.close())[0])
    stop.set()
    closing.join(20)
    assert [one for one in (*written, *(f"child-{number}" for number in range(10))) if not records.read(one)] == []


@on_sqlite
def test_nothing_is_open_at_a_fork_whatever_other_threads_do(database, caplog):
    """They read, read in the middle of a read, write, close and fork."""
    records, stop, failed = TaskRecords(database), threading.Event(), []
    write(records, "before")

    def fork() -> None:
        fork_and_wait(lambda: not open_files(database) and records.read("before"))

    def again_and_again(work: Callable[[], object]) -> None:
        try:
            while not stop.wait(0.002):
                work()
        except BaseException as error:
            failed.append(error)

    numbers = iter(range(1_000_000))
    threads = [
        threading.Thread(target=again_and_again, args=(work,))
        for work in (
            lambda: database.read(lambda _: records.read("before")),
            lambda: write(records, f"t{next(numbers)}"),
            lambda: write(records, f"t{next(numbers)}"),
            database.close,
            fork,
        )
    ]
    for one in threads:
        one.start()
    for _ in range(10):
        fork()
    stop.set()
    for one in threads:
        one.join(20)
    assert failed == []
    assert "fork_unprotected" not in caplog.text


@on_sqlite
def test_a_read_in_the_middle_of_a_read_goes_on_while_another_thread_wants_to_fork(database, caplog):
    records, reads = TaskRecords(database), threading.Event()
    write(records, "before")

    def read_again(_connection: Connection) -> None:
        reads.set()
        until(lambda: forks._forking)
        records.read("before")

    reading = threading.Thread(target=database.read, args=(read_again,))
    reading.start()
    reads.wait(20)
    fork_and_wait(lambda: not open_files(database))
    reading.join(20)
    assert "fork_unprotected" not in caplog.text


def test_threads_that_fork_at_once_leave_the_database_open_to_all(database, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)
    records, stop = TaskRecords(database), threading.Event()

    def prepare() -> None:
        while not stop.is_set():
            forks.before()
            forks.after()
            stop.wait(0.001)

    forking = [threading.Thread(target=prepare) for _ in range(4)]
    for one in forking:
        one.start()
    for number in range(100):
        assert write(records, f"t{number}")
        assert records.read(f"t{number}")
    stop.set()
    for one in forking:
        one.join(20)
    assert write(records, "after")


@on_sqlite
def test_a_signals_handler_that_raises_at_any_line_of_a_fork_leaves_nothing_open_and_nobody_waiting(database):
    """Python drops what is raised there, and forks all the same. Here it comes after each call in turn."""
    records, passed, raises_at = TaskRecords(database), 0, 1
    ours = {one.__file__ for one in (database_module, engines, sqlite, module)}
    called: dict[FrameType, bool] = {}

    def raise_there(frame: FrameType, event: str, _value: object) -> object:
        nonlocal passed
        if frame.f_code.co_filename not in ours:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            after_call = called.get(frame, False)
            name = opname[frame.f_code.co_code[frame.f_lasti]]
            called[frame] = name.startswith(("CALL", "RESUME", "JUMP_BACKWARD"))
            passed += after_call
            if after_call and passed == raises_at:
                raise RuntimeError
        return raise_there

    def call(hook: Callable[[], None]) -> None:
        with suppress(RuntimeError):
            sys.settrace(raise_there if passed < raises_at else None)
            hook()
        sys.settrace(None)

    while passed >= raises_at - 1:
        assert write(records, f"t{raises_at}")
        assert records.read(f"t{raises_at}")
        passed = 0
        called.clear()
        call(forks.before)
        call(forks.before)
        assert open_files(database) == [], raises_at
        call(forks.after)
        call(forks.after)
        assert not forks._forking, raises_at
        raises_at += 1
    assert raises_at > 30


def test_a_signals_handler_may_write_in_the_middle_of_a_fork(database, monkeypatch):
    """The thread that commits waits for the fork, which waits for the handler."""
    monkeypatch.setattr(module, "FORK_SECONDS", 0.1)
    records = TaskRecords(database)
    forks.before()
    assert write(records, "handler")
    forks.after()
    assert records.read("handler")


@on_sqlite
@pytest.mark.parametrize("comes", ["in the middle of a fork of its thread", "while its thread is about to wait"])
def test_what_a_signals_handler_reads_waits_for_a_fork_of_another_thread(database, comes, monkeypatch):
    """It opened a connection in the middle of that fork: no warning, and a child that waited for ever for SQLite."""
    records, shut, looked = TaskRecords(database), threading.Event(), threading.Event()
    write(records, "before")
    look, handlers, opened = forks._is_shut, [lambda: records.read("before")], []

    def fork() -> None:
        forks.before()
        shut.set()
        looked.wait(20)
        opened.extend(open_files(database))
        forks.after()

    def interrupted(*me: int) -> bool:
        if handlers:
            handlers.pop()()
        is_shut = look(*me)
        looked.set()
        return is_shut

    forking = threading.Thread(target=fork)
    if "middle" in comes:
        forks.before()
    forking.start()
    shut.wait(20)
    if "middle" in comes:
        handlers.clear()
    monkeypatch.setattr(forks, "_is_shut", interrupted)
    records.read("before")
    looked.set()
    forking.join(20)
    forks.after()
    assert opened == []


@on_sqlite
@pytest.mark.parametrize("busy", ["read", "write", "write of a database that was closed twice", "read of its own"])
def test_a_fork_that_waits_in_vain_for_what_is_under_way_says_what_may_be_lost_and_the_cure(
    database, busy, monkeypatch, caplog
):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)
    if busy == "read of its own":
        database.read(lambda _: fork_and_wait())
    else:
        at_work = Busy(database.read if busy == "read" else database.write)
        if "closed" in busy:
            closing = threading.Thread(target=database.close)
            closing.start()
            until(lambda: database._writer is None)
            database.close()
        fork_and_wait()
        at_work.end()

    (warning,) = [record.getMessage() for record in caplog.records if "fork_unprotected" in record.getMessage()]
    assert "may be lost" in warning
    assert "spawn" in warning
    caplog.clear()
    if "closed" in busy:
        closing.join(20)
    fork_and_wait()
    assert "fork_unprotected" not in caplog.text
