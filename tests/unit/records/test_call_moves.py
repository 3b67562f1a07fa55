"""How calls and their attempts move: onwards only, whatever is told in whatever order, and every member is counted."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from call_rows import ACCOUNT, Phones
from processors.call_interfaces import CallSeen, Granted
from processors.call_states import CallProgress, spelled
from processors.errors import ServiceUnavailable
from records.call_events import CallEvent, Waits
from records.call_moves import LEAST_UNTAKEN
from records.call_tables import call_attempts, call_events, calls
from records.database import Database

NUMBERS = [f"+1555777{at:04}" for at in range(1000, 1100)]
RETRY = {"max_attempts": 3, "busy_seconds": 600, "no_answer_seconds": 3600, "failed_seconds": 600, "machine": "retry"}
ROUNDS = 12
ENDS = {
    "answered": ("completed", {"duration_seconds": 42}),
    "machine": ("completed", {"duration_seconds": 9, "answered_by": "machine_start"}),
    "busy": ("busy", {"sip_code": 486}),
    "no-answer": ("no-answer", {"sip_code": 487}),
    "failed": ("failed", {"sip_code": 404}),
    "canceled": ("cancelled", {}),
}


@pytest.fixture
def phones(emptied_database: Database) -> Phones:
    return Phones(emptied_database)


@pytest.fixture
def seed() -> int:
    made = random.randrange(2**32)
    print("seed", made)  # noqa: T201 - a failing run shows it
    return made


@pytest.mark.parametrize("why", ["opted_out", "cancelled"])
@pytest.mark.parametrize("late", [False, True])
def test_a_call_in_which_nothing_was_said_ends_as_what_made_it_silent(phones: Phones, why: Any, late: bool):
    [call_id] = phones.campaign("campaign", NUMBERS[:1])
    attempt_id = phones.placed(call_id, "CA0")
    if late:  # whoever answered hung up at once, and that came first
        phones.tell(attempt_id, "CA0", "completed", duration_seconds=1)
    phones.tell(attempt_id, "CA0", "in-progress", unsaid=why)
    if not late:
        phones.tell(attempt_id, "CA0", "completed", duration_seconds=1)
    for _ in range(2):
        assert (phones.attempt(attempt_id).unsaid, phones.call(call_id).outcome) == (why, "unsaid")
        assert (phones.call(call_id).state, phones.member(call_id).state) == (why, why)
        phones.tell(attempt_id, "CA0", unsaid="cancelled" if why == "opted_out" else "opted_out")
        phones.tell(attempt_id, "CA0", answered_by="human")


# --- What is told, in any order -----------------------------------------------------------------------------------


def messages_of(sid: str, attempt_id: str, end: str) -> list[CallEvent]:
    """Return all that a provider tells of a call, in its order."""
    status, more = ENDS[end]
    steps = ["initiated", "ringing", *(["in-progress"] if status == "completed" else []), status]
    told = [CallProgress(one, at) for at, one in enumerate(steps)]
    told[-1] = replace(told[-1], **more)
    return [
        CallEvent("status", f"{sid}-{one.sequence}", attempt_id, sid, ACCOUNT, one, raw={"CallSid": sid})
        for one in told
    ]


def row_of(phones: Phones, call_id: str, attempt_id: str) -> dict[str, Any]:
    """Return what is known in the end, but for when and how it came to be known."""
    attempt, call = phones.attempt(attempt_id), phones.call(call_id)
    return {
        "attempt": [attempt.state, attempt.status, attempt.answered_by, attempt.duration_seconds, attempt.sip_code],
        "call": [call.state, call.outcome, call.attempts, call.answered_by],
        "member": phones.member(call_id).state,
    }


@pytest.mark.parametrize("end", ENDS)
def test_order_repetition_and_delay_of_what_is_told_change_nothing_in_the_end(phones: Phones, end: str, seed: int):
    chance = random.Random(seed)
    ids = phones.campaign("a", NUMBERS[: ROUNDS + 1])
    rows = []
    for place, call_id in enumerate(ids):
        attempt_id, sid = phones.granted(call_id), f"CA{place}"
        messages = messages_of(sid, attempt_id, end)
        if place:
            messages += chance.choices(messages, k=3)
            chance.shuffle(messages)
        placed_after = chance.randrange(len(messages) + 1) if place else 0
        for at, message in enumerate([*messages, None]):
            if at == placed_after:
                phones.calls.placed(attempt_id, sid, "queued", queue_seconds=0, look=60, hang_up=600)
            if place and chance.random() < 0.3:
                phones.calls.seen(attempt_id, _fetched(sid, messages[:at]), 30, 600)
            if message is not None:
                phones.events.receive(message, lambda _: Waits(60, 600))
        rows.append(row_of(phones, call_id, attempt_id))
    assert rows[1:] == [rows[0]] * ROUNDS


def _fetched(sid: str, told: list[CallEvent]) -> CallSeen:
    """Return what a provider's record says that is as far as its messages, or older."""
    if not told:
        return CallSeen(sid, "queued")
    last = told[-1].progress
    status = spelled(last.status or "queued")
    return CallSeen(sid, status, duration_seconds=last.duration_seconds, answered_by=last.answered_by)


def test_the_same_message_again_is_kept_once_and_says_so(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    attempt_id = phones.granted(call_id)
    first, again = (phones.tell(attempt_id, "CA1", "ringing", key="same") for _ in range(2))
    assert (first.new, again.new) == (True, False)
    assert first.attempt is not None
    assert first.attempt.status == "ringing"
    assert len(phones.events.of_call("CA1")) == 1


def test_an_end_stays_whatever_is_told_later(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    attempt_id = phones.placed(call_id, "CA1")
    phones.tell(attempt_id, "CA1", "completed", sequence=3)
    before = row_of(phones, call_id, attempt_id)
    for status in ("ringing", "in-progress", "nonsense", None):
        phones.tell(attempt_id, "CA1", status, sequence=9)
        phones.calls.seen(attempt_id, CallSeen("CA1", "in-progress"), 30, 600)
    assert row_of(phones, call_id, attempt_id) == before


def test_a_status_that_nobody_knows_is_kept_and_ends_nothing(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    attempt_id = phones.placed(call_id, "CA1")
    assert phones.tell(attempt_id, "CA1", "vanished").new
    assert phones.attempt(attempt_id).status == "queued"
    assert phones.call(call_id).state == "dialing"


def test_a_status_that_nobody_knows_in_the_answer_to_the_order_costs_no_call(phones: Phones):
    attempt_id = phones.granted(phones.single("t", NUMBERS[0]))
    phones.calls.placed(attempt_id, "CA1", "waiting-for-a-better-day", queue_seconds=0, look=60, hang_up=600)
    attempt = phones.attempt(attempt_id)
    assert (attempt.state, attempt.call_sid, attempt.status) == ("placed", "CA1", None)


def test_a_message_before_the_answer_to_the_order_names_the_call_and_the_answer_changes_nothing(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    attempt_id = phones.granted(call_id)
    phones.tell(attempt_id, "CA1", "ringing")
    before = phones.attempt(attempt_id)
    assert (before.state, before.call_sid) == ("placed", "CA1")
    assert not phones.calls.placed(attempt_id, "CA1", "queued", queue_seconds=1, look=60, hang_up=600)
    assert phones.attempt(attempt_id) == before


def test_a_second_call_for_an_attempt_is_told_apart_and_changes_nothing(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    attempt_id = phones.placed(call_id, "CA1")
    before = phones.attempt(attempt_id)
    received = phones.tell(attempt_id, "CA2", "completed")
    assert received.second_call
    assert "CA1" in str(received.why_not)
    phones.calls.seen(attempt_id, CallSeen("CA2", "completed"), 30, 600)
    assert phones.attempt(attempt_id) == before
    assert phones.call(call_id).state == "dialing"


@pytest.mark.parametrize("wrong", [{"account": "AC9"}, {"attempt_id": "nobody"}])
def test_what_is_told_of_another_s_call_is_kept_and_changes_nothing(phones: Phones, wrong: dict[str, str]):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    attempt_id = phones.granted(call_id)
    before = phones.attempt(attempt_id)
    asked = wrong.get("attempt_id", attempt_id)
    received = phones.tell(asked, "CA1", "completed", account=wrong.get("account", ACCOUNT))
    assert received.new
    assert received.why_not
    assert phones.attempt(attempt_id) == before
    assert [one["applied"] for one in phones.events.of_call("CA1")] == [False]


def test_a_message_without_an_attempt_is_found_by_its_call(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    phones.placed(call_id, "CA1")
    phones.tell(None, "CA1", "completed")
    assert phones.call(call_id).state == "done"


def test_keys_and_speech_are_kept_in_their_order_and_shown_with_the_member(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    attempt_id = phones.placed(call_id, "CA1")
    phones.tell(attempt_id, "CA1", "in-progress", heard={"digits": "1"})
    phones.tell(attempt_id, "CA1", None, heard={"speech": "yes"})
    phones.tell(attempt_id, "CA1", "completed")
    assert phones.call(call_id).heard == [{"digits": "1"}, {"speech": "yes"}]
    assert dict(phones.member(call_id).outcome or {})["heard"] == [{"digits": "1"}, {"speech": "yes"}]


# --- Whether there is a call ----------------------------------------------------------------------------------------


def test_an_order_for_which_there_was_no_call_is_not_counted_and_is_made_again(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    for state in ("not_taken", "void"):
        phones.calls.ended_without_call(phones.granted(call_id), state, None, "none")
        call = phones.call(call_id)
        assert (call.state, call.attempts, call.outcome) == ("waiting", 0, None)
        phones.pass_by(2)
    attempt_id = phones.granted(call_id)
    assert phones.attempt(attempt_id).number == 3
    assert phones.call(call_id).attempts == 1


def test_an_order_of_which_nobody_will_know_is_counted_and_never_made_again_by_itself(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1], retry=RETRY)
    phones.calls.ended_without_call(phones.granted(call_id), "ambiguous", None, "two calls")
    call = phones.call(call_id)
    assert (call.state, call.attempts, call.next_attempt_at) == ("ambiguous", 1, None)
    assert phones.member(call_id).state == "ambiguous"
    phones.pass_by(30 * 86_400)
    assert not isinstance(phones.grant(call_id), Granted)
    assert [one.key for one in phones.calls.doubts(10)] == [f"call:{phones.attempts()[0].id}"]


def test_an_answer_to_an_order_that_was_taken_for_void_does_not_bring_it_back(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    attempt_id = phones.granted(call_id)
    phones.calls.unknown(attempt_id, "no answer")
    phones.calls.ended_without_call(attempt_id, "void", None, "listed nowhere")
    assert not phones.calls.placed(attempt_id, "CA1", "queued", queue_seconds=0, look=60, hang_up=600)
    assert phones.attempt(attempt_id).state == "void"
    assert phones.call(call_id).state == "waiting"


def test_a_message_about_an_attempt_that_was_void_is_kept_and_moves_no_call(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    first = phones.granted(call_id)
    phones.calls.ended_without_call(first, "void", None, "listed nowhere")
    phones.pass_by(2)
    second = phones.placed(call_id, "CA2")
    received = phones.tell(first, "CA1", "completed", sequence=3)
    assert received.attempt is not None
    assert received.attempt.state == "void"
    assert phones.attempt(first).call_sid == "CA1", "so that people find it"
    assert phones.attempt(second).state == "placed"
    assert phones.call(call_id).state == "dialing"
    phones.tell(second, "CA2", "busy")
    assert phones.call(call_id).state == "failed"


def test_a_message_settles_an_attempt_of_which_nobody_knew(phones: Phones):
    for call_id, status, state, outcome in (
        ("a:0", "completed", "done", "answered"),
        ("a:1", "no-answer", "failed", "no-answer"),
    ):
        if call_id == "a:0":
            phones.campaign("a", NUMBERS[:2], retry=RETRY)
        attempt_id = phones.granted(call_id)
        phones.calls.ended_without_call(attempt_id, "ambiguous", None, "two calls")
        phones.tell(attempt_id, f"CA{call_id}", status, sequence=3)
        call = phones.call(call_id)
        assert (call.state, call.outcome) == (state, outcome), "and nobody is called again by itself"
        assert not phones.calls.in_doubt(call_id)


def test_a_person_settles_whether_a_call_was_made(phones: Phones):
    made, absent, sure = phones.campaign("a", NUMBERS[:3])
    attempts = [phones.granted(one) for one in (made, absent, sure)]
    for attempt_id in attempts[:2]:
        phones.calls.unknown(attempt_id, "no answer")
    assert not phones.calls.settle_absent(attempts[2]), "its order may still be going on"
    assert phones.calls.settle_made(attempts[0], "CA1")
    assert phones.call(made).state == phones.member(made).state == "done"
    assert not phones.calls.settle_made(attempts[1], "CA1"), "that is another attempt's"
    assert phones.calls.settle_absent(attempts[1])
    assert phones.call(absent).state == "waiting"
    assert not phones.calls.settle_absent(attempts[1])
    assert phones.calls.doubts(10) == []


def test_a_person_who_settles_an_ambiguous_call_as_absent_does_not_let_it_be_made_again(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    attempt_id = phones.granted(call_id)
    phones.calls.ended_without_call(attempt_id, "ambiguous", None, "two calls")
    assert phones.calls.settle_absent(attempt_id)
    call = phones.call(call_id)
    assert (call.state, call.attempts) == ("failed", 0)


# --- What follows ---------------------------------------------------------------------------------------------


def test_a_call_waits_for_its_next_attempt_as_its_campaign_says_and_ends_after_the_last(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1], retry=RETRY)
    for number, status in enumerate(["busy", "no-answer", "busy"], 1):
        phones.tell(phones.placed(call_id, f"CA{number}"), f"CA{number}", status)
        call = phones.call(call_id)
        assert call.attempts == number
        if number < RETRY["max_attempts"]:
            wait = (call.next_attempt_at - phones.calls.now()).total_seconds()
            assert RETRY[f"{status.replace('-', '_')}_seconds"] - 60 < wait <= 3600
            assert call.state == "waiting"
            phones.pass_by(wait + 1)
    assert (call.state, call.outcome) == ("exhausted", "busy")
    assert phones.member(call_id).state == "exhausted"


def test_a_member_of_a_cancelled_campaign_is_not_called_again(phones: Phones):
    waiting, going_on = phones.campaign("a", NUMBERS[:2], retry=RETRY)
    attempt_id = phones.placed(going_on, "CA1")
    phones.moves.revoke("a")
    assert phones.calls.close_campaign("a", "cancelled", "the campaign was cancelled", 10) == 1
    assert phones.call(waiting).state == phones.member(waiting).state == "cancelled"
    phones.tell(attempt_id, "CA1", "busy")
    assert phones.call(going_on).state == phones.member(going_on).state == "cancelled"


def test_a_single_call_whose_task_has_ended_is_not_left_waiting(phones: Phones):
    before, after = phones.single("t1", NUMBERS[0]), phones.single("t2", NUMBERS[1])
    attempt_id = phones.granted(after)
    phones.moves.revoke("t1")
    phones.moves.revoke("t2")
    phones.calls.ended_without_call(attempt_id, "void", None, "listed nowhere")
    assert phones.call(after).state == "cancelled"
    phones.single("t3", NUMBERS[2])
    assert phones.calls.close_left() == 1
    assert phones.call(before).state == "cancelled"
    assert phones.call("t3").state == "waiting"


def test_what_takes_nothing_for_a_day_ends_a_call_and_a_fault_of_ours_never_does(phones: Phones):
    busy, halted, country, later = phones.campaign("a", NUMBERS[:4], retry=RETRY)
    codes = {busy: None, halted: 20003, country: 21215, later: None}

    def not_taken(call_id: str) -> str:
        phones.calls.ended_without_call(phones.granted(call_id), "not_taken", codes[call_id], "not now")
        return phones.call(call_id).state

    for _ in range(LEAST_UNTAKEN - 1):
        assert [not_taken(one) for one in (busy, halted, country)] == ["waiting"] * 3
        phones.pass_by(2)
    phones.pass_by(86_401)
    # this one has been called meanwhile: it has been refused for a moment only
    phones.tell(phones.placed(later, "CA1"), "CA1", "busy")
    phones.pass_by(601)
    assert [not_taken(one) for one in (busy, halted, country, later)] == ["failed", "waiting", "failed", "waiting"]


def test_a_weekend_between_two_orders_that_were_not_taken_ends_no_call(phones: Phones):
    [call_id] = phones.campaign("a", NUMBERS[:1])
    for _ in range(2):
        phones.calls.ended_without_call(phones.granted(call_id), "not_taken", None, "as many live calls as may be")
        assert phones.call(call_id).state == "waiting"
        phones.pass_by(3 * 86_400)


# --- Looks ---------------------------------------------------------------------------------------------------------


def test_what_is_looked_at_is_given_to_one_alone_until_a_minute_has_passed(phones: Phones):
    first, second = phones.campaign("a", NUMBERS[:2])
    attempt_id = phones.granted(first)
    phones.placed(second, "CA2")
    assert not phones.calls.looks_due()
    assert phones.calls.take_looks() == []
    phones.pass_by(30)
    assert phones.calls.looks_due()
    (look,) = phones.calls.take_looks()
    assert (look.id, look.settled, look.past_limit) == (attempt_id, True, False)
    assert phones.calls.take_looks() == []
    assert {one.id for one in phones.calls.take_looks(10, older_than=20)} == {one.id for one in phones.attempts()}
    phones.pass_by(61)
    assert len(phones.calls.take_looks(10)) == 2


def test_an_order_that_may_still_be_going_on_is_not_taken_for_one_without_answer(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    attempt_id = phones.granted(call_id)
    phones.calls.looked(attempt_id, 5)
    assert phones.attempt(attempt_id).state == "sending"
    phones.pass_by(30)
    phones.calls.looked(attempt_id, 5)
    assert phones.attempt(attempt_id).state == "unknown"
    assert phones.attempt(attempt_id).looks == 2


def test_a_look_adopts_the_call_of_an_order_without_answer(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    attempt_id = phones.granted(call_id)
    phones.calls.unknown(attempt_id, "no answer")
    phones.calls.seen(attempt_id, CallSeen("CA1", "ringing", price="-0.01", price_unit="USD"), 30, 0)
    row = phones.attempt(attempt_id)
    assert (row.state, row.call_sid, row.status, row.price) == ("placed", "CA1", "ringing", "-0.01")
    phones.calls.seen(attempt_id, CallSeen("CA1", "in-progress"), 0, 0)
    assert phones.attempt(attempt_id).price == "-0.01"
    (look,) = phones.calls.take_looks()
    assert look.past_limit
    assert phones.calls.owned(["CA1", "CA2"]) == {"CA1"}


def test_looks_at_the_price_of_a_call_that_ended_leave_its_end(phones: Phones):
    (call_id,) = phones.campaign("a", NUMBERS[:1])
    attempt_id = phones.placed(call_id, "CA1")
    phones.tell(attempt_id, "CA1", "failed", sequence=3, sip_code=404)
    phones.calls.seen(attempt_id, CallSeen("CA1", "failed", price="0", price_unit="USD"), 30, 600)
    row = phones.attempt(attempt_id)
    assert (row.status, row.sip_code, row.price) == ("failed", 404, "0")


# --- Every member is counted ------------------------------------------------------------------------------------------


class Faulty(Database):
    """A database that fails now and then, before a commit or after it."""

    chance = random.Random()
    share = 0.0

    def write(self, work: Callable[[Any], Any], *, durable: bool = True, lossy: bool = False) -> Any:
        def failing(connection: Any) -> Any:
            result = work(connection)
            if self.chance.random() < self.share:
                raise ServiceUnavailable("before the commit")
            return result

        done = super().write(failing, durable=durable, lossy=lossy)
        if self.chance.random() < self.share:
            raise ServiceUnavailable("after the commit")
        return done


def test_every_member_is_counted_after_every_step_whatever_fails(emptied_database: Database, seed: int):
    faulty = Faulty(emptied_database.url.render_as_string(hide_password=False))
    phones, sound = Phones(faulty), Phones(emptied_database)
    chance = faulty.chance = random.Random(seed)
    ids = sound.campaign("a", NUMBERS[:6], retry=RETRY)
    steps = 0
    faulty.share = 0.15
    while sound.member_states("a").get("waiting") and steps < 300:
        steps += 1
        with suppress(ServiceUnavailable):
            _step(phones, sound, chance, ids)
        assert sum(sound.member_states("a").values()) == len(ids)
        for call_id in ids:
            assert (sound.call(call_id).state in {"waiting", "dialing"}) == (sound.member(call_id).state == "waiting")
    faulty.close()
    assert not sound.member_states("a").get("waiting"), f"after {steps} steps"
    made = Counter(one.call_id for one in sound.attempts() if one.state not in {"void", "not_taken", "refused"})
    refused = Counter(one.call_id for one in sound.attempts() if one.state == "refused")
    assert max(made.values(), default=0) <= 3
    assert max(refused.values(), default=0) <= 3  # nobody knows why, which counts as no attempt


def _step(phones: Phones, sound: Phones, chance: random.Random, ids: list[str]) -> None:
    live = [one for one in sound.attempts() if one.state in {"sending", "unknown", "placed"}]
    if live and chance.random() < 0.7:
        attempt = chance.choice(live)
        match chance.randrange(5):
            case 0:
                phones.calls.placed(attempt.id, f"CA{attempt.id}", "queued", queue_seconds=0, look=9, hang_up=99)
            case 1:
                phones.calls.unknown(attempt.id, "no answer")
            case 2:
                state = chance.choice(["void", "not_taken", "refused", "ambiguous"])
                phones.calls.ended_without_call(attempt.id, state, None, "none")
            case _:
                status = chance.choice(["ringing", "completed", "busy", "no-answer", "failed"])
                phones.tell(attempt.id, f"CA{attempt.id}", status)
    else:
        phones.grant(chance.choice(ids))
    if chance.random() < 0.3:
        sound.pass_by(1000)


# --- Pruning ---------------------------------------------------------------------------------------------------


def test_what_is_old_goes_but_for_doubts_and_what_is_live(phones: Phones):
    ended, doubtful, live, young = phones.campaign("a", NUMBERS[:4])
    phones.tell(phones.placed(ended, "CA1"), "CA1", "completed")
    phones.calls.ended_without_call(phones.granted(doubtful), "ambiguous", None, "two calls")
    phones.placed(live, "CA3")
    phones.pass_by(10 * 86_400)
    phones.tell(phones.placed(young, "CA4"), "CA4", "completed")
    phones.database.write(
        lambda c: c.exec_driver_sql("UPDATE call_events SET received_at = created_at FROM calls WHERE calls.id = 'a:0'")
    )
    phones.calls.prune(9)

    def left(column: Any) -> set[str]:
        return set(phones.database.read(lambda c: c.execute(select(column)).scalars().all()))

    assert left(calls.c.id) == {doubtful, live, young}
    assert left(call_attempts.c.call_id) == {doubtful, live, young}
    assert phones.database.read(lambda c: c.execute(select(func.count()).select_from(call_events)).scalar_one()) == 0
    assert sum(phones.member_states("a").values()) == 4


def test_for_how_long_a_country_is_refused_is_told_of_a_campaign_until_a_call_of_it_goes_there(phones: Phones):
    here = phones.campaign("here", ["+18761550100", "+18762550100", "+18772550100"])
    there = phones.campaign("there", ["+18763550100", "+18764550100"])

    def refused(call_id: str, code: int | None = 21215) -> None:
        phones.calls.ended_without_call(phones.granted(call_id), "not_taken", code, "permissions")

    def halted() -> list[float]:
        return [round(phones.calls.halted_seconds(name, "+1876"), -2) for name in ("here", "there")]

    refused(there[0])
    refused(here[0], 20429)
    refused(here[2])
    phones.pass_by(7200)
    assert halted() == [0, 7200], "another campaign, another reason, another country"
    refused(here[0])
    phones.pass_by(3600)
    refused(here[1])
    phones.tell(phones.placed(there[1], "CA0"), "CA0", "busy")
    phones.tell(phones.placed(here[2], "CA1"), "CA1", "completed")
    assert halted() == [3600, 0]
    phones.pass_by(3600)
    placed = phones.placed(here[0], "CA2")
    assert halted() == [0, 0]
    phones.tell(placed, "CA2", "busy")
    phones.pass_by(1200)
    refused(here[1])
    phones.pass_by(600)
    assert halted() == [600, 0]
