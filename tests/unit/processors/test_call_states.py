"""A call's state is what was told of it in all, whatever came first, twice or late."""

from dataclasses import replace
from functools import reduce
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.call_states import BY_FETCH, ENDS, HEARD_BY, RANKS, CallProgress, merged

NOTHING = CallProgress()
NUMBERS = st.none() | st.integers(0, 4)
EVENTS = st.builds(
    CallProgress,
    status=st.none() | st.sampled_from([*RANKS, *ENDS, "cancelled", "CANCELED", "transferred", ""]),
    sequence=NUMBERS,
    answered_by=st.none() | st.sampled_from([*HEARD_BY, "parrot", "ghost"]),
    duration_seconds=NUMBERS,
    sip_code=st.none() | st.sampled_from([200, 404, 486, 487, 503]),
)


def told(*events: CallProgress) -> CallProgress:
    return reduce(merged, events, NOTHING)


@settings(print_blob=True)
@given(st.data())
def test_order_repetition_and_delay_of_messages_change_nothing(data: st.DataObject):
    events = data.draw(st.lists(EVENTS, max_size=7))
    repeated = events + (data.draw(st.lists(st.sampled_from(events), max_size=5)) if events else [])
    assert told(*data.draw(st.permutations(repeated))) == told(*events)


@settings(print_blob=True)
@given(st.lists(EVENTS, max_size=7))
def test_a_status_only_goes_up_and_an_end_stays_one(events: list[CallProgress]):
    ranks = RANKS | dict.fromkeys(ENDS, len(RANKS))
    known = NOTHING
    for event in events:
        after = merged(known, event)
        assert ranks.get(after.status or "", -1) >= ranks.get(known.status or "", -1)
        assert after.ended or not known.ended
        known = after


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_whole_call_is_completed_in_whatever_order_it_is_told(order: tuple[int, ...]):
    steps = [CallProgress(status, at) for at, status in enumerate(("initiated", "ringing", "in-progress", "completed"))]
    steps[3] = replace(steps[3], duration_seconds=31, sip_code=200)
    found = told(*(steps[at] for at in order))
    assert (found.status, found.sequence, found.duration_seconds, found.sip_code) == ("completed", 3, 31, 200)
    assert not found.disputed


def test_of_two_ends_the_later_message_counts_with_its_own_code_and_the_call_is_disputed():
    failed, completed = CallProgress("failed", 2, sip_code=503), CallProgress("completed", 3, sip_code=200)
    for found in (told(failed, completed), told(completed, failed)):
        assert (found.status, found.sip_code, found.disputed) == ("completed", 200, True)


def test_the_providers_own_record_decides_between_two_ends():
    found = told(CallProgress("failed", 4), CallProgress("busy", BY_FETCH), CallProgress("completed", 5))
    assert found.status == "busy"


def test_both_spellings_of_cancelled_are_one_end():
    assert told(CallProgress("cancelled", 1)) == told(CallProgress("canceled", 1))
    assert told(CallProgress("cancelled", 1)).ended


@pytest.mark.parametrize("status", ["transferred", "", "ENDED"])
def test_a_status_that_nobody_knows_ends_and_moves_nothing(status: str):
    assert told(CallProgress("ringing", 1), CallProgress(status, 9)).status == "ringing"
    assert not told(CallProgress(status, 9)).ended
