"""Work in a thread of its own: who waits for it can still be interrupted."""

import threading
from time import monotonic

import pytest

from adapters import own_thread
from adapters.own_thread import TookTooLong, in_own_thread
from processors.errors import Cancelled

ENOUGH = 60


def nothing() -> None:
    """Look, and see nothing."""


def test_what_the_work_returns_or_raises_comes_out():
    assert in_own_thread(lambda: 3, nothing, monotonic() + ENOUGH, "test") == 3
    with pytest.raises(ZeroDivisionError):
        in_own_thread(lambda: 1 // 0, nothing, monotonic() + ENOUGH, "test")


def test_work_is_looked_after_until_it_is_done(monkeypatch):
    monkeypatch.setattr(own_thread, "LOOK_SECONDS", 0.001)
    gate, looks = threading.Event(), []

    def look() -> None:
        looks.append(1)
        if len(looks) == 5:
            gate.set()

    assert in_own_thread(lambda: gate.wait(ENOUGH), look, monotonic() + ENOUGH, "test")
    assert len(looks) >= 5


def test_what_looking_raises_ends_the_wait_though_the_work_goes_on(monkeypatch):
    monkeypatch.setattr(own_thread, "LOOK_SECONDS", 0.001)
    gate, threads = threading.Event(), []

    def work() -> None:
        threads.append(threading.current_thread())
        gate.wait(ENOUGH)

    def look() -> None:
        raise Cancelled("the task was cancelled")

    with pytest.raises(Cancelled):
        in_own_thread(work, look, monotonic() + ENOUGH, "test")
    gate.set()
    assert threads[0].daemon, "no process waits for it"


def test_work_that_takes_too_long_is_given_up_though_nobody_looks_in_that_time():
    gate = threading.Event()
    with pytest.raises(TookTooLong):
        in_own_thread(lambda: gate.wait(ENOUGH), nothing, monotonic() + 0.01, "test")
    gate.set()
