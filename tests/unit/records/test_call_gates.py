"""The door to an order for a call: what it lets through at most, whoever asks, and what closes it."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select

from call_rows import ACCOUNT, Phones
from processors.call_interfaces import CallSeen, Closed, Granted, NoRoom
from processors.errors import ServiceUnavailable
from records.call_gates import CATCH_UP_SECONDS
from records.call_tables import LIVE, call_gates
from records.database import Database
from records.task_records import TaskState
from waiting import until

WORKERS, THREADS = 3, 4
DAY = 86_400.0
NUMBERS = [f"+1555777{at:04}" for at in range(1000, 1100)]


@pytest.fixture
def phones(emptied_database: Database) -> Phones:
    return Phones(emptied_database)


@pytest.fixture
def seed() -> int:
    made = random.randrange(2**32)
    print("seed", made)  # noqa: T201 - a failing run shows it
    return made


@pytest.fixture
def workers(emptied_database: Database) -> Iterator[list[Phones]]:
    """Other processes, as far as the database can tell: connections and writers of their own."""
    with ExitStack() as stack:
        databases = [Database(emptied_database.url.render_as_string(hide_password=False)) for _ in range(WORKERS)]
        for one in databases:
            stack.callback(one.close)
        yield [Phones(one) for one in databases]


class HeldDatabase(Database):
    """A process that stops right before its commit, until it is told to go on."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.did, self.go = threading.Event(), threading.Event()

    def write(self, work: Callable[[Any], Any], *, durable: bool = True, lossy: bool = False) -> Any:
        def held(connection: Any) -> Any:
            result = work(connection)
            self.did.set()
            assert self.go.wait(60)
            return result

        return super().write(held, durable=durable, lossy=lossy)


@pytest.fixture
def slow(emptied_database: Database) -> Iterator[Phones]:
    held = HeldDatabase(emptied_database.url.render_as_string(hide_password=False))
    yield Phones(held)
    held.go.set()
    held.close()


def at_once(workers: list[Phones], work: Callable[[Phones, int], Any]) -> list[Any]:
    """Let all threads of all workers begin together; returns what each returned."""
    together = threading.Barrier(WORKERS * THREADS)

    def begin(number: int) -> Any:
        together.wait(60)
        return work(workers[number % WORKERS], number)

    with ThreadPoolExecutor(WORKERS * THREADS) as pool:
        return list(pool.map(begin, range(WORKERS * THREADS)))


def test_never_more_calls_are_live_than_a_campaign_and_an_account_may_have(
    phones: Phones, workers: list[Phones], seed: int
):
    caps, account_cap = {"a": 3, "b": 4}, 5
    ids = phones.campaign("a", NUMBERS[:40]) + phones.campaign("b", NUMBERS[40:80])
    seen: list[dict[str, int]] = []

    def work(mine: Phones, number: int) -> int:
        chance, held, begun = random.Random(seed + number), list[str](), 0
        for _ in range(12):
            call_id = chance.choice(ids)
            answer = mine.grant(call_id, most_live=caps[call_id[0]], account_live=account_cap)
            seen.append(mine.live())
            if isinstance(answer, Granted):
                held.append(answer.attempt_id)
                begun += 1
            if held and (len(held) > 1 or not isinstance(answer, Granted)):
                mine.calls.ended_without_call(held.pop(), "refused", 21211, "no such number")
        return begun

    begun = sum(at_once(workers, work))
    assert begun > account_cap
    assert begun == len(phones.attempts())
    assert all(one.get(name, 0) <= cap for one in seen for name, cap in caps.items())
    assert max(sum(one.values()) for one in seen) == account_cap


def test_what_may_be_a_call_holds_its_place_until_it_is_known_to_be_over(phones: Phones):
    first, second = phones.campaign("a", NUMBERS[:2])
    attempt = phones.granted(first, most_live=1)
    for move in (
        lambda: None,
        lambda: phones.calls.unknown(attempt, "no answer"),
        lambda: phones.tell(attempt, "CA1", "ringing"),
        lambda: phones.tell(attempt, "CA1", "in-progress"),
    ):
        move()
        answer = phones.grant(second, most_live=1)
        assert isinstance(answer, NoRoom)
        assert answer.why == "live"
    phones.tell(attempt, "CA1", "completed")
    phones.granted(second, most_live=1)


def test_an_account_s_orders_keep_their_distance_over_all_workers(phones: Phones, workers: list[Phones]):
    rate, wanted = 20, 30
    ids = phones.campaign("a", NUMBERS[:wanted])
    free = list(ids)

    def work(mine: Phones, _: int) -> None:
        while free:
            try:
                call_id = free.pop()
            except IndexError:
                return
            while isinstance(answer := mine.grant(call_id, account_gap=1 / rate), NoRoom):
                assert answer.why == "pace"
                time.sleep(answer.wait)

    at_once(workers, work)
    moments = [one.sending_at for one in phones.attempts()]
    assert len(moments) == wanted
    assert all(later - earlier >= timedelta(seconds=1 / rate) for earlier, later in pairwise(moments))
    within = [sum(begin <= one < begin + timedelta(seconds=1) for one in moments) for begin in moments]
    assert max(within) <= rate


def test_orders_that_were_late_are_made_up_for_and_never_more_than_allowed_in_any_second(phones: Phones, seed: int):
    rate, chance = 10, random.Random(seed)
    second, most = timedelta(seconds=1), timedelta(seconds=CATCH_UP_SECONDS)
    first, *others = phones.campaign("a", NUMBERS[:60])
    phones.granted(first, account_gap=1 / rate, at_once=rate)
    for call_id in others:
        phones.pass_by(chance.choice([0.0, 0.02, 0.15, 0.3]))
        due = free_at(phones)
        while isinstance(answer := phones.grant(call_id, account_gap=1 / rate, at_once=rate), NoRoom):
            assert answer.why == "pace"
            phones.pass_by(answer.wait)
            due = free_at(phones)
        sent = phones.attempt(answer.attempt_id).sending_at
        assert free_at(phones) == max(due, sent - most) + second / rate
    moments = [one.sending_at for one in phones.attempts()]
    assert all(moments[at + rate] - moments[at] >= second for at in range(len(moments) - rate))


def free_at(phones: Phones) -> datetime:
    """Return when the account's gate lets the next call through."""
    gate = select(call_gates.c.next_free_at).where(call_gates.c.key == f"account:{ACCOUNT}")
    return phones.database.read(lambda c: c.execute(gate).scalar_one())


def test_a_campaign_s_gap_makes_up_for_nothing(phones: Phones):
    first, second, third = phones.campaign("a", NUMBERS[:3])
    phones.granted(first, gap=500)
    phones.pass_by(550)
    phones.granted(second, gap=500)
    phones.pass_by(400)
    assert isinstance(phones.grant(third, gap=500), NoRoom)


@pytest.mark.parametrize("rate", [3, 7, 0.3, 90])
def test_a_gap_is_never_rounded_to_a_shorter_one(phones: Phones, rate: float):
    attempt = phones.attempt(phones.granted(phones.single("t", NUMBERS[0]), account_gap=1 / rate))
    assert (free_at(phones) - attempt.sending_at) * 1000 >= timedelta(seconds=1000 / rate)


def test_a_campaign_s_gap_keeps_back_its_own_calls_only(phones: Phones):
    first, second = phones.campaign("a", NUMBERS[:2])
    (other,) = phones.campaign("b", NUMBERS[2:3])
    phones.granted(first, gap=50)
    answer = phones.grant(second, gap=50)
    assert isinstance(answer, NoRoom)
    assert answer.why == "pace"
    assert 40 < answer.wait <= 50
    phones.granted(other, gap=50)
    phones.pass_by(50)
    phones.granted(second, gap=50)


def test_a_number_has_one_live_call_though_many_want_one(phones: Phones, workers: list[Phones]):
    numbers = NUMBERS[:4]
    campaigns = [phones.campaign(f"c{at}", numbers) for at in range(WORKERS * THREADS)]

    def work(mine: Phones, number: int) -> list[Any]:
        return [mine.grant(call_id) for call_id in campaigns[number]]

    answers = at_once(workers, work)
    for place in range(len(numbers)):
        asked = [one[place] for one in answers]
        assert sum(isinstance(one, Granted) for one in asked) == 1
        assert {one.why for one in asked if isinstance(one, NoRoom)} == {"number"}
    # another account may call the same numbers
    assert isinstance(phones.grant(phones.single("t", numbers[0]), account="AC2"), Granted)


def test_a_call_is_granted_once_whoever_asks_for_it(phones: Phones, workers: list[Phones]):
    ids = phones.campaign("a", NUMBERS[:5])
    answers = at_once(workers, lambda mine, _: [mine.grant(call_id) for call_id in ids])
    for place in range(len(ids)):
        asked = [one[place] for one in answers]
        assert sum(isinstance(one, Granted) for one in asked) == 1
        assert all(one == Closed("dialing") for one in asked if not isinstance(one, Granted))


CLOSERS: dict[str, Callable[[Phones], object]] = {
    "opted_out": lambda phones: phones.opt_outs.add(NUMBERS[0], "manual"),
    "paused": lambda phones: phones.pauses.pause("a"),
    "cancelled": lambda phones: phones.moves.revoke("a"),
}


@pytest.mark.parametrize("why", CLOSERS)
def test_nothing_is_granted_after_somebody_said_no(phones: Phones, why: str):
    first, _ = phones.campaign("a", NUMBERS[:2])
    CLOSERS[why](phones)
    assert phones.grant(first) == Closed(why)
    assert not phones.attempts()


@pytest.mark.parametrize("why", CLOSERS)
def test_a_grant_waits_for_a_no_that_is_being_said_and_heeds_it(
    phones: Phones, slow: Phones, why: str, monkeypatch: pytest.MonkeyPatch
):
    # what waits now is closed by an opt-out anyway; what is admitted meanwhile is not
    monkeypatch.setattr("records.opt_outs.close_waiting", lambda *_: 0)
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    with ThreadPoolExecutor(2) as pool:
        said = pool.submit(CLOSERS[why], slow)
        assert slow.database.did.wait(60)
        asked = pool.submit(phones.grant, call_id)
        _until_it_waits(phones, asked)
        slow.database.go.set()
        said.result(60)
        assert asked.result(60) == Closed(why)
    assert not phones.attempts()


@pytest.mark.parametrize("why", CLOSERS)
def test_who_says_no_has_an_answer_only_after_the_grant_before_it(
    phones: Phones, slow: Phones, why: str, monkeypatch: pytest.MonkeyPatch
):
    # what waits now is closed by an opt-out anyway; what is admitted meanwhile is not
    monkeypatch.setattr("records.opt_outs.close_waiting", lambda *_: 0)
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(slow.grant, call_id)
        assert slow.database.did.wait(60)
        said = pool.submit(CLOSERS[why], phones)
        _until_it_waits(phones, said)
        slow.database.go.set()
        assert isinstance(asked.result(60), Granted)
        said.result(60)
    assert [one.state for one in phones.attempts()] == ["sending"]


def _until_it_waits(phones: Phones, one: "Future[Any]") -> None:
    """Wait until somebody waits for another one's lock; SQLite, which has one for all, does not tell."""
    if not phones.database.is_sqlite:
        until(lambda: one.done() or phones.waits_for_a_lock())
        assert not one.done()


def test_an_opt_out_ends_what_waits_in_all_campaigns_and_leaves_what_is_going_on(phones: Phones):
    (first,), (second,) = phones.campaign("a", NUMBERS[:1]), phones.campaign("b", NUMBERS[:1])
    attempt = phones.placed(first, "CA1")
    assert phones.opt_outs.add(NUMBERS[0], "keypress", call_sid="CA1")
    assert not phones.opt_outs.add(NUMBERS[0], "manual")
    assert phones.call(second).state == phones.member(second).state == "opted_out"
    assert phones.call(first).state == "dialing"
    phones.tell(attempt, "CA1", "completed")
    assert phones.call(first).state == "done"


def test_a_number_that_is_taken_off_the_list_is_called_again(phones: Phones):
    phones.opt_outs.add(NUMBERS[0], "manual")
    call_id = phones.single("t", NUMBERS[0])
    assert phones.grant(call_id) == Closed("opted_out")
    assert phones.opt_outs.remove(NUMBERS[0])
    assert not phones.opt_outs.remove(NUMBERS[0])
    phones.granted(call_id)


def test_a_task_that_is_not_there_is_granted_nothing(phones: Phones):
    phones.calls.want("nobody", NUMBERS[0], NUMBERS[1])
    assert phones.grant("nobody") == Closed("cancelled")


def test_a_number_is_called_as_often_in_a_day_and_a_week_as_it_may_be_over_all_campaigns(phones: Phones):
    limits = [(2, DAY), (3, 7 * DAY)]
    ids = [phones.campaign(name, NUMBERS[:1])[0] for name in "abcdef"]

    def call(call_id: str) -> None:
        phones.tell(phones.placed(call_id, call_id, limits=limits), call_id, "busy")

    call(ids[0])
    phones.pass_by(3600)
    call(ids[1])
    answer = phones.grant(ids[2], limits=limits)
    assert isinstance(answer, NoRoom)
    assert answer.why == "attempts"
    assert DAY - 3660 < answer.wait <= DAY - 3600, "until the first of them is a day old"
    phones.pass_by(DAY - 3600 + 1)
    call(ids[2])
    phones.pass_by(2 * DAY)
    answer = phones.grant(ids[3], limits=limits)
    assert isinstance(answer, NoRoom)
    assert answer.why == "attempts"
    assert answer.wait > 3 * DAY
    phones.pass_by(answer.wait + 1)
    call(ids[3])


@pytest.mark.parametrize("state", ["refused", "not_taken", "void"])
def test_what_never_rang_is_not_counted_against_a_number(phones: Phones, state: str):
    first, second = (phones.campaign(name, NUMBERS[:1])[0] for name in "ab")
    attempt = phones.granted(first, limits=[(1, DAY)])
    assert phones.grant(second, limits=[(1, DAY)]).why == "number"
    phones.calls.ended_without_call(attempt, state, None, "no call")
    phones.granted(second, limits=[(1, DAY)])


def test_a_call_that_may_have_rung_is_counted_against_its_number(phones: Phones):
    first, second = (phones.campaign(name, NUMBERS[:1])[0] for name in "ab")
    phones.calls.ended_without_call(phones.granted(first), "ambiguous", None, "two calls")
    assert phones.grant(second, limits=[(1, DAY)]).why == "attempts"


@pytest.mark.parametrize("prefix", ["+49", "+1876", "+7", "+355"])
def test_a_country_that_is_refused_is_left_alone_and_no_other(phones: Phones, prefix: str):
    number = prefix + "5550100"
    here, other = phones.single("here", number), phones.single("other", "+33555010000")
    phones.gates.rest(f"halted:{ACCOUNT}:{prefix}", 3600, "geographic permissions")
    answer = phones.grant(here)
    assert isinstance(answer, NoRoom)
    assert (answer.why, answer.text, answer.prefix) == ("halted", "geographic permissions", prefix)
    assert 3500 < answer.wait <= 3600
    phones.granted(other)
    phones.granted(phones.single("foreign", number), account="AC2")
    phones.gates.open_halted(ACCOUNT)
    phones.tell(phones.attempts()[-1].id, "CA9", "failed", account="AC2")
    phones.granted(here)


def test_a_rest_keeps_an_account_back_and_a_shorter_one_does_not_end_it(phones: Phones):
    call_id = phones.single("t", NUMBERS[0])
    phones.gates.rest(f"account:{ACCOUNT}", 60)
    phones.gates.rest(f"account:{ACCOUNT}", 5)
    answer = phones.grant(call_id)
    assert isinstance(answer, NoRoom)
    assert answer.why == "pace"
    assert 50 < answer.wait <= 60
    phones.pass_by(61)
    phones.granted(call_id)


class Anything:
    """What may happen to some campaigns' calls, in any order."""

    def __init__(self, ids: list[str], numbers: list[str]) -> None:
        self.ids, self.numbers, self.attempts = ids, numbers, ["none"]

    def happen(self, mine: Phones, chance: random.Random) -> None:
        what = chance.choice(
            [self._grant] * 4 + [self._tell] * 2 + [self._opt_out, self._pause, self._cancel, self._look, self._end]
        )
        what(mine, chance)

    def _grant(self, mine: Phones, chance: random.Random) -> None:
        answer = mine.grant(chance.choice(self.ids), most_live=4, account_live=9)
        if isinstance(answer, Granted):
            self.attempts.append(answer.attempt_id)

    def _tell(self, mine: Phones, chance: random.Random) -> None:
        attempt, key = chance.choice(self.attempts), f"{chance.random()}"
        status = chance.choice(["ringing", "in-progress", "completed", "busy", "no-answer"])
        if chance.random() < 0.5:
            mine.tell(attempt, f"CA-{attempt}", status, key=key)
        else:
            mine.calls.seen(attempt, CallSeen(f"CA-{attempt}", status), 5, 60)

    def _opt_out(self, mine: Phones, chance: random.Random) -> None:
        number = chance.choice(self.numbers)
        mine.opt_outs.add(number, "manual") if chance.random() < 0.3 else mine.opt_outs.remove(number)

    def _pause(self, mine: Phones, chance: random.Random) -> None:
        campaign_id = chance.choice(self.ids).partition(":")[0]
        mine.pauses.pause(campaign_id) if chance.random() < 0.5 else mine.pauses.resume(campaign_id)

    def _cancel(self, mine: Phones, chance: random.Random) -> None:
        if chance.random() < 0.1:
            campaign_id = chance.choice(self.ids).partition(":")[0]
            mine.moves.revoke(campaign_id)
            mine.calls.close_campaign(campaign_id, "cancelled", "cancelled", 100)

    def _look(self, mine: Phones, _: random.Random) -> None:
        for look in mine.calls.take_looks(5, older_than=0):
            mine.calls.looked(look.id, 0.0)

    def _end(self, mine: Phones, chance: random.Random) -> None:
        state = chance.choice(["void", "ambiguous", "not_taken"])
        mine.calls.ended_without_call(chance.choice(self.attempts), state, None, "none")


def test_nobody_gets_in_another_s_way_for_ever_and_all_counts_agree(phones: Phones, workers: list[Phones], seed: int):
    numbers, campaigns = NUMBERS[:6], [f"c{at}" for at in range(4)]
    ids = [one for name in campaigns for one in phones.campaign(name, numbers, retry=RETRY)]
    anything = Anything(ids, numbers)

    def work(mine: Phones, number: int) -> None:
        chance = random.Random(seed + number)
        for _ in range(20):
            anything.happen(mine, chance)

    at_once(workers, work)
    assert phones.deadlocks() == 0
    live = [one for one in phones.attempts() if one.state in LIVE]
    assert len({one.to_number for one in live}) == len(live)
    assert all(sum(phones.member_states(name).values()) == len(numbers) for name in campaigns)
    for call_id in ids:
        state = phones.call(call_id).state
        assert (phones.member(call_id).state == "waiting") == (state in {"waiting", "dialing"})
        assert (state == "dialing") == any(one.call_id == call_id for one in live)


RETRY = {"max_attempts": 5, "busy_seconds": 1, "no_answer_seconds": 1, "failed_seconds": 1}


def test_a_grant_whose_answer_is_lost_is_not_made_a_second_time(phones: Phones):
    call_id = phones.single("t", NUMBERS[0])
    phones.granted(call_id)  # its answer is lost: whoever asked for it asks again
    assert phones.grant(call_id) == Closed("dialing")
    assert len(phones.attempts()) == 1
    assert phones.tasks.read("t").state is TaskState.PENDING


def test_a_database_that_is_away_grants_nothing(tmp_path):
    away = Phones(Database(f"sqlite:///{tmp_path}/none/records.db"))
    with pytest.raises(ServiceUnavailable):
        away.grant("t")
