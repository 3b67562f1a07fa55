"""Token buckets: how many may come at once, how soon another one may, and that all of it is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.limits import Rate
from web import buckets
from web.buckets import Buckets, Taken


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_full_bucket_is_emptied_at_once_and_filled_evenly(clock):
    found = Buckets(Rate(3, 60), clock)
    assert [found.take("a") for _ in range(4)] == [
        Taken(True, 2, 20),
        Taken(True, 1, 40),
        Taken(True, 0, 20),
        Taken(False, 0, 20),
    ]
    clock.now += 19
    assert found.take("a") == Taken(False, 0, 1)
    clock.now += 1
    assert found.take("a") == Taken(True, 0, 20)
    clock.now += 1e6
    assert found.take("a") == Taken(True, 2, 20)


def test_each_name_has_its_own_and_what_was_given_back_was_never_taken(clock):
    found = Buckets(Rate(1, 1), clock)
    assert found.take("a").allowed
    assert found.take("b").allowed
    found.give_back("a")
    found.give_back("a")
    assert [found.take("a").allowed, found.take("a").allowed, found.take("b").allowed] == [True, False, False]


def test_without_a_rate_nothing_is_counted(clock):
    found = Buckets(None, clock)
    found.give_back("a")
    assert found.take("a") is None


def test_only_so_many_names_are_remembered_and_who_asks_often_stays(clock, monkeypatch):
    monkeypatch.setattr(buckets, "MOST_BUCKETS", 3)
    found = Buckets(Rate(1, 3600), clock)
    for number in range(100):
        assert found.take(f"stranger {number}").allowed
        assert found.take("often").allowed == (number == 0)


@given(st.integers(1, 50), st.sampled_from([1, 60, 3600]), st.lists(st.floats(0, 100), max_size=60))
def test_in_no_time_more_are_let_through_than_the_bucket_holds_and_the_time_refills(starts, seconds, pauses):
    clock = Clock()
    found = Buckets(Rate(starts, seconds), clock)
    let_through = 0
    for pause in pauses:
        clock.now += pause
        taken = found.take("a")
        let_through += taken.allowed
        assert let_through <= starts + sum(pauses) * starts / seconds + 1e-6
        assert taken.seconds >= 1 - taken.allowed
        if not taken.allowed:
            clock.now += taken.seconds
            assert found.take("a").allowed  # whoever waits as long as told is let through
            return
