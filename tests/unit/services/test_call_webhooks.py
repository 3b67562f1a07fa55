"""Calls from the order to the last callback: our web application and a simulated Twilio, which speak over HTTP."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.phone_simulator.callees import Callee
from adapters.phone_simulator.faults import Faults
from adapters.twilio_simulator import TwilioSimulator
from call_faults import web_application
from calling import ACCOUNT_SID, TOKEN, account, use
from config.settings import settings
from ports import free_port
from records.call_events import CallEvent
from services.celery_service import celery_service
from services.submission import submit_by_name
from services.testing import InlineService
from services.wiring import parts
from waiting import until

FAST = 100.0
PERSON, BUSY, NOBODY, MACHINE = "+15557770100", "+15557770001", "+15557770002", "+15557770004"
NUMBERS = [f"+1555782{at:04}" for at in range(1010, 1013)]
PRESSES_NINE, PRESSES_ONE, SAYS_YES = "+15557770007", "+15557770008", "+15557770009"


@pytest.fixture
def base(inline_service: InlineService) -> Iterator[str]:
    """The web application on a port of its own, with the records of this test."""
    with web_application() as url:
        yield url


@pytest.fixture
def twilio(base: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwilioSimulator]:
    with TwilioSimulator(ACCOUNT_SID, TOKEN, speed=FAST, calls_per_second=1_000, seed=1) as made:
        use(account(twilio_base_url=made.url, twilio_calls_per_second=100.0, webhook_base_url=base), monkeypatch)
        yield made


def called(service: InlineService, number: str, **arguments: object) -> str:
    """Return the id of a task whose call was ordered."""
    task_id = celery_service.queue_outbound_call(number, **arguments)
    service.run_due()
    return task_id


def ended(task_id: str) -> dict[str, object]:
    """Return what is known of a call once it is over, as callbacks alone told."""
    until(lambda: (story := parts().calls.story(task_id)) and story["ended_at"], what="the call has ended")
    found = parts().calls.story(task_id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("number", "state", "outcome"),
    [(PERSON, "done", "answered"), (BUSY, "failed", "busy"), (NOBODY, "failed", "no-answer")],
)
def test_a_calls_end_is_known_from_callbacks_alone(inline_service, twilio, number, state, outcome):
    task_id = called(inline_service, number, call_metadata={"message": "Hello."})
    found = ended(task_id)
    assert (found["state"], found["outcome"]) == (state, outcome)
    assert twilio.measures.callbacks_failed == 0
    assert twilio.measures.rung[number] == 1


FAULTS = {
    "reversed": Faults(reverse=True),
    "each five times": Faults(duplicate=1.0, copies=4, delay_spread=0.05),
    "shuffled": Faults(reorder=0.5, delay_spread=0.1),
    "only the last": Faults(only_completed=True),
    "two ends": Faults(two_terminals=True),
    "no numbers": Faults(no_sequence=True, no_duration=True),
    "strange status": Faults(unknown_status=True),
    "answer to the order lost": Faults(create="reset_made"),
    "answer to the order cut": Faults(create="cut"),
    "error to the order": Faults(create="error_made"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_becomes_of_messages_a_call_is_made_once_and_its_end_is_known(inline_service, twilio, fault):
    twilio.faults = FAULTS[fault]
    task_id = called(inline_service, PERSON, call_metadata={"message": "Hello."})
    found = ended(task_id)
    ends = {"two ends": "failed"}.get(fault, "completed")
    until(lambda: parts().calls.story(task_id)["tries"][0]["status"] == ends, what=f"it is {ends}")
    (attempt,) = parts().calls.story(task_id)["tries"]
    assert (attempt["state"], attempt["call_sid"]) == ("ended", twilio.calls[0].sid)
    assert twilio.measures.calls_by_attempt == Counter({attempt["id"]: 1})
    assert twilio.measures.rung[PERSON] == 1
    assert found["attempts"] == 1


def test_messages_of_another_account_and_forged_ones_end_nothing(inline_service, twilio):
    for fault in (Faults(wrong_account=True), Faults(signature="wrong"), Faults(signature="none")):
        twilio.faults = fault
        number = f"+155577701{len(twilio.calls) + 1:02}"
        task_id = called(inline_service, number, call_metadata={"message": "Hello."})
        until(lambda: twilio.measures.live_now == 0, what="the call is over")
        failed = 4 * len(twilio.calls)
        until(lambda failed=failed: twilio.measures.callbacks_failed >= failed, what="nothing was taken")
        if fault.signature != "right":
            assert parts().calls.story(task_id)["tries"][0]["status"] == "queued"
        assert parts().calls.story(task_id)["state"] == "dialing"


def test_keys_and_words_are_heard_and_a_nine_ends_all_calls_to_a_number(inline_service, twilio):
    plan = {"delay_between_calls": 0, "opt_out_prompt": "Press 9 to stop.", "call_metadata": {"gather_input": True}}
    campaign = celery_service.queue_bulk_calls([PRESSES_NINE, PRESSES_ONE, SAYS_YES], **plan)
    for _ in range(400):
        inline_service.run_due()
        found = celery_service.get_campaign(campaign)
        if found["counts"].get("done") == 3:
            break
        inline_service.advance(1)
    heard = {one["phone_number"]: one["heard"] for one in celery_service.get_campaign(campaign)["members"]}
    assert heard[PRESSES_NINE] == [{"digits": "9"}]
    assert heard[PRESSES_ONE] == [{"digits": "1"}]
    assert heard[SAYS_YES] == [{"speech": "yes", "confidence": 0.93}]
    assert parts().opt_outs.among([PRESSES_NINE, PRESSES_ONE, SAYS_YES]) == {PRESSES_NINE}
    again = celery_service.queue_bulk_calls([PRESSES_NINE], delay_between_calls=0)
    inline_service.advance(5)
    assert celery_service.get_campaign(again)["counts"] == {"opted_out": 1}
    assert twilio.measures.rung[PRESSES_NINE] == 1


def test_a_machine_hears_nothing_where_it_is_to_be_hung_up_on(inline_service, twilio):
    task_id = called(inline_service, MACHINE, detection="hang_up", call_metadata={"message": "For people."})
    found = ended(task_id)
    assert (found["outcome"], found["answered_by"]) == ("machine", "machine_start")


def test_who_calls_us_is_recorded_where_that_is_set(inline_service, twilio, base, monkeypatch):
    monkeypatch.setattr(settings, "call_inbound", "voicemail")
    call = twilio.incoming(f"{base}/api/v1/twilio/incoming-call", from_number=PERSON, callee=Callee(keys="9"))
    until(lambda: twilio.measures.live_now == 0, what="the call is over")

    def kinds() -> list[str]:
        return [one["kind"] for one in parts().call_events.of_call(call.sid)]

    until(lambda: "recording" in kinds(), what="the recording was told")
    assert not parts().opt_outs.has(PERSON)


def test_calls_that_ring_talk_and_end_while_webhooks_are_down_are_known_once_they_are_back(inline_service, monkeypatch):
    port, long = free_port(), Callee(rings=300.0)
    callees = {NUMBERS[0]: Callee(), NUMBERS[1]: long, NUMBERS[2]: Callee()}
    with TwilioSimulator(
        ACCOUNT_SID, TOKEN, speed=FAST, calls_per_second=1_000, seed=1, magic=False, callees=callees.__getitem__
    ) as twilio:
        base = f"http://127.0.0.1:{port}"
        use(account(twilio_base_url=twilio.url, twilio_calls_per_second=100.0, webhook_base_url=base), monkeypatch)
        campaign = celery_service.queue_bulk_calls(NUMBERS, max_concurrent_calls=2, delay_between_calls=0,
                                                   ring_seconds=600)  # fmt: skip
        inline_service.advance(1)
        until(lambda: twilio.calls[0].ended and twilio.calls[1].status == "ringing", what="nobody takes what is told")
        assert twilio.measures.callbacks_failed > 0
        assert celery_service.get_campaign(campaign)["live_calls"] == 2, "a place is kept until Twilio says it is free"
        with web_application(port):
            assert not twilio.calls[1].ended
            until(lambda: twilio.calls[1].ended, what="the second call is over")
            until(lambda: celery_service.get_campaign(campaign)["live_calls"] == 1, what="its end was told")
            for _ in range(30):
                inline_service.advance(60)
                submit_by_name("monitoring.follow_calls", {}, queue="twilio_calls", origin="test")
                inline_service.run_due()
                if "pending" not in celery_service.get_campaign(campaign)["counts"]:
                    break
    assert celery_service.get_campaign(campaign)["counts"] == {"done": 3}
    assert twilio.measures.rung == dict.fromkeys(NUMBERS, 1)


@pytest.mark.parametrize("kind", ["answer", "status"])
def test_a_webhook_that_is_slower_than_twilio_waits_costs_no_second_call_and_holds_nothing_up(
    inline_service, twilio, monkeypatch, kind
):
    monkeypatch.setattr("adapters.phone_simulator.webhooks.BUDGET_SECONDS", 0.3)  # Twilio's are 15
    go, held, receive = threading.Event(), [], parts().call_events.receive

    def slow(event: CallEvent, waits: Any) -> Any:
        if event.kind == kind and not held:
            held.append(event.dedupe_key)
            go.wait(60)
        return receive(event, waits)

    monkeypatch.setattr(parts().call_events, "receive", slow)
    try:
        task_id = called(inline_service, PERSON, call_metadata={"message": "Hello."})
        found = ended(task_id)
        assert not go.is_set()
        gave_up = "11200" if kind == "answer" else "15003"
        assert any(gave_up in what for _, what in twilio.calls[0].history), twilio.calls[0].history
    finally:
        go.set()
    until(lambda: any(one["dedupe_key"] == held[0] for one in parts().call_events.of_call(twilio.calls[0].sid)),
          what="the slow one is kept, late")  # fmt: skip
    inline_service.advance(600)
    late = parts().calls.story(task_id)
    assert (late["state"], late["outcome"], late["attempts"]) == (found["state"], found["outcome"], 1)
    assert late["tries"][0]["status"] == "completed"
    assert twilio.measures.rung == {PERSON: 1}
    assert twilio.measures.posts == 1
