"""What became of a call is found out at the provider, where no message came or an answer was lost."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from call_rows import OURS
from calling import Office
from fake_provider import NOT_NOW
from processors.call_following import LONGEST_WAIT_SECONDS, LOST_SECONDS, REFUSED_SECONDS
from processors.call_interfaces import CallInDoubt, CallsHalted, Granted
from processors.errors import TransientError

NUMBER = "+15557771000"
LOST = CallInDoubt("the answer was lost")


def lost(office: Office, *, made: bool) -> tuple[str, str]:
    """Return a campaign's call and its attempt, whose answer was lost."""
    (call_id,) = office.phones.campaign("a", [NUMBER])
    office.provider.answers.append(("made", LOST) if made else LOST)
    return call_id, office.dial(call_id)


def state(office: Office, attempt_id: str) -> str:
    return office.phones.attempt(attempt_id).state


def test_a_call_whose_answer_was_lost_is_found_in_the_list_though_that_is_a_minute_late(office: Office):
    call_id, attempt_id = lost(office, made=True)
    (sid,) = office.provider.calls
    office.provider.hidden = {sid}
    office.follow(31)
    assert state(office, attempt_id) == "unknown"
    office.provider.hidden = set()
    office.follow(121)
    assert office.phones.attempt(attempt_id).call_sid == sid
    office.provider.end(sid, "completed")
    office.follow(200)
    assert office.phones.call(call_id).state == "done"
    assert len(office.provider.orders) == 1


def test_nothing_is_concluded_while_an_order_may_still_be_going_on(office: Office):
    (call_id,) = office.phones.campaign("a", [NUMBER])
    attempt_id = office.phones.granted(call_id)  # whoever was granted it died
    assert office.phones.calls.take_looks(10, older_than=0)
    office.phones.database.write(lambda c: c.exec_driver_sql("UPDATE call_attempts SET look_at = sending_at"))
    office.follow()
    assert office.provider.looks["list"] == 0
    assert state(office, attempt_id) == "sending"
    office.follow(30)
    assert office.provider.looks["list"] == 1
    assert state(office, attempt_id) == "unknown"


def test_an_order_that_is_listed_nowhere_three_times_over_five_minutes_is_void_and_made_again(office: Office):
    call_id, attempt_id = lost(office, made=False)
    seconds = 0
    while state(office, attempt_id) != "void":
        assert office.phones.call(call_id).state == "dialing", "nobody is called meanwhile"
        office.follow(20)
        seconds += 20
        assert seconds <= 600
    assert seconds >= 300
    assert office.provider.looks["list"] >= 3
    office.phones.pass_by(2)
    office.dial(call_id)
    assert len(office.provider.orders) == 2
    assert office.provider.rung()[NUMBER] == 1


def test_two_calls_that_may_be_it_are_ambiguous_and_the_number_is_never_called_again_by_itself(office: Office):
    call_id, attempt_id = lost(office, made=True)
    office.provider.add(NUMBER, OURS, status="completed")
    office.provider.end(next(iter(office.provider.calls)), "busy")
    office.follow(31)
    row = office.phones.attempt(attempt_id)
    assert row.state == "ambiguous"
    assert all(sid in row.error for sid in office.provider.calls)
    assert office.phones.member(call_id).state == "ambiguous"
    for _ in range(5):
        office.follow(86_400)
        assert not isinstance(office.phones.grant(call_id), Granted)
    assert len(office.provider.orders) == 1


def test_two_calls_that_may_be_it_keep_their_number_until_both_are_over(office: Office):
    _, attempt_id = lost(office, made=True)
    (ours,) = office.provider.calls
    another = office.provider.add(NUMBER, OURS, status="completed")
    second = office.phones.single("t", NUMBER)
    for seconds in (31, 600, 600, 600):
        office.follow(seconds)
        assert state(office, attempt_id) == "unknown"
        assert office.phones.grant(second).why == "number"
    office.provider.end(ours)
    office.provider.move(another, "in-progress")
    office.follow(600)
    assert office.phones.grant(second).why == "number"
    office.provider.end(another)
    office.follow(600)
    assert state(office, attempt_id) == "ambiguous"
    assert isinstance(office.phones.grant(second), Granted)


def test_of_two_calls_that_go_on_the_one_that_is_told_to_be_ours_is_followed(office: Office):
    call_id, attempt_id = lost(office, made=True)
    (ours,) = office.provider.calls
    office.provider.add(NUMBER, OURS)
    office.follow(31)
    office.phones.tell(attempt_id, ours, "ringing")
    assert state(office, attempt_id) == "placed"
    office.provider.end(ours)
    office.follow(600)
    assert office.phones.call(call_id).state == "done"


def test_two_calls_that_never_end_are_for_a_person_after_two_days(office: Office):
    _, attempt_id = lost(office, made=True)
    office.provider.add(NUMBER, OURS)
    office.follow(LOST_SECONDS)
    assert state(office, attempt_id) == "ambiguous"


@pytest.mark.parametrize(
    "other",
    [{"direction": "inbound"}, {"created_at": datetime.now(UTC) - timedelta(hours=1)}],
    ids=["inbound", "old"],
)
def test_a_call_that_cannot_be_it_is_not_taken_for_it(office: Office, other: dict[str, Any]):
    _, attempt_id = lost(office, made=False)
    office.provider.add(NUMBER, OURS, **other)
    office.follow(31)
    assert state(office, attempt_id) == "unknown"


def test_a_call_of_another_attempt_is_not_taken_for_it(office: Office):
    first = office.dial(office.phones.single("t", NUMBER))
    office.provider.end(str(office.phones.attempt(first).call_sid), "busy")
    office.follow(100)
    _, attempt_id = lost(office, made=False)
    office.follow(31)
    assert state(office, attempt_id) == "unknown"


def test_a_call_that_is_not_found_for_a_while_is_asked_for_again(office: Office):
    (call_id,) = office.phones.campaign("a", [NUMBER])
    attempt_id = office.dial(call_id)
    (sid,) = office.provider.calls
    office.provider.missing = {sid}
    office.follow(91)
    assert state(office, attempt_id) == "placed"
    office.provider.missing = set()
    office.provider.end(sid, "no-answer")
    office.follow(31)
    assert office.phones.call(call_id).state == "failed"


def test_a_call_that_is_unknown_for_two_days_is_for_a_person(office: Office):
    (call_id,) = office.phones.campaign("a", [NUMBER])
    attempt_id = office.dial(call_id)
    office.provider.missing = set(office.provider.calls)
    office.follow(LOST_SECONDS - 100)
    assert state(office, attempt_id) == "placed"
    office.follow(700)
    assert state(office, attempt_id) == "ambiguous"
    assert office.phones.call(call_id).state == "ambiguous"


def test_a_call_that_lasts_longer_than_it_may_is_ended(office: Office):
    (call_id,) = office.phones.campaign("a", [NUMBER])
    office.dial(call_id)
    (sid,) = office.provider.calls
    office.provider.move(sid, "in-progress")
    office.follow(1_000)
    assert office.provider.ended == []
    office.follow(3_000)
    assert office.provider.ended == [sid]
    assert office.phones.call(call_id).state == "done"


def test_every_call_ends_in_bounded_time_though_no_message_ever_comes(office: Office):
    ids = office.phones.campaign("a", [f"+1555777{at:04}" for at in range(1000, 1012)])
    ends = ["completed", "busy", "no-answer", "failed", "canceled", "lost"]
    for at, call_id in enumerate(ids):
        if ends[at % 6] == "lost":
            office.provider.answers.append(("made", LOST))
        office.dial(call_id)
    for at, sid in enumerate(list(office.provider.calls)):
        office.provider.end(sid, "completed" if ends[at % 6] == "lost" else ends[at % 6])
    for _ in range(10):
        office.follow(60)
    assert office.phones.calls.live() == 0
    assert office.phones.member_states("a") == {"done": 4, "failed": 8}


def test_a_provider_that_tells_nothing_by_itself_is_asked_every_few_seconds(office: Office):
    told = Office(office.phones.database, polls=True)
    attempt_id = told.dial(told.phones.single("t", NUMBER))
    for looks in range(1, 4):
        assert told.follow(6) == 1
        assert told.phones.attempt(attempt_id).looks == looks


def test_looks_become_rarer_where_messages_come(office: Office):
    attempt_id = office.dial(office.phones.single("t", NUMBER))
    office.provider.move(next(iter(office.provider.calls)), "in-progress")
    waits = []
    office.phones.pass_by(100)
    for _ in range(7):
        office.follow()
        row = office.phones.attempt(attempt_id)
        waits.append((row.look_at - office.phones.calls.now()).total_seconds())
        office.phones.pass_by(waits[-1] + 0.1)
    assert [round(one, -1) for one in waits] == [30, 60, 120, 240, 480, 600, 600]


@pytest.mark.parametrize(
    ("asked", "wait"),
    [(None, REFUSED_SECONDS), (90.0, 90.0), (86_400.0, LONGEST_WAIT_SECONDS), (1e12, LONGEST_WAIT_SECONDS)],
)
def test_a_provider_that_refuses_to_be_asked_is_asked_again_within_minutes_whatever_it_says(
    office: Office, asked: float | None, wait: float
):
    attempt_id = office.dial(office.phones.single("t", NUMBER))
    office.provider.reads = TransientError("503", asked)
    office.follow(100)
    row = office.phones.attempt(attempt_id)
    assert wait - 5 < (row.look_at - office.phones.calls.now()).total_seconds() <= wait


def test_a_login_that_is_refused_moves_no_call(office: Office):
    attempt_id = office.dial(office.phones.single("t", NUMBER))
    office.provider.reads = CallsHalted("login", 20003)
    before = state(office, attempt_id)
    with pytest.raises(CallsHalted):
        office.follow(100)
    assert state(office, attempt_id) == before
    office.provider.reads = None
    office.provider.end(next(iter(office.provider.calls)), "completed")
    office.follow(61)
    assert state(office, attempt_id) == "ended"


def test_a_provider_that_does_not_answer_keeps_nobody_else_from_being_looked_at(office: Office):
    first, second = (office.dial(office.phones.single(f"t{at}", f"{NUMBER[:-1]}{at}")) for at in range(2))
    fetch, sid = office.provider.fetch_call, office.phones.attempt(first).call_sid

    def away(asked: str) -> Any:
        if asked == sid:
            raise NOT_NOW
        return fetch(asked)

    office.provider.fetch_call = away
    for one in office.provider.calls:
        office.provider.end(one, "completed")
    office.follow(100)
    assert (state(office, first), state(office, second)) == ("placed", "ended")
    office.provider.fetch_call = fetch
    office.follow(61)
    assert state(office, first) == "ended"
