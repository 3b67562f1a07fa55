"""What is done about a run that takes too long reaches that run and no other."""

import asyncio
import math
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from processors.errors import Cancelled
from services import run_watch
from services.coroutines import close_loop, run_to_result
from services.run_watch import RunInHand, RunWatch
from services.submit_options import MAX_DELAY_SECONDS
from services.task_run import limits_of
from waiting import until


class Process:
    """What has runs in hand."""

    def __init__(self, *, signals: bool = False) -> None:
        self.runs: dict[tuple[str, int], RunInHand] = {}
        self.watch = RunWatch(self.runs)
        self.happened: list[str] = []
        self.watch.replace = lambda: self.happened.append("replaced")
        if signals:
            self.watch.use_signals()
        self.watch.start()

    def begin(self, task_id: str = "t", soft: float = math.inf, hard: float = math.inf) -> RunInHand:
        now = time.monotonic()
        hand = RunInHand(task_id, 1, soft_at=now + soft, hard_at=now + hard)
        hand.give_up = lambda: self.happened.append(f"gave up {task_id}")
        self.runs[task_id, 1] = hand
        self.watch.note(hand)
        return hand


@pytest.fixture
def forked() -> Iterator[Process]:
    """A process of a pool of processes.

    Its main thread is not measured: what a signal raises inside the measuring leaves a lock of that held, for ever.
    """
    before, trace = signal.getsignal(signal.SIGUSR1), sys.gettrace()
    sys.settrace(None)
    yield Process(signals=True)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, before)
    sys.settrace(trace)


def test_a_soft_time_limit_interrupts_a_body_that_waits(forked: Process):
    hand = forked.begin(soft=0.05)
    forked.watch.enter(hand)
    with pytest.raises(SoftTimeLimitExceeded):
        time.sleep(60)
    forked.watch.leave(hand)
    assert forked.happened == []


def test_a_body_is_told_once_and_may_clean_up(forked: Process):
    hand = forked.begin(soft=0.02)
    forked.watch.enter(hand)
    with pytest.raises(SoftTimeLimitExceeded):
        time.sleep(60)
    time.sleep(0.1)
    hand.check()
    forked.watch.leave(hand)


def test_a_soft_time_limit_that_was_over_before_the_body_began_is_told_to_the_body(forked: Process):
    hand = forked.begin(soft=0)
    until(lambda: hand.soft_sent, 10)
    with pytest.raises(SoftTimeLimitExceeded):
        forked.watch.enter(hand)


def test_a_signal_that_comes_when_its_run_has_ended_reaches_no_other(forked: Process):
    first = forked.begin("first", soft=60)
    forked.watch.enter(first)
    forked.watch.leave(first)
    forked.watch._meant = first
    second = forked.begin("second")
    forked.watch.enter(second)
    signal.raise_signal(signal.SIGUSR1)
    time.sleep(0.01)
    forked.watch.leave(second)


def test_soft_limits_about_as_long_as_their_tasks_reach_their_own_task_or_none(forked: Process):
    for number in range(400):
        hand = forked.begin(str(number), soft=0.003)
        with suppress(SoftTimeLimitExceeded):
            try:
                forked.watch.enter(hand)
                while time.monotonic() < hand.soft_at + number % 4 * 0.003:
                    pass
            finally:
                forked.watch.leave(hand)
        del forked.runs[str(number), 1]
        while time.monotonic() < hand.soft_at + 0.006:
            pass  # what comes late comes here, and would be raised
    assert forked.happened == []


async def spin() -> None:
    """Stand for work that never waits."""
    while True:
        pass


async def spin_in_steps() -> None:
    """Stand for a task of the body's that is nearly always what runs."""
    while True:
        end = time.monotonic() + 0.005
        while time.monotonic() < end:
            pass
        await asyncio.sleep(0)


async def ignore_cancellations() -> None:
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
            continue
        return


async def wait() -> None:
    await asyncio.sleep(60)


async def gather(*others: Coroutine[Any, Any, None]) -> None:
    await asyncio.gather(*others, wait())


def run_coroutine(process: Process, hand: RunInHand, body: Coroutine[Any, Any, Any]) -> Any:
    """Run it as a worker does."""
    try:
        process.watch.enter(hand)
        return run_to_result(body, hand)
    finally:
        process.watch.leave(hand)
        close_loop()


@pytest.mark.parametrize(
    ("beside", "waits_for"),
    [
        (spin_in_steps, wait),
        (wait, wait),
        (wait, spin),
        (wait, lambda: gather(spin())),
        (wait, lambda: gather(spin_in_steps())),
        (wait, lambda: asyncio.create_task(ignore_cancellations())),
    ],
    ids=["other-runs", "none-runs", "it-runs", "part-never-waits", "part-runs", "part-goes-on"],
)
def test_a_soft_time_limit_is_raised_once_in_a_coroutine_whatever_else_runs_on_its_loop(forked, beside, waits_for):
    hand = forked.begin(soft=0.2)
    other = []

    async def body() -> str:
        other.append(asyncio.create_task(beside()))
        try:
            await waits_for()
        except SoftTimeLimitExceeded:
            assert asyncio.current_task().cancelling() == 0
            await asyncio.sleep(0.05)
            hand.check()
            return f"cleaned up, and beside it {'nothing' if other[0].done() else 'all'} goes on"
        return "not told"

    assert run_coroutine(forked, hand, body()) == "cleaned up, and beside it all goes on"


def test_a_soft_time_limit_that_a_coroutine_does_not_catch_is_no_other_error(forked):
    async def in_a_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            await wait()

    for body in (wait, in_a_group):
        hand = forked.begin(soft=0.05)
        with pytest.raises(SoftTimeLimitExceeded):
            run_coroutine(forked, hand, body())


def test_what_a_coroutine_leaves_running_is_told_of_no_soft_time_limit(forked):
    hand = forked.begin(soft=0.1)
    ended = []

    async def leftover() -> None:
        try:
            await wait()
        finally:
            await asyncio.to_thread(until, lambda: time.monotonic() > hand.soft_at + 0.05, 10)
            ended.append(True)

    async def body() -> str:
        body.left = asyncio.create_task(leftover())
        await asyncio.sleep(0)
        return "done"

    assert run_coroutine(forked, hand, body()) == "done"
    assert ended == [True]


def test_what_looks_beside_a_coroutine_tells_that_of_its_soft_time_limit():
    process = Process()
    hand = process.begin(soft=0.02)

    async def look() -> None:
        while True:
            hand.check()
            await asyncio.sleep(0.001)

    async def body() -> str:
        looks = asyncio.create_task(look())
        try:
            await wait()
        except SoftTimeLimitExceeded:
            return "told" if not looks.done() else "the other one was told"

    assert run_coroutine(process, hand, body()) == "told"


def test_a_thread_hears_of_its_soft_time_limit_when_it_looks_and_once():
    process = Process()
    hand = process.begin(soft=0.02)
    process.watch.enter(hand)
    until(lambda: time.monotonic() > hand.soft_at, 10)
    with pytest.raises(SoftTimeLimitExceeded):
        hand.check()
    hand.check()
    process.watch.leave(hand)


def test_a_run_over_its_hard_time_limit_is_given_up_before_its_process_is_replaced():
    process = Process()
    hand = process.begin(hard=0.02)
    process.watch.enter(hand)

    until(lambda: len(process.happened) == 2, 10)

    assert process.happened == ["gave up t", "replaced"]
    assert process.watch.overruns() == [hand]
    with pytest.raises(Cancelled):
        hand.check()
    with pytest.raises(Cancelled):
        process.watch.leave(hand)


def test_a_run_whose_end_is_being_written_is_not_given_up_however_long_that_takes():
    process = Process()
    hand, other = process.begin("first", hard=0.05), process.begin("second", hard=0.1)
    process.watch.enter(hand)
    process.watch.leave(hand)

    until(lambda: other.overrun and "replaced" in process.happened, 10)

    assert process.happened == ["gave up second", "replaced"]


def test_a_body_that_ends_just_before_the_watcher_acts_is_left_alone():
    process = Process()
    hand = process.begin()
    process.watch.enter(hand)
    process.watch.leave(hand)

    process.watch._give_up(hand)

    assert (hand.overrun, process.happened) == (False, [])


def test_what_goes_on_after_its_cancellation_is_replaced_but_ends_no_record(monkeypatch):
    monkeypatch.setattr(run_watch, "CANCEL_GRACE_SECONDS", 0.05)
    process = Process()
    hand = process.begin()
    process.watch.enter(hand)
    hand.lose()
    process.watch.note(hand)
    with pytest.raises(Cancelled):
        hand.check()

    until(lambda: process.happened, 10)

    assert (process.happened, hand.overrun) == (["replaced"], True)


def test_what_looks_in_time_after_its_cancellation_costs_no_process(monkeypatch):
    monkeypatch.setattr(run_watch, "CANCEL_GRACE_SECONDS", 0.5)
    process = Process()
    hand, other = process.begin(), process.begin("other", hard=1)
    hand.lose()
    process.watch.note(hand)
    process.watch.leave(hand)
    until(lambda: other.overrun and process.happened[-1:] == ["replaced"], 10)
    assert process.happened == ["gave up other", "replaced"]


def test_a_process_that_is_about_to_end_begins_nothing_else():
    process = Process()
    process.watch.alone = True
    hand = process.begin(hard=0)
    until(lambda: "replaced" in process.happened, 10)
    began_another = threading.Event()

    def end_and_begin() -> None:
        process.watch.leave(hand)
        began_another.set()

    threading.Thread(target=end_and_begin, daemon=True).start()
    assert not began_another.wait(0.2)


def test_a_process_is_replaced_also_where_the_end_could_not_be_followed():
    process = Process()
    hand = process.begin(hard=60)

    def fail() -> None:
        raise OSError("the broker is away")

    hand.give_up, hand.hard_at = fail, time.monotonic()
    process.watch.note(hand)
    until(lambda: process.happened == ["replaced"], 10)


def test_a_watcher_that_sleeps_for_long_wakes_for_one_that_is_due_earlier():
    process = Process()
    process.begin("long", hard=3600)
    until(lambda: process.watch._sleeps_until < math.inf, 10)
    process.begin("short", hard=0.02)
    until(lambda: "gave up short" in process.happened, 10)


def test_a_watcher_with_nothing_in_hand_is_not_woken_by_a_task_that_has_time():
    process = Process()
    until(lambda: process.watch._sleeps_until < math.inf, 10)
    woken = []
    process.watch._changed.notify = lambda: woken.append("woken")
    process.begin("usual", hard=1800)

    assert woken == []


@pytest.mark.parametrize(
    ("own", "usual", "expected"),
    [
        (None, (1800, 1500), (1800, 1500)),
        ([10, None], (1800, 1500), (10, math.inf)),
        ([None, 5], (1800, 1500), (1800, 5)),
        ([10, 5], (None, None), (10, 5)),
        ([float("inf"), float("nan")], (20, 10), (20, 10)),
        ([-1, 0], (20, 10), (20, 10)),
        ([7, 7], (20, 10), (7, math.inf)),
        ([1e13, None], (20, 10), (MAX_DELAY_SECONDS, 10)),
    ],
)
def test_the_messages_own_limits_come_before_its_tasks(own, usual, expected):
    request = SimpleNamespace(timelimit=own)
    assert limits_of(SimpleNamespace(request=request, time_limit=usual[0], soft_time_limit=usual[1])) == expected
