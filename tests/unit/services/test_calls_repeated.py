"""Phone calls: nobody is rung twice by any way of repeating a call, and no campaign is lost for a setting."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import calling
from config.settings import settings
from processors.call_interfaces import CallInDoubt, CallsHalted
from processors.errors import InvalidArgument, TaskFailed
from services import call_webhooks
from services.call_webhooks import Told
from services.celery_service import celery_service
from services.wiring import parts

OURS, OTHER = "+15005550006", "+15005550009"
NUMBERS = [f"+1555779{at:04}" for at in range(1000, 1030)]
LOST = CallInDoubt("the answer was lost")


class Desk(calling.Desk):
    """What is looked at and repeated beside."""

    def rung(self, number: str) -> int:
        """Return how often a number was ordered."""
        return sum(order.to_number == number for order in self.provider.orders)

    def ambiguous(self) -> str:
        """Return a task of whose call nobody knows which of two it is."""
        self.provider.answers.append(("made", LOST))
        task_id = celery_service.queue_outbound_call(NUMBERS[0])
        self.run()
        self.provider.add(NUMBERS[0], OURS)
        for _ in range(12):
            self.follow(60)
        assert celery_service.get_task_status(task_id)["status"] == "FAILURE"
        return task_id

    def retry_all(self) -> dict[str, list[Any]]:
        """Retry all calls that failed, as an operator does."""
        asked = celery_service.retry_failed_tasks(task_types=["twilio_calls"])
        self.run()
        retried: dict[str, list[Any]] = celery_service.get_task_result(asked, timeout=0)
        self.run(60)
        return retried


@pytest.fixture
def desk(desk: calling.Desk) -> Desk:
    return Desk(desk.service, desk.provider)


def test_a_call_that_a_person_said_was_made_is_not_made_again_with_all_that_failed(desk: Desk):
    task_id = desk.ambiguous()
    (doubt,) = celery_service.get_effects_in_doubt()
    celery_service.settle_effect(doubt["key"], next(iter(desk.provider.calls)))
    retried = desk.retry_all()
    assert retried["retried"] == []
    assert [one["task_id"] for one in retried["skipped"]] == [task_id]
    assert desk.rung(NUMBERS[0]) == 1
    with pytest.raises(InvalidArgument, match="was answered"):
        celery_service.replay_task(task_id)


def test_a_call_that_was_repeated_with_success_is_not_made_again_with_all_that_failed(desk: Desk):
    desk.provider.answers.extend([CallsHalted("the login is refused", 20003)] * 4)
    task_id = celery_service.queue_outbound_call(NUMBERS[0])
    desk.run(3600)
    assert celery_service.get_task_status(task_id)["status"] == "FAILURE"
    before = desk.rung(NUMBERS[0])
    again = celery_service.retry_failed_call(task_id, NUMBERS[0], retry_delay=0)
    desk.run(1)
    desk.follow()
    assert celery_service.get_task_result(again, timeout=0)["success"]
    assert desk.retry_all()["retried"] == []
    assert desk.rung(NUMBERS[0]) == before + 1


def test_a_call_that_was_made_with_all_that_failed_is_not_repeated_beside_that(desk: Desk):
    desk.provider.answers.extend([CallsHalted("the login is refused", 20003)] * 4)
    task_id = celery_service.queue_outbound_call(NUMBERS[0])
    desk.run(3600)
    assert len(desk.retry_all()["retried"]) == 1
    desk.follow()
    before = desk.rung(NUMBERS[0])
    again = celery_service.retry_failed_call(task_id, NUMBERS[0], retry_delay=0)
    desk.run(1)
    with pytest.raises(TaskFailed, match="was answered"):
        celery_service.get_task_result(again, timeout=0)
    assert desk.rung(NUMBERS[0]) == before


def test_of_a_replay_and_a_repetition_that_begin_at_once_one_is_made(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("processors.calls.PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(settings, "twilio_max_live_calls", 1)
    desk.provider.answers.extend([CallsHalted("the login is refused", 20003)] * 4)
    task_id = celery_service.queue_outbound_call(NUMBERS[0])
    desk.run(3600)
    before = desk.rung(NUMBERS[0])
    desk.made(to_number=NUMBERS[1])
    again = celery_service.retry_failed_call(task_id, NUMBERS[0], retry_delay=0)
    desk.run(0.1)

    def nothing(_: str) -> None:
        """Know of no repetition: it is replayed just before that one is remembered."""

    with monkeypatch.context() as patch:
        patch.setattr("services.call_retries.why_not_again", nothing)
        replayed = celery_service.replay_task(task_id)
    desk.run(0.1)
    for _ in range(4):
        desk.phone()
    assert celery_service.get_task_result(again, timeout=0)["success"]
    with pytest.raises(TaskFailed, match="was not made"):
        celery_service.get_task_result(replayed, timeout=0)
    assert desk.rung(NUMBERS[0]) == before + 1


def test_a_member_whose_turn_has_not_come_is_not_repeated(desk: Desk):
    campaign = celery_service.queue_bulk_calls(NUMBERS[:3], delay_between_calls=0, delay_seconds=600)
    again = celery_service.retry_failed_call(f"{campaign}:2", NUMBERS[2], retry_delay=0)
    desk.run(1)
    with pytest.raises(TaskFailed, match="still to be made"):
        celery_service.get_task_result(again, timeout=0)
    assert desk.provider.orders == []


def test_a_member_that_was_never_taken_up_is_repeated_as_what_it_was(desk: Desk):
    campaign = celery_service.queue_bulk_calls(
        NUMBERS[:3], from_number=OTHER, call_metadata={"message": "The doors open."}, delay_seconds=600
    )
    celery_service.cancel_campaign(campaign)
    desk.run(60)
    assert celery_service.get_campaign(campaign)["counts"] == {"cancelled": 3}
    with pytest.raises(InvalidArgument, match="must be the number of call"):
        celery_service.retry_failed_call(f"{campaign}:2", NUMBERS[9])
    again = celery_service.retry_failed_call(f"{campaign}:2", NUMBERS[2], retry_delay=0)
    desk.run(1)
    result = celery_service.get_task_result(again, timeout=0)
    assert result["original_found"]
    assert result["from_number"] == OTHER
    assert result["metadata"] == {"message": "The doors open."}


def test_a_member_that_was_a_number_twice_is_not_repeated(desk: Desk):
    campaign = celery_service.queue_bulk_calls([NUMBERS[0], "+1 555 779 1000"], delay_between_calls=0)
    desk.run()
    again = celery_service.retry_failed_call(f"{campaign}:1", NUMBERS[0], retry_delay=0)
    desk.run(30)
    with pytest.raises(TaskFailed, match="number of item 0"):
        celery_service.get_task_result(again, timeout=0)
    assert desk.rung(NUMBERS[0]) == 1


@pytest.mark.parametrize("number", [None, "our number"])
def test_a_campaign_whose_setting_went_away_is_paused_and_goes_on_once_it_is_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, number: str | None
):
    campaign = celery_service.queue_bulk_calls(NUMBERS[:2], delay_between_calls=0, max_concurrent_calls=1)
    desk.run()
    monkeypatch.setattr(settings, "twilio_phone_number", number)
    desk.run(3)
    told = celery_service.get_campaign(campaign)
    assert told["counts"] == {"pending": 2}
    assert told["info"]["paused_at"]
    assert "TWILIO_PHONE_NUMBER" in told["info"]["status"]
    monkeypatch.setattr(settings, "twilio_phone_number", OURS)
    assert celery_service.resume_campaign(campaign)
    desk.phone()
    desk.phone()
    assert celery_service.get_campaign(campaign)["counts"] == {"done": 2}


@pytest.mark.parametrize("name", ["call_caller_identity", "call_opt_out_prompt", "call_greeting"])
def test_nobody_is_called_to_hear_what_a_setting_has_and_cannot_be_said(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr(settings, name, "<speak>Hello.</speak>")
    campaign = celery_service.queue_bulk_calls(NUMBERS[:2], delay_between_calls=0)
    desk.run()
    with pytest.raises(TaskFailed, match=f"{name.upper()} cannot be said"):
        celery_service.get_task_result(campaign, timeout=0)
    assert desk.provider.orders == []
    spoken = {"message": "Hello.", "voice": "Polly.Joanna"}
    celery_service.queue_bulk_calls(NUMBERS[:2], call_metadata=spoken, delay_between_calls=0)
    desk.run()
    assert len(desk.provider.orders) == 2


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ("https://web_app", "underscore"),
        ("https://calls.example.com/#here", "fragment"),
        ("https://calls.example.com/?a=b", "query"),
        ("https://me:secret@calls.example.com", "password"),
    ],
)
def test_nobody_is_called_where_twilio_could_not_ask_what_is_said(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, base: str, why: str
):
    monkeypatch.setattr(settings, "webhook_base_url", base)
    asked = [celery_service.queue_outbound_call(NUMBERS[0]), celery_service.queue_bulk_calls(NUMBERS[1:3])]
    desk.run()
    for task_id in asked:
        with pytest.raises(TaskFailed, match=f"WEBHOOK_BASE_URL.*{why}") as raised:
            celery_service.get_task_result(task_id, timeout=0)
        assert "secret" not in str(raised.value)
    assert desk.provider.orders == []


def test_what_a_spreadsheet_takes_for_a_formula_is_a_text_in_the_export(desk: Desk):
    bad = ["=1", "\n=1", "\uff1d1", "\uff201"]
    campaign = celery_service.queue_bulk_calls(bad, delay_between_calls=0)
    rows = list(csv.reader(io.StringIO(celery_service.export_campaign(campaign))))[1:]
    assert [row[1] for row in rows] == [f"'{one}" for one in bad]


def test_a_campaign_that_expired_after_it_began_says_so_of_its_members(desk: Desk):
    expires_at = datetime.now(UTC) + timedelta(seconds=20)
    campaign = celery_service.queue_bulk_calls(NUMBERS[:2], delay_between_calls=86_400, expires_at=expires_at)
    desk.run(21)
    (left,) = celery_service.get_campaign(campaign, after=0)["members"]
    assert (left["state"], left["reason"]) == ("expired", "the campaign expired")


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize(("end", "told", "state"), [("completed", "done", "SUCCESS"), ("busy", "failed", "FAILURE")])
def test_a_campaign_whose_queue_is_emptied_lets_its_calls_go_on_and_calls_nobody_else(
    desk: Desk, end: str, told: str, state: str, paused: bool
):
    campaign = celery_service.queue_bulk_calls(NUMBERS[:3], delay_between_calls=86_400)
    desk.run()
    if paused:
        celery_service.pause_campaign(campaign)
        desk.run(100)
    assert celery_service.purge_queue("twilio_calls") == 1
    desk.run(30)
    assert len(desk.provider.live()) == celery_service.get_campaign(campaign)["live_calls"] == 1
    desk.ends = lambda _: end
    desk.follow()
    desk.run(86_400)
    found = celery_service.get_campaign(campaign)
    assert (found["status"], found["counts"]) == (state, {told: 1, "cancelled": 2})
    assert found["members"][2]["reason"] == "the campaign was cancelled"
    assert len(desk.provider.orders) == 1


def test_a_campaign_that_has_taken_its_minutes_pauses_again_however_often_it_is_resumed(desk: Desk):
    campaign = celery_service.queue_bulk_calls(
        NUMBERS[:3], delay_between_calls=0, max_concurrent_calls=1, max_minutes=1
    )
    desk.run()
    for _ in range(3):
        desk.follow()
        assert "1 minutes, which is its max_minutes" in celery_service.get_campaign(campaign)["info"]["status"]
        assert celery_service.resume_campaign(campaign)
    assert len(desk.provider.orders) == 1


@pytest.mark.parametrize("value", [object(), float("nan"), [{"at": float("-inf")}]])
def test_metadata_that_cannot_be_kept_are_refused_by_their_name(desk: Desk, value: object):
    bad = {"customer": value}
    with pytest.raises(InvalidArgument, match="call_metadata: must be JSON"):
        celery_service.queue_outbound_call(NUMBERS[0], call_metadata=bad)
    with pytest.raises(InvalidArgument, match="call_metadata: must be JSON"):
        celery_service.queue_bulk_calls(NUMBERS, call_metadata=bad)


def asked(attempt: Any, **fields: str) -> str:
    """Return what is said to who answers the call of an attempt."""
    sid = str(attempt.call_sid)
    told = {"AccountSid": calling.ACCOUNT_SID, "CallSid": sid, "CallStatus": "in-progress"} | fields
    return call_webhooks.answer(Told(attempt.id, told, sid, None))


UNWANTED: dict[str, Callable[[str], object]] = {
    "opted_out": lambda _: celery_service.add_opt_out(NUMBERS[0]),
    "cancelled": celery_service.cancel_campaign,
}


@pytest.mark.parametrize("state", UNWANTED)
def test_whoever_answers_and_is_told_nothing_was_not_reached(desk: Desk, state: str):
    desk.ends = lambda _: None
    campaign = celery_service.queue_bulk_calls(NUMBERS[:1], delay_between_calls=0)
    desk.run()
    attempt = parts().calls.last_attempt(f"{campaign}:0")
    assert attempt is not None
    UNWANTED[state](campaign)
    assert "<Say" not in asked(attempt)
    desk.ends = lambda _: "completed"
    desk.phone()
    found = celery_service.get_campaign(campaign)
    assert found["counts"] == {state: 1}
    assert (found["members"][0]["state"], found["members"][0]["outcome"]) == (state, "unsaid")
    assert "whoever answered was told nothing" in found["members"][0]["reason"]
    assert parts().calls.info(str(attempt.call_sid))["unsaid"] == state
    if state == "opted_out":
        with pytest.raises(TaskFailed, match=r"None of the 1 calls was answered; .*opted out while it rang"):
            celery_service.get_task_result(campaign, timeout=0)


@pytest.mark.parametrize("state", UNWANTED)
def test_whoever_is_told_nothing_was_not_reached_though_what_answers_dies_meanwhile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, state: str
):
    desk.ends = lambda _: None
    campaign = celery_service.queue_bulk_calls(NUMBERS[:1], delay_between_calls=0)
    desk.run()
    attempt = parts().calls.last_attempt(f"{campaign}:0")
    UNWANTED[state](campaign)

    def dies(_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("services.call_lines.options_of", dies)
        asked(attempt)
    assert "<Say" not in asked(attempt), "the same question again"
    desk.ends = lambda _: "completed"
    desk.phone()
    assert celery_service.get_campaign(campaign)["counts"] == {state: 1}


def test_a_single_call_to_who_opted_out_while_it_rang_says_so_and_is_not_repeated(desk: Desk):
    task_id, sid = desk.made(to_number=NUMBERS[0])
    attempt = parts().calls.attempt_of_sid(sid)
    celery_service.add_opt_out(NUMBERS[0])
    assert "<Say" not in asked(attempt)
    desk.phone()
    status_id = celery_service.get_call_status(sid)
    desk.run()
    told = celery_service.get_task_result(status_id, timeout=0)["call_info"]
    assert (told["status"], told["unsaid"]) == ("completed", "opted_out")
    assert celery_service.get_task_status(task_id)["status"] == "SUCCESS", "the provider had it"
    again = celery_service.retry_failed_call(task_id, NUMBERS[0], retry_delay=0)
    desk.run(1)
    with pytest.raises(TaskFailed, match="opted out"):
        celery_service.get_task_result(again, timeout=0)
    assert desk.rung(NUMBERS[0]) == 1


def test_a_single_call_that_was_cancelled_while_nobody_knew_of_it_was_not_reached(desk: Desk):
    desk.provider.answers.append(("made", LOST))
    task_id = celery_service.queue_outbound_call(NUMBERS[0])
    desk.run()
    celery_service.cancel_task(task_id)
    (sid,) = desk.provider.live()
    attempt = parts().calls.last_attempt(task_id)
    assert attempt is not None
    assert "<Say" not in asked(replace(attempt, call_sid=sid))
    desk.phone()
    call = parts().calls.read(task_id)
    assert call is not None
    assert (call.state, call.outcome) == ("cancelled", "unsaid")


def test_an_opt_out_that_comes_after_the_message_was_said_leaves_a_call_answered(desk: Desk):
    campaign = celery_service.queue_bulk_calls(NUMBERS[:1], delay_between_calls=0)
    desk.run()
    attempt = parts().calls.last_attempt(f"{campaign}:0")
    assert "<Say" in asked(attempt)
    celery_service.add_opt_out(NUMBERS[0])
    assert "<Say" not in asked(attempt), "the same question again"
    desk.phone()
    assert celery_service.get_campaign(campaign)["counts"] == {"done": 1}


def test_a_machine_that_is_hung_up_on_stays_one_that_answered(desk: Desk):
    campaign = celery_service.queue_bulk_calls(NUMBERS[:1], delay_between_calls=0, detection="hang_up")
    desk.run()
    attempt = parts().calls.last_attempt(f"{campaign}:0")
    assert attempt is not None
    assert "<Say" not in asked(attempt, AnsweredBy="machine_start")
    desk.phone()
    found = celery_service.get_campaign(campaign)
    assert (found["counts"], found["members"][0]["outcome"]) == ({"done": 1}, "machine")
    assert "unsaid" not in parts().calls.info(str(attempt.call_sid))
