"""What follows the end of a call, row by row: done, over, or called again where somebody set that."""

from typing import Any

import pytest

from processors.call_interfaces import CallNext, EndedAttempt
from processors.call_outcomes import LONGEST_HALT_SECONDS, MOST_UNKNOWN, what_next

MANY = {
    "retry": {"max_attempts": 5, "busy_seconds": 300.0, "no_answer_seconds": 3600.0, "failed_seconds": 900.0}
}  # fmt: skip
BY_MACHINE = {"retry": {"max_attempts": 5, "machine": "retry", "no_answer_seconds": 3600.0}}


def follows(campaign: dict[str, Any] | None = None, attempts: int = 1, **told: Any) -> CallNext:
    """Return what follows an attempt that ended so."""
    given: dict[str, Any] = {"state": "ended", "status": None, "attempts": attempts, "untaken_seconds": 0.0} | told
    return what_next(EndedAttempt(**given), campaign)


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
def test_nobody_is_called_again_unless_that_was_set(status: str):
    for campaign in (None, {}, {"retry": None}):
        found = follows(campaign, status=status)
        assert (found.state, found.outcome) == ("failed", status)


@pytest.mark.parametrize(
    ("told", "wait"),
    [
        ({"status": "busy"}, 300.0),
        ({"status": "no-answer"}, 3600.0),
        ({"status": "failed"}, 900.0),
        ({"status": "failed", "sip_code": 503}, 900.0),
        ({"status": "canceled"}, 900.0),
    ],
)
def test_who_was_not_reached_is_called_again_after_what_was_set_for_that(told: dict[str, Any], wait: float):
    found = follows(MANY, **told)
    assert (found.state, found.wait, found.outcome) == ("waiting", wait, told["status"])


@pytest.mark.parametrize("status", ["busy", "no-answer"])
def test_attempts_end_at_their_number(status: str):
    assert follows(MANY, attempts=4, status=status).state == "waiting"
    assert follows(MANY, attempts=5, status=status).state == "exhausted"


@pytest.mark.parametrize("code", [404, 410, 484, 604, 603, 607, 608])
def test_a_number_that_is_none_or_wants_no_calls_is_not_called_again(code: int):
    assert follows(MANY, status="failed", sip_code=code).state == "failed"


@pytest.mark.parametrize(
    ("code", "most"), [(None, 2), (487, 2), (408, 3), (480, 3), (500, 3), (502, 3), (503, 3), (504, 3)]
)
def test_a_fault_of_a_network_is_tried_once_more_and_one_that_passes_twice(code: int | None, most: int):
    states = [follows(MANY, attempts=at, status="failed", sip_code=code).state for at in range(1, 5)]
    assert states == ["waiting"] * (most - 1) + ["exhausted"] * (5 - most)


@pytest.mark.parametrize("answered_by", [None, "human", "unknown"])
def test_who_answered_was_reached_however_short_it_was(answered_by: str | None):
    found = follows(MANY, status="completed", answered_by=answered_by, duration_seconds=1)
    assert (found.state, found.outcome) == ("done", "answered")


@pytest.mark.parametrize("answered_by", ["machine_start", "machine_end_beep", "machine_end_silence", "fax"])
def test_a_machine_is_the_end_or_one_more_call_as_it_was_set(answered_by: str):
    told = {"status": "completed", "answered_by": answered_by}
    assert follows(MANY, **told).state == "done"
    assert (follows(BY_MACHINE, **told).state, follows(BY_MACHINE, **told).wait) == ("waiting", 3600.0)
    assert follows(BY_MACHINE, attempts=2, **told).state == "done"


def test_a_call_that_somebody_here_ended_is_not_made_again():
    assert follows(MANY, status="canceled", asked_to_end=True).state == "cancelled"
    assert follows(MANY, status="completed", asked_to_end=True).state == "done", "somebody had answered"


def test_a_number_that_is_refused_is_final_but_for_one_more_try_where_a_carrier_may_be_at_fault():
    assert follows(MANY, state="refused", error_code=21211).state == "failed"
    for code in (21214, 13224):
        assert follows(None, state="refused", error_code=code).state == "failed"
        assert (
            follows(MANY, state="refused", error_code=code).wait,
            follows(MANY, state="refused", error_code=code).state,
        ) == (
            900.0,
            "waiting",
        )
        assert follows(MANY, attempts=2, state="refused", error_code=code).state == "failed"


def test_a_refusal_that_nobody_knows_burns_no_member_at_once_and_fails_a_single_call():
    for code in (99999, 400):
        first = follows({}, state="refused", error_code=code, refusals=1)
        assert (first.state, first.wait, first.counted) == ("waiting", 600.0, False)
        assert follows({}, attempts=5, state="refused", error_code=code, refusals=MOST_UNKNOWN).state == "failed"
        assert follows(None, state="refused", error_code=code, refusals=1).state == "failed"


@pytest.mark.parametrize("state", ["not_taken", "void"])
def test_an_order_that_made_no_call_is_made_again_for_a_day(state: str):
    assert follows(None, state=state).state == "waiting"
    assert follows(None, state=state, untaken_seconds=LONGEST_HALT_SECONDS).state == "failed"


def test_what_is_halted_for_everybody_burns_nobody_however_long_it_lasts():
    assert (
        follows(None, state="not_taken", error_code=20003, untaken_seconds=10 * LONGEST_HALT_SECONDS).state == "waiting"
    )
    assert follows(None, state="not_taken", error_code=21215, untaken_seconds=LONGEST_HALT_SECONDS).state == "failed"


def test_what_nobody_knows_is_not_made_again_by_itself():
    assert follows(MANY, state="ambiguous").state == "ambiguous"
