"""Pieces of work side by side: in order, told in the caller's own thread, none goes on when the caller has ended."""

import threading

import pytest

from adapters import side_by_side
from adapters.side_by_side import SideBySideThreads
from processors.errors import Cancelled, TransientError

WAITING_SECONDS = 60


@pytest.fixture
def threads(monkeypatch):
    """Two threads."""
    monkeypatch.setattr(side_by_side, "LOOK_SECONDS", 0.01)
    made = SideBySideThreads(2)
    yield made
    made.close()


def silent(percent: float, text: str) -> None:
    """A report that nobody reads."""


def until_it_is_ended(report):
    """Report until that is refused."""
    pause = threading.Event()
    while True:
        report(50, "still at it")
        pause.wait(0.01)


def test_results_come_in_the_order_of_the_work_whatever_ends_first(threads):
    second_ended = threading.Event()

    def first(_report):
        assert second_ended.wait(WAITING_SECONDS)
        return "first"

    def second(_report):
        second_ended.set()
        return "second"

    assert threads.run([first, second, lambda _report: "third"], silent) == ["first", "second", "third"]


def test_what_is_told_is_the_mean_and_comes_in_the_callers_own_thread(threads):
    told = []

    def half(report):
        report(50, "half of it")

    threads.run([half, half], lambda percent, text: told.append((percent, text, threading.current_thread())))
    assert {thread for _, _, thread in told} == {threading.current_thread()}
    assert (told[-1][0], told[-1][1]) == (100.0, "half of it")
    percents = [percent for percent, _, _ in told]
    assert percents == sorted(percents)
    assert 25.0 in percents


def test_a_cancellation_ends_all_that_work_and_all_that_wait(threads):
    ended, begun = [], threading.Barrier(2, timeout=WAITING_SECONDS)

    def work(report):
        begun.wait()
        try:
            until_it_is_ended(report)
        finally:
            ended.append(threading.current_thread())

    def cancel(percent, text):
        if percent:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled, match=r"^cancelled$"):
        threads.run([work] * 9, cancel)
    assert len(ended) == 2
    assert threads.run([lambda _report: 1], silent) == [1]


def test_a_cancellation_is_noticed_while_nothing_is_told(threads):
    looks, go = [], threading.Event()

    def cancel(percent, text):
        looks.append(percent)
        if len(looks) > 2:
            go.set()
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        threads.run([lambda _report: go.wait(WAITING_SECONDS)] * 2, cancel)


def test_a_work_that_fails_ends_the_others_and_is_what_the_caller_hears(threads):
    def fail(_report):
        raise TransientError("the child was killed")

    with pytest.raises(TransientError, match="was killed"):
        threads.run([until_it_is_ended, fail], silent)


def test_threads_live_on_from_one_run_to_the_next(threads):
    both = threading.Barrier(2, timeout=WAITING_SECONDS)

    def who(_report):
        both.wait()
        return threading.get_ident()

    assert set(threads.run([who, who], silent)) == set(threads.run([who, who], silent))


def test_a_fork_makes_threads_of_its_own(threads):
    threads.run([lambda _report: None], silent)
    parents = threads._threads
    threads._pid -= 1
    assert threads.run([lambda _report: 1], silent) == [1]
    assert threads._threads is not parents
    parents.shutdown()
