"""The window of AI calls: no minute holds more than the limit, and who came first goes first."""

import heapq
import math
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from ai_ledger import AiClock, plan, settled, share
from processors.ai_interfaces import Leave, NoRoom, Usage
from processors.errors import AiError
from records.ai_calls import AiCalls
from records.ai_window import CUT_OFF, columns
from records.database import Database
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers


@pytest.fixture
def ledger(database: Database) -> AiCalls:
    return AiCalls(database)


@pytest.fixture
def passing(database: Database) -> AiClock:
    return AiClock(database)


def test_a_call_counts_until_a_minute_after_its_answer(ledger, passing):
    first = ledger.ask(plan("a", requests_per_minute=1))
    assert first == Leave(first.id, 0.0)
    passing.pass_by(15)
    ledger.settle(first, [share("a")])

    passing.pass_by(59)
    told = ledger.ask(plan("b", requests_per_minute=1))
    assert told.why == "limit"
    assert 0.5 < told.seconds <= 1
    assert told.text == f"openai takes 1 requests in a minute; there is room in {told.seconds:.1f} s."
    passing.pass_by(told.seconds)
    assert isinstance(ledger.ask(plan("b", requests_per_minute=1)), Leave)


def test_a_short_wait_is_waited_for_in_place_and_counts_from_its_end(ledger, passing):
    settled(ledger, plan("a", requests_per_minute=1))
    passing.pass_by(55)

    leave = ledger.ask(plan("b", requests_per_minute=1, patience=10))

    assert 4 < leave.wait <= 5
    told = ledger.ask(plan("c", requests_per_minute=1, patience=10))
    assert 64 < told.seconds < 65.1


def test_nobody_waits_in_place_for_a_call_that_has_no_answer_yet(ledger):
    ledger.ask(plan("a", requests_per_minute=1))
    assert isinstance(ledger.ask(plan("b", requests_per_minute=1, patience=1000)), NoRoom)


def test_a_released_call_gives_its_room_back_and_its_number_to_nobody(ledger):
    first = ledger.ask(plan("a", requests_per_minute=1))
    ledger.release(first)
    second = ledger.ask(plan("b", requests_per_minute=1))
    assert isinstance(second, Leave)
    ledger.release(first)
    assert isinstance(ledger.ask(plan("c", requests_per_minute=1)), NoRoom)


def test_the_call_of_a_dead_worker_counts_until_it_must_have_ended_and_a_minute_more(ledger, passing):
    ledger.ask(plan("a", requests_per_minute=1, seconds=20))
    passing.pass_by(70)
    told = ledger.ask(plan("b", requests_per_minute=1))
    assert 9 < told.seconds <= 10
    passing.pass_by(told.seconds)
    assert isinstance(ledger.ask(plan("b", requests_per_minute=1)), Leave)


@pytest.mark.parametrize("how", ["died", "was stopped"])
def test_the_call_of_a_run_that_was_taken_back_counts_for_a_minute_from_then_on(database, ledger, passing, how):
    run, moves = running(database, "a"), TaskMoves(database)
    slow = {"requests_per_minute": 1, "seconds": 120}
    ledger.ask(plan("a", run=run, **slow))
    passing.pass_by(5)

    if how == "died":
        Workers(database).stop("w")
        assert moves.reap() == (["a"], [])
    else:
        assert moves.give_back("a", run)

    passing.pass_by(50)
    told = ledger.ask(plan("b", **slow))
    assert 9 < told.seconds <= 10
    passing.pass_by(told.seconds)
    assert isinstance(ledger.ask(plan("b", **slow)), Leave)


def test_a_run_that_is_taken_back_lets_the_calls_of_others_count_on(database, ledger, passing):
    slow = {"requests_per_minute": 2, "seconds": 120}
    ledger.ask(plan("a", run=running(database, "a"), **slow))
    ledger.ask(plan("other", **slow))
    TaskMoves(database).give_back("a", 1)
    passing.pass_by(70)
    assert isinstance(ledger.ask(plan("b", **slow)), Leave)
    assert isinstance(ledger.ask(plan("c", **slow)), NoRoom)


def running(database: Database, task: str) -> int:
    """Begin a task in a process of its own, and return its run."""
    Workers(database).start("w", "ai@host", "host", 1, 0)
    TaskRecords(database).open(Draft(task, "ai_processing.process_chat", "ai_processing", "ai_processing"))
    return TaskMoves(database).start(task, 0, "w", "ai@host", None).run


def test_tokens_bind_as_requests_do_and_the_real_ones_count_once_they_are_known(ledger, passing):
    few = {"requests_per_minute": None, "tokens_per_minute": 100}
    first = ledger.ask(plan("a", tokens=60, **few))
    assert isinstance(ledger.ask(plan("b", tokens=50, **few)), NoRoom)
    ledger.settle(first, [share("a", Usage(30, 10))])
    passing.pass_by(61)
    for task, tokens in (("b", 50), ("c", 30), ("d", 20)):
        settled(ledger, plan(task, tokens=tokens, **few))
        passing.pass_by(1)
    # Three times eight were taken: 80 fit when the first is forgotten.
    assert isinstance(told := ledger.ask(plan("e", tokens=80, **few)), NoRoom)
    assert 56 < told.seconds <= 57
    assert isinstance(ledger.ask(plan("f", tokens=76, **few)), NoRoom), "it does not overtake who waits"


def test_a_plan_that_can_never_fit_is_refused_with_its_cure(ledger):
    with pytest.raises(AiError, match=r"101 tokens.*100 that openai takes in a minute: send less") as refused:
        ledger.ask(plan(tokens=101, tokens_per_minute=100))
    assert refused.value.code == "too_large"


def test_places_are_kept_in_the_order_of_asking_and_who_is_new_stands_behind(ledger, passing):
    for task in "ab":
        settled(ledger, plan(task))
        passing.pass_by(10)
    waits = [ledger.ask(plan(task)).seconds for task in "cdef"]
    assert [round(seconds, 1) for seconds in waits] == pytest.approx([40, 50, 100, 110], abs=0.5)
    passing.pass_by(waits[0])

    assert isinstance(ledger.ask(plan("g")), NoRoom), "there is room now, which is kept"
    assert ledger.ask(plan("c")).wait == 0.0


def test_who_asks_again_too_early_keeps_its_place_and_a_moment_before_waits_in_place(ledger, passing):
    for task in "ab":
        settled(ledger, plan(task))
    told = ledger.ask(plan("c"))
    passing.pass_by(30)
    again = ledger.ask(plan("c", run=2))
    assert again.seconds == pytest.approx(told.seconds - 30, abs=1)
    assert isinstance(ledger.ask(plan("d")), NoRoom)
    passing.pass_by(again.seconds - 0.9)
    leave = ledger.ask(plan("c", run=3))
    assert 0 < leave.wait <= 0.9


def test_a_place_is_kept_for_a_minute_after_its_time(ledger, passing):
    one = {"requests_per_minute": 1}
    settled(ledger, plan("a", **one))
    passing.pass_by(ledger.ask(plan("b", **one)).seconds + 50)
    assert isinstance(ledger.ask(plan("c", patience=30, **one)), NoRoom)
    assert isinstance(ledger.ask(plan("b", **one)), Leave)


def test_a_place_that_nobody_came_for_makes_room_after_a_minute(ledger, passing):
    one = {"requests_per_minute": 1}
    settled(ledger, plan("a", **one))
    passing.pass_by(ledger.ask(plan("b", **one)).seconds + 60)
    assert isinstance(ledger.ask(plan("c", **one)), Leave)
    assert isinstance(ledger.ask(plan("b", **one)), NoRoom)


def test_accounts_do_not_see_each_other(ledger):
    assert isinstance(ledger.ask(plan("a", requests_per_minute=1)), Leave)
    assert isinstance(ledger.ask(plan("a", requests_per_minute=1, account="openai:2")), Leave)


@dataclass
class Crowd:
    """Tasks that ask, come back when they were told to, and call for `seconds`."""

    ledger: AiCalls
    passing: AiClock
    rate: int
    seconds: float
    asked: Counter = field(default_factory=Counter)
    begun: list[datetime] = field(default_factory=list)

    def run(self, tasks: int) -> None:
        events = [(self.passing.now(), number, "ask", None) for number in range(tasks)]
        while events:
            due, number, what, leave = heapq.heappop(events)
            self.passing.pass_by(max(0.0, (due - self.passing.now()).total_seconds()))
            if what == "settle":
                self.ledger.settle(leave, [share(str(number))])
                continue
            self.asked[number] += 1
            told = self.ledger.ask(plan(str(number), requests_per_minute=self.rate, patience=2))
            now = self.passing.now()
            if isinstance(told, NoRoom):
                heapq.heappush(events, (now + timedelta(seconds=told.seconds), number, "ask", None))
                continue
            start = now + timedelta(seconds=told.wait)
            self.begun.append(start)
            heapq.heappush(events, (start + timedelta(seconds=self.seconds), number, "settle", told))


@pytest.mark.parametrize("seconds", [0.05, 8], ids=["quick", "slow, which nobody knows at first"])
def test_a_crowd_gets_through_in_the_time_that_the_limit_allows_and_asks_seldom(ledger, passing, seconds):
    crowd = Crowd(ledger, passing, 10, seconds)
    crowd.run(47)

    assert len(crowd.begun) == 47
    assert (
        max(crowd.asked.values()) <= 3
    )  # 2 where the first have ended before the last asks, on a machine that is quick
    took = (max(crowd.begun) - min(crowd.begun)).total_seconds()
    assert 4 * (60 + seconds) <= took < 4 * (60 + seconds) * 1.01


@dataclass
class Called:
    """A call as the world saw it: it counted from `start` until a minute after its end."""

    task: str
    leave: Leave
    start: datetime
    tokens: int
    end: datetime | None = None


class World:
    """Random askers, answers, deaths and clocks; knows by itself what counted when."""

    def __init__(self, database: Database, seed: int) -> None:
        self.chance = random.Random(seed)
        self.passing = AiClock(database)
        self.ledger = AiCalls(database)
        self.requests = self.chance.choice([1, 2, 5])
        self.tokens = self.chance.choice([None, 60])
        self.calls: list[Called] = []
        self.under_way: list[Called] = []
        self.told: dict[str, datetime] = {}

    def step(self) -> None:
        what = self.chance.choices([self.ask, self.come_back, self.answer, self.die, self.pass_by], [4, 6, 6, 1, 6])[0]
        what()

    def ask(self) -> None:
        self._ask(f"task {len(self.calls)} {self.chance.random()}")

    def come_back(self) -> None:
        for task in sorted(self.told, key=self.told.__getitem__)[:1]:
            rest = (self.told.pop(task) - self.passing.now()).total_seconds()
            self._pass_by(max(0.0, rest + self.chance.choice([-0.5, 0, 0, 0.3, 70])))
            self._ask(task)

    def answer(self) -> None:
        now = self.passing.now()
        begun = [call for call in self.under_way if call.start <= now]
        if begun:
            call = self.chance.choice(begun)
            self.under_way.remove(call)
            if self.chance.random() < 0.1:
                self.ledger.release(call.leave)
                self.calls.remove(call)
                return
            used = self.chance.randint(1, call.tokens)
            self.ledger.settle(call.leave, [share("x", Usage(used, 0))])
            call.end, call.tokens = self.moment(call.leave), used

    def die(self) -> None:
        if self.under_way:
            call = self.under_way.pop()
            call.end = call.start + timedelta(seconds=20)
            if self.chance.random() < 0.7:  # its process was seen to end
                call.end = min(call.end, self.passing.now())
                self.passing.database.write(CUT_OFF(task_id=call.task, run=1))

    def pass_by(self) -> None:
        self._pass_by(self.chance.choice([0.1, 1, 7, 19]))

    def moment(self, leave: Leave) -> datetime:
        query = select(columns.at).where(columns.id == leave.id)
        return self.passing.database.read(lambda c: c.execute(query).scalar_one()) + self.passing.passed

    def most_at_once(self) -> tuple[int, int]:
        """Return the most calls, and the most tokens, that counted at the start of one."""
        counts, tokens = [0], [0]
        for call in self.calls:
            together = [
                one
                for one in self.calls
                if one.start <= call.start and (one.end is None or call.start < one.end + timedelta(seconds=60))
            ]
            counts.append(len(together))
            tokens.append(sum(one.tokens for one in together))
        return max(counts), max(tokens)

    def _pass_by(self, seconds: float) -> None:
        """Let time pass; no call takes longer than its plan says."""
        self.passing.pass_by(seconds)
        for call in [call for call in self.under_way if call.start + timedelta(seconds=20) < self.passing.now()]:
            self.under_way.remove(call)
            call.end = call.start + timedelta(seconds=20)

    def _ask(self, task: str) -> None:
        tokens = self.chance.randint(1, 30)
        limits = {"requests_per_minute": self.requests, "tokens_per_minute": self.tokens}
        told = self.ledger.ask(plan(task, tokens=tokens, patience=self.chance.choice([0, 5, 100]), **limits))
        if isinstance(told, Leave):
            call = Called(task, told, self.moment(told), tokens)
            self.calls.append(call)
            self.under_way.append(call)
        else:
            self.told[task] = self.passing.now() + timedelta(seconds=told.seconds)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_no_minute_holds_more_than_the_limit(database, seed):
    world = World(database, seed)
    for _ in range(250):
        world.step()

    requests, tokens = world.most_at_once()
    assert len(world.calls) > 10
    assert requests <= world.requests
    assert tokens <= (world.tokens or math.inf)


def test_of_many_who_ask_at_once_from_several_processes_only_as_many_as_the_limit_may_call(database_url, database):
    others = [Database(database_url) for _ in range(3)]
    ledgers = [AiCalls(one) for one in (database, *others)]
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda n: ledgers[n % 4].ask(plan(f"t{n}", requests_per_minute=5)), range(32)))
    for other in others:
        other.close()

    assert sum(isinstance(one, Leave) for one in told) == 5
    waits = sorted(one.seconds for one in told if isinstance(one, NoRoom))
    assert [math.floor(seconds / 59) for seconds in waits] == [1] * 5 + [2] * 5 + [3] * 5 + [4] * 5 + [5] * 5 + [6] * 2
