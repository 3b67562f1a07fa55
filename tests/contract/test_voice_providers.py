"""What every provider of phone calls does, shown on the one of tests and on Twilio's, which talks to the simulator."""

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.twilio_simulator import OUR_NUMBER, TwilioSimulator
from adapters.twilio_voice import TwilioVoiceService
from call_webhooks import ACCOUNT, TOKEN
from fake_provider import FakeProvider, error_of
from processors.call_errors import BY_CODE
from processors.call_interfaces import (
    CallInDoubt,
    CallNotFound,
    CallNotTaken,
    CallOrder,
    CallRefused,
    CallsHalted,
    VoiceProvider,
)
from processors.call_states import ENDS, RANKS

PERSON = "+15557770100"
NOBODY = "CA" + "f" * 32


@pytest.fixture(scope="module")
def simulator() -> Iterator[TwilioSimulator]:
    with TwilioSimulator(ACCOUNT, TOKEN, calls_per_second=1000, seed=1) as made:
        yield made


@pytest.fixture(params=["fake", "twilio"])
def provider(request: pytest.FixtureRequest) -> VoiceProvider:
    if request.param == "fake":
        return FakeProvider(ACCOUNT)
    simulator: TwilioSimulator = request.getfixturevalue("simulator")
    return TwilioVoiceService(ACCOUNT, TOKEN, base_url=simulator.url)


def order(to_number: str = PERSON, **more: Any) -> CallOrder:
    return CallOrder(to_number, OUR_NUMBER, twiml="<Response><Say>Hello</Say></Response>", **more)


def test_it_says_whose_calls_these_are_and_when_a_request_has_ended(provider: VoiceProvider):
    assert provider.account == ACCOUNT
    assert provider.deadline > 0


def test_a_call_that_was_ordered_is_found_by_its_name_and_by_its_numbers(provider: VoiceProvider):
    number = "+15557770111"
    placed = provider.create_call(order(number))
    assert placed.status in RANKS
    assert placed.queue_seconds >= 0
    seen = provider.fetch_call(placed.sid)
    assert (seen.sid, seen.to_number, seen.from_number) == (placed.sid, number, OUR_NUMBER)
    assert seen.direction.startswith("outbound")
    assert seen.created_at is not None
    assert seen.created_at.tzinfo is not None
    assert placed.sid in [one.sid for one in provider.list_calls(to_number=number, from_number=OUR_NUMBER)]
    assert provider.list_calls(to_number="+15557770122", from_number=OUR_NUMBER) == []


def test_two_orders_make_two_calls_which_are_listed_the_newest_first(provider: VoiceProvider):
    number = "+15557770133"
    sids = [provider.create_call(order(number)).sid for _ in range(2)]
    assert len(set(sids)) == 2
    assert {one.sid for one in provider.list_calls(to_number=number, from_number=OUR_NUMBER)} == set(sids)
    assert len(provider.list_calls(to_number=number, from_number=OUR_NUMBER, limit=1)) == 1


def test_a_call_is_ended_and_ending_it_again_is_no_error(provider: VoiceProvider):
    sid = provider.create_call(order("+15557770144")).sid
    first, second = provider.end_call(sid), provider.end_call(sid)
    assert first.status in ENDS
    assert second.status == first.status
    assert provider.fetch_call(sid).status in ENDS


def test_a_call_that_nobody_made_is_not_found(provider: VoiceProvider):
    for ask in (provider.fetch_call, provider.end_call):
        with pytest.raises(CallNotFound):
            ask(NOBODY)


KINDS = {"refused": CallRefused, "halted": CallsHalted, "not_taken": CallNotTaken, "in_doubt": CallInDoubt}


@pytest.mark.parametrize("code", [code for code in BY_CODE if code != 403])
def test_an_order_that_is_answered_by_a_code_says_what_it_means(provider: VoiceProvider, code: int):
    number = f"+1555{code:07}"
    with pytest.raises(tuple(KINDS.values())) as raised:
        provider.create_call(order(number))
    meaning = BY_CODE[code]
    error: Any = raised.value
    assert type(error) is KINDS[meaning.kind]
    expected: Any = error_of(code, meaning, number)
    for name in ("retry_once", "too_many_live", "known", "code"):
        assert getattr(error, name, None) == getattr(expected, name, None)
    assert (getattr(error, "country", None) is not None) == meaning.country
    assert number not in str(error)


def test_a_signature_of_somebody_else_is_not_taken(provider: VoiceProvider):
    for signature in ("", "nonsense", "=" * 28):
        assert not provider.is_authentic("https://calls.example.com/status", [("CallSid", NOBODY)], signature)
