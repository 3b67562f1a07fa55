"""One order for one call, at most, whatever goes wrong; and what comes of it is remembered."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from calling import Office
from fake_provider import NOT_NOW, error_of
from processors import doubt
from processors.call_errors import BY_CODE
from processors.call_interfaces import CallInDoubt, CallNotTaken, CallRefused, CallsHalted, Granted, NoRoom
from processors.dialing import HALT_SECONDS, LONGEST_REST_SECONDS, NOT_TAKEN_SECONDS, dial, hang_up_seconds
from processors.errors import Cancelled
from processors.order_pace import OrderPace

NUMBER = "+15557771000"


ERRORS: dict[str, tuple[BaseException, str, type[Exception]]] = {
    "refused": (CallRefused("no such number", 21211), "refused", CallRefused),
    "halted": (CallsHalted("login", 20003), "not_taken", CallsHalted),
    "a country": (CallsHalted("permissions", 21215, country="1555"), "not_taken", CallsHalted),
    "busy": (CallNotTaken("429", 7.0), "not_taken", CallNotTaken),
    "too many live": (CallNotTaken("10004", too_many_live=True), "not_taken", CallNotTaken),
    "in doubt": (CallInDoubt("500"), "unknown", CallInDoubt),
    "time-out": (TimeoutError(), "unknown", CallInDoubt),
    "reset": (ConnectionResetError("reset"), "unknown", CallInDoubt),
    "a bug": (KeyError("sid"), "unknown", CallInDoubt),
    "time limit": (SoftTimeLimitExceeded(), "unknown", CallInDoubt),
    "cancelled": (Cancelled("the task was cancelled"), "unknown", Cancelled),
    "transient": (NOT_NOW, "unknown", CallInDoubt),
}


@pytest.mark.parametrize("what", ERRORS)
@pytest.mark.parametrize("made", [False, True])
def test_an_attempt_is_ordered_once_whatever_error_comes(office: Office, what: str, made: bool):
    error, state, raised = ERRORS[what]
    office.provider.answers.append(("made", error) if made else error)
    call_id = office.phones.single("t", NUMBER)
    attempt_id = office.dial(call_id)
    assert type(office.error) is raised
    assert len(office.provider.orders) == 1
    row = office.phones.attempt(attempt_id)
    assert row.state == state
    assert row.error
    if state == "unknown":
        assert not isinstance(office.phones.grant(call_id), Granted), "nobody orders what may be a call"


@pytest.mark.parametrize("code", BY_CODE)
def test_every_code_of_an_order_moves_its_call_as_the_table_says(office: Office, code: int):
    meaning = BY_CODE[code]
    office.provider.answers.append(error_of(code, meaning, NUMBER))
    (call_id,) = office.phones.campaign("a", [NUMBER])
    attempt = office.phones.attempt(office.dial(call_id))
    expected = {
        "refused": ("refused", "failed", 1),
        "halted": ("not_taken", "waiting", 0),
        "not_taken": ("not_taken", "waiting", 0),
        "in_doubt": ("unknown", "dialing", 1),
    }[meaning.kind]
    call = office.phones.call(call_id)
    assert (attempt.state, call.state, call.attempts) == expected
    assert attempt.error_code == (code if meaning.kind in {"refused", "halted"} else None)


def test_a_call_that_was_made_is_remembered_with_its_name_and_its_limits(office: Office):
    office.provider.queue_seconds = 1.5
    attempt_id = office.dial(office.phones.single("t", NUMBER))
    row = office.phones.attempt(attempt_id)
    assert row.call_sid in office.provider.calls
    assert (row.state, row.status, row.queue_seconds) == ("placed", "queued", 1.5)
    (order,) = office.provider.orders
    limit = hang_up_seconds(order.ring_seconds, order.limit_seconds, 1.5)
    assert 0 <= limit - (row.hang_up_at - row.placed_at).total_seconds() < 5
    assert 85 < (row.look_at - row.placed_at).total_seconds() <= 91.5, "nobody asks while it may ring"


def test_an_order_that_would_begin_after_its_time_is_not_made(office: Office):
    call_id = office.phones.single("t", NUMBER)
    attempt_id = office.phones.granted(call_id)
    late = Granted(attempt_id, doubt.clock() - doubt.BEGIN_SECONDS)
    with pytest.raises(CallNotTaken, match="too long"):
        dial(office.line, late, office.order(call_id, attempt_id), lambda _: True)
    assert office.provider.orders == []
    assert office.phones.attempt(attempt_id).state == "not_taken"
    assert office.phones.call(call_id).state == "waiting"


def test_an_order_that_waited_past_its_time_behind_others_is_not_made(office: Office, monkeypatch: pytest.MonkeyPatch):
    call_id = office.phones.single("t", NUMBER)
    granted = Granted(office.phones.granted(call_id), doubt.clock())
    now = doubt.clock()

    def wait(_: float) -> None:
        monkeypatch.setattr(doubt, "clock", lambda: now + doubt.BEGIN_SECONDS)

    slow = replace(office.line, gate=replace(office.gate, gap_seconds=60.0), pace=OrderPace(sleep=wait))
    slow.pace.wait(60.0)
    with pytest.raises(CallNotTaken, match="too long"):
        dial(slow, granted, office.order(call_id, granted.attempt_id), lambda _: True)
    assert office.provider.orders == []


def test_an_order_that_is_too_late_takes_no_turn_from_the_next_one(office: Office):
    call_id = office.phones.single("t", NUMBER)
    late = Granted(office.phones.granted(call_id), doubt.clock() - doubt.BEGIN_SECONDS)
    slow = replace(
        office.line,
        gate=replace(office.gate, gap_seconds=60.0),
        pace=OrderPace(sleep=lambda seconds: pytest.fail(f"waited {seconds} s")),
    )
    with pytest.raises(CallNotTaken, match="too long"):
        dial(slow, late, office.order(call_id, late.attempt_id), lambda _: True)
    granted = Granted(office.phones.granted(call_id), doubt.clock())
    dial(slow, granted, office.order(call_id, granted.attempt_id), lambda _: True)
    assert len(office.provider.orders) == 1


@pytest.mark.parametrize("error", [SoftTimeLimitExceeded(), Cancelled("no more")])
def test_an_order_that_is_interrupted_in_its_wait_keeps_no_place_and_no_number(office: Office, error: Exception):
    def wait(_: float) -> None:
        raise error

    slow = replace(office.line, gate=replace(office.gate, gap_seconds=60.0), pace=OrderPace(sleep=wait))
    slow.pace.wait(60.0)
    call_id = office.phones.single("t", NUMBER)
    granted = Granted(office.phones.granted(call_id), doubt.clock())
    with pytest.raises(type(error)):
        dial(slow, granted, office.order(call_id, granted.attempt_id), lambda _: True)
    assert office.phones.attempt(granted.attempt_id).state == "not_taken"
    assert office.phones.call(call_id).state == "waiting"
    office.dial(call_id)
    assert len(office.provider.orders) == 1


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_process_that_ends_in_the_order_leaves_an_attempt_that_is_looked_for(office: Office, end: Any):
    office.provider.answers.append(("made", end()))
    call_id = office.phones.single("t", NUMBER)
    attempt_id = office.phones.granted(call_id)
    with pytest.raises(end):
        dial(office.line, Granted(attempt_id, doubt.clock()), office.order(call_id, attempt_id), lambda _: True)
    assert office.phones.attempt(attempt_id).state == "sending"
    assert office.follow(1) == 0, "the order may still be going on"
    assert office.follow(30) == 1
    assert office.phones.attempt(attempt_id).state == "placed"
    assert len(office.provider.orders) == 1


def test_a_message_that_comes_before_the_answer_names_the_call(office: Office):
    (call_id,) = office.phones.campaign("a", [NUMBER])
    attempt_id = office.phones.granted(call_id)
    create = office.provider.create_call

    def slow(order: Any) -> Any:
        placed = create(order)
        office.phones.tell(attempt_id, placed.sid, "completed", sequence=3)
        return placed

    office.provider.create_call = slow
    dial(office.line, Granted(attempt_id, doubt.clock()), office.order(call_id, attempt_id), lambda _: True)
    assert office.phones.attempt(attempt_id).state == "ended"
    assert office.phones.call(call_id).state == "done"


def test_a_call_whose_attempt_was_given_up_before_the_answer_came_is_ended(office: Office):
    (call_id,) = office.phones.campaign("a", [NUMBER])
    create, begun = office.provider.create_call, list[str]()

    def frozen(order: Any) -> Any:
        placed = create(order)
        office.phones.calls.ended_without_call(begun[0], "void", None, "not found")
        return placed

    office.provider.create_call = frozen
    begun.append(office.phones.granted(call_id))
    with pytest.raises(CallNotTaken, match="given up"):
        dial(office.line, Granted(begun[0], doubt.clock()), office.order(call_id, begun[0]), lambda _: True)
    assert office.provider.live() == []
    assert office.phones.attempt(begun[0]).state == "void"
    assert office.phones.call(call_id).state == "waiting"


def _wait(office: Office, number: str) -> tuple[str, float]:
    answer = office.phones.grant(office.phones.single(f"t{number}", number))
    assert isinstance(answer, NoRoom)
    return answer.why, answer.wait


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (CallNotTaken("429", 33.0), 33.0),
        (CallNotTaken("10004"), None),
        (CallNotTaken("503", 1e12), LONGEST_REST_SECONDS),  # no time of a database
    ],
)
def test_an_account_that_takes_nothing_is_left_alone_for_as_long_as_it_asks(
    office: Office, error: CallNotTaken, seconds: float | None
):
    office.provider.answers.append(error)
    office.dial(office.phones.single("t", NUMBER))
    why, wait = _wait(office, "+15557771001")
    wanted = seconds or NOT_TAKEN_SECONDS
    assert why == "pace"
    assert wanted - 5 < wait <= wanted


def test_a_country_that_is_not_allowed_is_left_alone_and_others_are_called(office: Office):
    office.provider.answers.append(CallsHalted("permissions", 21215, country="1876"))
    office.dial(office.phones.single("t", "+18765550100"))
    why, wait = _wait(office, "+18765550111")
    assert why == "halted"
    assert HALT_SECONDS - 60 < wait <= HALT_SECONDS
    office.dial(office.phones.single("u", NUMBER))
    assert office.error is None


def test_a_provider_whose_queue_grows_gets_nothing_until_it_has_caught_up(office: Office):
    office.provider.queue_seconds = 90.0
    office.dial(office.phones.single("t", NUMBER))
    why, wait = _wait(office, "+15557771001")
    assert why == "pace"
    assert 80 < wait <= 90


def _until(seconds: float) -> Callable[[float], bool]:
    return lambda waits: waits <= seconds


def test_a_call_that_would_ring_after_its_hours_is_taken_back_and_made_another_time(office: Office):
    office.provider.queue_seconds = 90.0
    (call_id,) = office.phones.campaign("a", [NUMBER])
    attempt_id = office.dial(call_id, _until(60))
    assert isinstance(office.error, CallNotTaken)
    assert office.provider.live() == []
    assert office.phones.attempt(attempt_id).state == "void"
    call = office.phones.call(call_id)
    assert (call.state, call.attempts) == ("waiting", 0)
    office.phones.pass_by(91)
    office.dial(call_id, _until(100))
    assert office.error is None


@pytest.mark.parametrize("fault", ["missing", "away", "answered"])
def test_a_call_that_cannot_be_taken_back_is_followed_and_ended(office: Office, fault: str):
    office.provider.queue_seconds = 90.0
    provider, end_call = office.provider, office.provider.end_call

    def fails(sid: str) -> Any:
        if fault == "answered":
            return replace(provider.calls[sid], status="in-progress")
        provider.reads = NOT_NOW if fault == "away" else None
        provider.missing = {sid} if fault == "missing" else set()
        return end_call(sid)

    provider.end_call = fails
    attempt_id = office.dial(office.phones.single("t", NUMBER), _until(60))
    assert office.error is None
    assert office.phones.attempt(attempt_id).state == "placed"
    provider.end_call, provider.reads, provider.missing = end_call, None, set()
    assert office.follow(10) == 1
    assert provider.live() == []
    assert office.phones.attempt(attempt_id).state == "ended"


def test_what_is_written_is_written_until_it_is(office: Office):
    tried: list[int] = []

    def persist(write: Callable[[], object]) -> object:
        tried.append(1)
        return write()

    office.line = replace(office.line, persist=persist)
    office.dial(office.phones.single("t", NUMBER))
    office.provider.answers.append(CallNotTaken("429"))
    office.dial(office.phones.single("u", "+15557771002"))
    assert len(tried) == 3, "each write of what came of an order, and the account's rest"
