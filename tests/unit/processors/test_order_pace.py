"""Orders leave a process apart from each other, whatever held them up in it."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from random import Random

import pytest

from processors.order_pace import CATCH_UP, OrderPace

GAP = 0.05
MOST_SEEN = 22
"""What the provider may see in a second of 20."""


class Time:
    """A clock that only waiting moves on, and whose sleepers wake late."""

    def __init__(self, seed: int = 0) -> None:
        self.now, self.late = 100.0, Random(seed)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.late.choice([0.0, 0.0, 0.01, 0.1])


def test_orders_that_were_held_up_together_leave_one_after_the_other():
    time = Time()
    pace, left = OrderPace(time.clock, time.sleep), list[float]()
    for _ in range(40):
        pace.wait(GAP)
        left.append(time.now)
    assert min(later - earlier for earlier, later in pairwise(left)) >= GAP * CATCH_UP - 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_no_second_sees_more_orders_than_the_pace_and_its_margin_however_the_process_stumbles(seed: int):
    time = Time(seed)
    pace, left = OrderPace(time.clock, time.sleep), list[float]()
    granted = 100.0
    for _ in range(400):
        granted += GAP
        time.now = max(time.now, granted) + time.late.choice([0.0] * 9 + [0.7])
        pace.wait(GAP)
        left.append(time.now)
    most = max(sum(1 for one in left if begin <= one < begin + 1) for begin in left)
    assert most <= MOST_SEEN, f"seed {seed}"


def test_orders_that_come_apart_wait_for_nothing():
    time = Time()
    pace = OrderPace(time.clock, lambda seconds: pytest.fail(f"slept {seconds} s"))
    for _ in range(5):
        time.now += GAP
        pace.wait(GAP)


def test_threads_leave_apart_too():
    time = Time()
    pace = OrderPace(time.clock, time.sleep)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pace.wait, [GAP] * 80))
    assert time.now >= 100 + 79 * GAP * CATCH_UP
