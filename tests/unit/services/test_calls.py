"""Phone calls from the facade, with a provider in memory: what is refused, what is told, and that repeats are safe."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from calling import NUMBERS, Desk
from config.settings import settings
from fake_provider import NOT_NOW
from processors import doubt
from processors.call_interfaces import CallInDoubt, CallNotTaken, CallRow, CallsHalted
from processors.campaigns import EndCampaign
from processors.errors import (
    IdempotencyConflict,
    InvalidArgument,
    Postponed,
    TaskCancelled,
    TaskFailed,
    UnknownTask,
)
from records.task_records import task_records
from services.campaigns import end_calls
from services.celery_service import celery_service
from services.wiring import parts

OURS = "+15005550006"
LOST = CallInDoubt("the answer was lost")
UNKNOWN_SID = "CA" + "f" * 32
PLACED = {"success", "call_sid", "status", "to_number", "from_number", "created_at", "metadata", "task_id"}


def recorded() -> int:
    return parts().database.read(lambda c: len(c.execute(task_records.select()).all()))


# --- What is refused --------------------------------------------------------------------------------------------

BAD_CALLS: dict[str, dict[str, Any]] = {
    "no number": {"to_number": "nobody"},
    "an empty number": {"to_number": ""},
    "a short number": {"to_number": "112"},
    "a number that is no text": {"to_number": 15557771000},
    "none": {"to_number": None},
    "a bad number of ours": {"from_number": "us"},
    "a host with an underscore": {"webhook_url": "https://web_app/answer"},
    "a fragment": {"webhook_url": "https://calls.example.com/answer#now"},
    "no address": {"status_callback_url": "calls.example.com"},
    "a login in an address": {"status_callback_url": "https://me:secret@calls.example.com/"},
    "metadata that are no dict": {"call_metadata": ["message"]},
    "an empty message": {"call_metadata": {"message": "  "}},
    "a message that is no text": {"call_metadata": {"message": 7}},
    "other XML": {"call_metadata": {"message": "<speak><audio src='x'/></speak>"}},
    "an unknown voice": {"call_metadata": {"voice": "nobody's"}},
    "gather_input that is no bool": {"call_metadata": {"gather_input": "yes"}},
    "an unknown priority": {"call_metadata": {"priority": "soon"}},
    "an unknown option": {"sometimes": True},
}
BAD_SINGLE: dict[str, dict[str, Any]] = {
    "a negative delay": {"delay_seconds": -1},
    "hours that never open": {"calling_hours": {"start": "09:00", "end": "09:00"}},
    "hours of an unknown zone": {"calling_hours": {"start": "09:00", "end": "17:00", "timezone": "Mars/Base"}},
    "a long ring": {"ring_seconds": 601},
    "an unknown detection": {"detection": "guess"},
}
BAD_TIMES: dict[str, dict[str, Any]] = {
    "the past": {"schedule_time": (datetime.now(UTC) - timedelta(minutes=2)).isoformat()},
    "a gap of the clocks": {"schedule_time": "2030-03-31T02:30:00", "timezone": "Europe/Berlin"},
    "an unknown zone": {"schedule_time": "2030-03-31T12:30:00", "timezone": "Mars/Base"},
    "no time": {"schedule_time": "tomorrow"},
    "another word for the time": {"due_at": datetime.now(UTC) + timedelta(hours=1)},
    "a delay": {"delay_seconds": 60},
}
BAD_CAMPAIGNS: dict[str, dict[str, Any]] = {
    "no numbers": {"phone_numbers": []},
    "one text": {"phone_numbers": NUMBERS[0]},
    "too many": {"phone_numbers": NUMBERS[:1] * 1_000_001},
    "an item that is no text": {"phone_numbers": [NUMBERS[0], 7]},
    "a negative gap": {"delay_between_calls": -1},
    "no live call": {"max_concurrent_calls": 0},
    "no attempt": {"retry": {"max_attempts": 0}},
    "an unknown key": {"retry": {"sometimes": 1}},
    "no minute": {"max_minutes": 0},
    "nobody who calls": {"caller_identity": " \t"},
    "a prompt of nothing that can be said": {"opt_out_prompt": "\x00"},
    "SSML in a voice that knows none": {"opt_out_prompt": "<speak>Press 9.</speak>"},
    "other XML in a prompt": {
        "opt_out_prompt": "<speak><audio src='x'/></speak>",
        "call_metadata": {"voice": "Polly.Joanna"},
    },
}


def refused(submit: Callable[..., str], what: str = "", **given: Any) -> None:
    before = recorded()
    with pytest.raises((InvalidArgument, TypeError)) as raised:
        submit(**given)
        pytest.fail(f"{what} was taken: {given!s:.300}")
    assert recorded() == before, what
    assert str(raised.value), what
    assert "secret" not in str(raised.value), what


def all_refused(submit: Callable[..., str], usual: dict[str, Any], *tables: dict[str, dict[str, Any]]) -> None:
    for table in tables:
        for what, given in table.items():
            refused(submit, what, **{**usual, **given})


def test_bad_calls_are_refused_and_nothing_is_recorded(desk: Desk):
    all_refused(celery_service.queue_outbound_call, {"to_number": NUMBERS[0]}, BAD_CALLS, BAD_SINGLE)


def test_bad_scheduled_calls_are_refused_and_nothing_is_recorded(desk: Desk):
    all_refused(celery_service.schedule_call, {"to_number": NUMBERS[0]}, BAD_CALLS, BAD_TIMES)


def test_bad_retries_are_refused_and_nothing_is_recorded(desk: Desk):
    usual = {"original_task_id": "t", "to_number": NUMBERS[0]}
    more = {"a negative delay": {"retry_delay": -1}, "no original": {"original_task_id": ""}}
    more |= {"another delay": {"delay_seconds": 600}, "a time": {"due_at": datetime.now(UTC) + timedelta(hours=1)}}
    all_refused(celery_service.retry_failed_call, usual, BAD_CALLS, more)


def test_bad_campaigns_are_refused_and_nothing_is_recorded(desk: Desk):
    shared = {name: one for name, one in BAD_CALLS.items() if "to_number" not in one}
    single = {name: one for name, one in BAD_SINGLE.items() if "delay_seconds" not in one}
    negative = {"a negative delay": {"delay_seconds": -1}}
    usual = {"phone_numbers": NUMBERS[:2]}
    all_refused(celery_service.queue_bulk_calls, usual, shared, single, negative, BAD_CAMPAIGNS)


@pytest.mark.parametrize("method", ["end_call", "get_call_status"])
def test_a_name_that_is_none_of_a_call_is_refused(desk: Desk, method: str):
    bad = {"no SID": "", "a path": "../Accounts", "no text": 7, "none": None}
    all_refused(getattr(celery_service, method), {}, {what: {"call_sid": one} for what, one in bad.items()})


def test_a_long_message_with_what_xml_forbids_and_closing_tags_is_spoken_as_text(desk: Desk):
    message = ("a\x00b\x0b\x1b\ufffe</Say><Dial>+15557771099</Dial>" * 300)[:10_000]
    task_id, _ = desk.made(call_metadata={"message": message})
    assert desk.result(task_id)["metadata"]["message"] == message


# --- Single calls -------------------------------------------------------------------------------------------------


def test_a_call_s_result_has_the_keys_that_callers_read(desk: Desk):
    task_id, sid = desk.made(call_metadata={"message": "Hello", "customer": 7})
    result = desk.result(task_id)
    assert set(result) >= PLACED
    assert (result["to_number"], result["from_number"], result["task_id"]) == (NUMBERS[0], OURS, task_id)
    assert (result["metadata"], result["call_sid"]) == ({"message": "Hello", "customer": 7}, sid)


def test_a_call_asks_and_tells_at_our_addresses_and_its_data_are_in_none(desk: Desk):
    desk.made(call_metadata={"message": "Hello", "custom_data": {"card": "a card"}})
    (order,) = desk.provider.orders
    attempt = parts().calls.attempt_of_sid(next(iter(desk.provider.calls)))
    assert attempt is not None
    assert str(order.answer_url).startswith("https://calls.example.com/api/v1/twilio/incoming-call")
    assert attempt.id in str(order.answer_url)
    assert attempt.id in str(order.status_url)
    assert "a card" not in str(order)


def test_a_scheduled_call_is_made_at_its_time_and_says_so(desk: Desk):
    when = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    task_id = celery_service.schedule_call(NUMBERS[0], schedule_time=when)
    desk.run(7_000)
    assert desk.provider.orders == []
    desk.run(300)
    result = desk.result(task_id)
    assert set(result) >= PLACED | {"scheduled_time", "call_task_id"}
    assert (result["scheduled_time"], result["call_task_id"]) == (when, task_id)


def test_a_call_whose_answer_is_lost_is_made_once_and_its_result_names_it(desk: Desk):
    desk.provider.answers.append(("made", LOST))
    desk.ends = lambda _: None
    task_id = celery_service.queue_outbound_call(NUMBERS[0])
    desk.run()
    assert celery_service.get_task_status(task_id)["status"] == "RETRY"
    desk.until_final(task_id, lost=True)
    assert desk.result(task_id)["call_sid"] in desk.provider.calls
    assert len(desk.provider.orders) == 1


def test_a_call_for_which_there_was_none_is_made_again(desk: Desk):
    desk.provider.answers.append(LOST)
    task_id = celery_service.queue_outbound_call(NUMBERS[0])
    desk.until_final(task_id, lost=True)
    assert desk.result(task_id)["success"]
    assert len(desk.provider.orders) == 2
    assert desk.provider.rung()[NUMBERS[0]] == 1


def test_a_call_gives_its_slot_back_while_as_many_calls_go_on_as_may(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settings, "twilio_max_live_calls", 1)
    desk.made()
    task_id = celery_service.queue_outbound_call(NUMBERS[1])
    desk.run()
    told = celery_service.get_task_status(task_id)
    assert (told["status"], len(desk.provider.orders)) == ("RETRY", 1)
    assert "as many calls as may be are going on" in str(told["info"])
    desk.phone()
    desk.run(2)
    assert desk.result(task_id)["success"]


def test_an_account_that_is_full_makes_a_call_wait_and_costs_it_no_attempt(desk: Desk):
    desk.provider.answers.extend([CallNotTaken("10004", too_many_live=True)] * 6)
    task_id = celery_service.queue_outbound_call(NUMBERS[0])
    desk.until_final(task_id, lost=True)
    assert desk.result(task_id)["success"]
    assert len(desk.provider.orders) == 7


@pytest.mark.parametrize(
    ("number", "why"), [("+15550021211", "21211|no such number"), ("+1911", None), ("+15550020003", "login")]
)
def test_a_call_that_is_refused_fails_and_says_why(desk: Desk, number: str, why: str | None):
    if why is None:
        refused(celery_service.queue_outbound_call, to_number=number)
        return
    task_id = celery_service.queue_outbound_call(number)
    desk.until_final(task_id, lost=True)
    with pytest.raises(TaskFailed, match=why):
        desk.result(task_id)
    call = parts().calls.read(task_id)
    assert call is not None
    assert call.state == "failed"


def test_a_number_that_opted_out_is_not_called_until_it_is_taken_off_the_list(desk: Desk):
    assert celery_service.add_opt_out("+1 (555) 777-1000", "she said so")
    assert not celery_service.add_opt_out(NUMBERS[0])
    task_id = celery_service.queue_outbound_call(NUMBERS[0])
    desk.run()
    with pytest.raises(TaskFailed, match="opted out"):
        desk.result(task_id)
    assert desk.provider.orders == []
    assert celery_service.remove_opt_out(NUMBERS[0])
    assert not celery_service.remove_opt_out(NUMBERS[0])
    desk.made()


def test_a_call_that_is_cancelled_while_it_waits_is_not_made_and_may_be_repeated(desk: Desk):
    parts().call_gates.rest(f"account:{desk.provider.account}", 600)
    task_id = celery_service.queue_outbound_call(NUMBERS[0])
    desk.run()
    assert celery_service.cancel_task(task_id)
    desk.run(700)
    assert desk.provider.orders == []
    again = celery_service.retry_failed_call(task_id, NUMBERS[0], retry_delay=0)
    desk.run()
    assert desk.result(again)["original_found"] is True


def test_calls_that_no_account_is_configured_for_fail_and_name_the_settings(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    _, sid = desk.made()
    desk.follow()
    monkeypatch.delitem(vars(parts()), "voice")
    for name in ("twilio_account_sid", "twilio_auth_token"):
        monkeypatch.setattr(settings, name, None)
    failing = [
        celery_service.queue_outbound_call(NUMBERS[1]),
        celery_service.end_call(UNKNOWN_SID),
        celery_service.get_call_status(UNKNOWN_SID),
        celery_service.queue_bulk_calls(NUMBERS[:2], delay_between_calls=0),
    ]
    known, stale = celery_service.get_call_status(sid), celery_service.cleanup_stale_calls(0)
    desk.run()
    for task_id in failing[:3]:
        with pytest.raises(TaskFailed, match="TWILIO_ACCOUNT_SID"):
            desk.result(task_id)
    with pytest.raises(TaskFailed) as raised:
        desk.result(failing[3])
    assert raised.value.result["by_state"] == {"failed": 2}
    assert desk.result(known)["call_info"]["status"] == "completed"
    assert desk.result(stale)["active_calls_remaining"] == 0


def test_a_message_that_cannot_go_out_with_the_call_fails_before_anything_is_ordered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(settings, "webhook_base_url", "http://localhost:8001")
    task_id = celery_service.queue_outbound_call(NUMBERS[0], call_metadata={"message": "word " * 1_500})
    short = celery_service.queue_outbound_call(NUMBERS[1], call_metadata={"message": "Hello"})
    desk.run()
    with pytest.raises(TaskFailed, match="too long"):
        desk.result(task_id)
    assert parts().calls.live() == 1
    assert desk.result(short)["warnings"]
    (order,) = desk.provider.orders
    assert "Hello" in str(order.twiml)
    assert order.answer_url is order.status_url is None


# --- Repeating -------------------------------------------------------------------------------------------------------


def repeat(desk: Desk, original: str, number: str = NUMBERS[0], delay: float = 0) -> str:
    task_id = celery_service.retry_failed_call(original, number, retry_delay=delay)
    desk.run()
    return task_id


def test_a_repetition_of_an_unknown_call_is_made_and_says_so(desk: Desk):
    result = desk.result(repeat(desk, "nobody-knows"))
    assert set(result) >= PLACED | {"original_task_id", "retry_task_id", "retry_delay", "retry_attempt"}
    assert (result["original_task_id"], result["original_found"], result["retry_attempt"]) == ("nobody-knows", False, 1)
    assert result["retry_task_id"] == result["task_id"]


def test_a_call_that_failed_is_repeated_after_its_delay_and_repetitions_are_counted(desk: Desk):
    desk.ends = lambda _: "busy"
    original, _ = desk.made()
    desk.follow()
    first = celery_service.retry_failed_call(original, NUMBERS[0], retry_delay=300)
    desk.run(290)
    assert len(desk.provider.orders) == 1
    desk.run(20)
    assert desk.result(first)["retry_attempt"] == 1
    desk.follow()
    assert desk.result(repeat(desk, original))["retry_attempt"] == 2
    desk.follow()
    assert desk.result(repeat(desk, first))["retry_attempt"] == 1


def test_a_repetition_is_not_repeated_once_another_one_of_the_same_call_was_answered(desk: Desk):
    ends = ["busy"]
    desk.ends = lambda _: ends[0]
    original, _ = desk.made()
    desk.follow()
    first = repeat(desk, original)
    desk.follow()
    ends[0] = "completed"
    answered = repeat(desk, original)
    desk.follow()
    refuses(desk, repeat(desk, first), f"call {answered} was answered")
    assert len(desk.provider.orders) == 3


def refuses(desk: Desk, task_id: str, why: str) -> None:
    with pytest.raises(TaskFailed, match=why):
        desk.result(task_id)


def test_a_call_that_is_live_or_answered_is_not_repeated(desk: Desk):
    original, _ = desk.made()
    refuses(desk, repeat(desk, original), "is going on")
    desk.follow()
    refuses(desk, repeat(desk, original), "was answered")
    assert len(desk.provider.orders) == 1


def test_a_call_of_which_nobody_knows_is_not_repeated(desk: Desk):
    desk.provider.answers.append(("made", LOST))
    original = celery_service.queue_outbound_call(NUMBERS[0])
    desk.run()
    refuses(desk, repeat(desk, original), "not known")
    assert len(desk.provider.orders) == 1


def test_a_call_that_is_still_to_be_made_is_not_repeated(desk: Desk):
    later = celery_service.queue_outbound_call(NUMBERS[0], delay_seconds=600)
    refuses(desk, repeat(desk, later), "still to be made")


def test_a_call_whose_repetition_is_live_is_not_repeated_beside_it(desk: Desk):
    desk.ends = lambda _: "no-answer"
    original, _ = desk.made()
    desk.follow()
    repeat(desk, original)
    refuses(desk, repeat(desk, original), "is going on")
    assert len(desk.provider.orders) == 2


@pytest.mark.parametrize(("another", "orders"), [("zz", 1), ("00", 0)], ids=["ours first", "the other first"])
def test_of_two_repetitions_at_once_the_one_that_came_first_is_made(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, another: str, orders: int
):
    own = parts().calls.want

    def want(call_id: str, to_number: str, from_number: str, retry_of: str | None = None) -> CallRow:
        """Let another process want its repetition, too, which found nothing to keep it back either."""
        if orders:
            own(call_id, to_number, from_number, retry_of)
        own(another, to_number, from_number, retry_of)
        return own(call_id, to_number, from_number, retry_of)

    monkeypatch.setattr(parts().calls, "want", want)
    task_id = repeat(desk, "nobody-knows")
    assert len(desk.provider.orders) == orders
    if orders:
        assert desk.result(task_id)["success"]
    else:
        refuses(desk, task_id, "call 00 is still to be made")


def test_a_repetition_to_another_number_is_refused_at_once(desk: Desk):
    original, _ = desk.made()
    refused(celery_service.retry_failed_call, original_task_id=original, to_number=NUMBERS[1])


def test_a_task_that_is_no_call_is_not_repeated(desk: Desk):
    other = celery_service.cleanup_old_logs()
    desk.run()
    refuses(desk, repeat(desk, other), "is no call")


def test_a_member_of_a_campaign_is_repeated_by_its_id(desk: Desk):
    desk.ends = lambda number: "busy" if number == NUMBERS[0] else "completed"
    campaign = celery_service.queue_bulk_calls(NUMBERS[:2], delay_between_calls=0)
    desk.until_final(campaign)
    assert desk.result(repeat(desk, f"{campaign}:0"))["original_found"] is True
    refuses(desk, repeat(desk, f"{campaign}:1", NUMBERS[1]), "was answered")


# --- Campaigns --------------------------------------------------------------------------------------------------------


def test_a_campaign_s_result_has_the_keys_that_callers_read_and_adds_up(desk: Desk):
    desk.ends = lambda number: "busy" if number == NUMBERS[1] else "completed"
    numbers = [*NUMBERS[:3], f"{NUMBERS[0][:2]} {NUMBERS[0][2:]}", "nobody"]
    campaign = celery_service.queue_bulk_calls(numbers, delay_between_calls=0, max_concurrent_calls=2)
    assert desk.until_final(campaign)["status"] == "SUCCESS"
    result = desk.result(campaign)
    assert result["campaign_id"] == campaign
    assert (result["total_calls"], result["successful_calls"], result["failed_calls"]) == (5, 2, 3)
    assert [one["phone_number"] for one in result["successful_call_details"]] == [NUMBERS[0], NUMBERS[2]]
    assert [one["task_id"] for one in result["successful_call_details"]] == [f"{campaign}:0", f"{campaign}:2"]
    assert all(one["phone_number"] and one["error"] for one in result["failed_call_details"])
    assert result["created_at"]
    assert result["success"] is True
    assert desk.provider.live_most <= 2


def test_a_campaign_in_which_nobody_was_reached_fails_with_its_result(desk: Desk):
    desk.ends = lambda _: "busy"
    campaign = celery_service.queue_bulk_calls(NUMBERS[:2], delay_between_calls=0)
    assert desk.until_final(campaign)["status"] == "FAILURE"
    with pytest.raises(TaskFailed) as raised:
        desk.result(campaign)
    assert raised.value.result["by_state"] == {"failed": 2}


def test_a_key_given_twice_is_one_campaign(desk: Desk):
    first, second = (
        celery_service.queue_bulk_calls(NUMBERS[:3], delay_between_calls=0, idempotency_key="spring") for _ in range(2)
    )
    assert first == second
    with pytest.raises(IdempotencyConflict):
        celery_service.queue_bulk_calls(NUMBERS[:4], delay_between_calls=0, idempotency_key="spring")
    desk.until_final(first)
    assert celery_service.queue_bulk_calls(NUMBERS[:3], delay_between_calls=0, idempotency_key="spring") == first
    desk.phone()
    assert len(desk.provider.orders) == 3


def test_a_key_given_twice_is_one_call(desk: Desk):
    first, second = (celery_service.queue_outbound_call(NUMBERS[0], idempotency_key="one") for _ in range(2))
    assert first == second
    desk.run()
    assert len(desk.provider.orders) == 1


def test_a_campaign_is_paused_and_resumed_and_saying_so_twice_changes_nothing(desk: Desk):
    campaign = celery_service.queue_bulk_calls(NUMBERS[:4], delay_between_calls=0, max_concurrent_calls=1)
    desk.run()
    assert celery_service.pause_campaign(campaign)
    assert not celery_service.pause_campaign(campaign)
    for _ in range(3):
        desk.phone()
    assert len(desk.provider.orders) == 1
    told = celery_service.get_campaign(campaign)
    assert (told["total"], told["live_calls"]) == (4, 0)
    assert told["counts"]["done"] == 1
    assert celery_service.resume_campaign(campaign)
    assert not celery_service.resume_campaign(campaign)
    desk.until_final(campaign)
    assert desk.result(campaign)["successful_calls"] == 4
    assert not celery_service.pause_campaign(campaign)
    assert not celery_service.resume_campaign(campaign)


def test_a_fault_of_ours_pauses_a_campaign_and_a_resume_lets_it_go_on(desk: Desk):
    desk.provider.always = CallsHalted("the login is refused", 20003)
    campaign = celery_service.queue_bulk_calls(NUMBERS[:20], delay_between_calls=0, max_concurrent_calls=20)
    for _ in range(4):
        desk.follow(10)
    assert len(desk.provider.orders) <= 8
    told = celery_service.get_task_status(campaign)
    assert told["status"] == "PROGRESS"
    assert "the login is refused" in str(told["info"])
    desk.provider.always = None
    celery_service.resume_campaign(campaign)
    desk.until_final(campaign)
    assert desk.result(campaign)["successful_calls"] == 20
    assert set(desk.provider.rung().values()) == {1}


@pytest.mark.parametrize(("asked", "waits"), [(90.0, 90.0), (86_400.0, 3_600.0), (1e12, 3_600.0)])
def test_a_single_call_waits_for_an_hour_at_most_whatever_its_provider_asks_for(desk: Desk, asked: float, waits: float):
    desk.provider.answers.append(CallNotTaken("503", asked))
    task_id = celery_service.queue_outbound_call(NUMBERS[0])
    desk.run()
    record = parts().tasks.read(task_id)
    assert record is not None
    assert waits - 10 < (record.due_at - parts().calls.now()).total_seconds() <= waits + 1
    desk.run(waits + 60)
    assert desk.result(task_id)["success"]


def test_a_cancelled_campaign_rests_while_nobody_knows_whether_a_call_of_it_was_made(desk: Desk):
    desk.provider.answers.append(("made", LOST))
    campaign = celery_service.queue_bulk_calls(NUMBERS[:1])
    desk.run()
    celery_service.cancel_campaign(campaign)
    with pytest.raises(Postponed, match="not known yet") as rests:
        end_calls(EndCampaign(campaign_id=campaign), lambda *_: None)
    assert rests.value.retry_after == 15


def cancelled_in_the_middle(desk: Desk, *, hang_up: bool) -> tuple[str, list[str]]:
    """Return a cancelled campaign with a call that rings, one that talks and one whose answer was lost."""
    desk.ends = lambda _: None
    desk.provider.answers.extend([("made", LOST)])
    campaign = celery_service.queue_bulk_calls(NUMBERS[:6], delay_between_calls=0, max_concurrent_calls=3)
    for _ in range(3):
        desk.run(1)
    lost, rings, talks = list(desk.provider.calls)
    desk.provider.move(rings, "ringing")
    desk.provider.move(talks, "in-progress")
    assert celery_service.cancel_campaign(campaign, hang_up=hang_up)
    assert not celery_service.cancel_campaign(campaign, hang_up=hang_up)
    for _ in range(8):
        desk.run(30)
        desk.follow(31)
    return campaign, [lost, rings, talks]


@pytest.mark.parametrize("hang_up", [False, True])
def test_a_cancelled_campaign_calls_nobody_else_and_ends_what_nobody_has_answered(desk: Desk, hang_up: bool):
    campaign, (lost, rings, talks) = cancelled_in_the_middle(desk, hang_up=hang_up)
    assert len(desk.provider.orders) == 3
    assert {rings, lost} <= set(desk.provider.ended)
    assert (talks in desk.provider.ended) == hang_up
    desk.ends = lambda _: "completed"
    desk.follow(700)
    desk.follow(10)
    counts = celery_service.get_campaign(campaign)["counts"]
    assert counts == {"cancelled": 5, "done": 1}
    with pytest.raises(TaskCancelled):
        desk.result(campaign)


def test_members_are_told_as_tasks_by_their_ids(desk: Desk):
    desk.ends = {NUMBERS[0]: "completed", NUMBERS[1]: "busy"}.get
    campaign = celery_service.queue_bulk_calls([*NUMBERS[:3], "nobody"], delay_between_calls=0)
    desk.run()
    assert celery_service.get_task_status(f"{campaign}:0")["status"] == "PROGRESS"
    assert celery_service.get_task_status(f"{campaign}:9")["status"] == "UNKNOWN"
    assert celery_service.get_task_status(f"{campaign}:x")["status"] == "UNKNOWN"
    desk.phone()
    first = desk.result(f"{campaign}:0")
    assert (first["success"], first["to_number"], first["state"]) == (True, NUMBERS[0], "done")
    assert first["call_sid"] in desk.provider.calls
    with pytest.raises(TaskFailed, match="busy"):
        desk.result(f"{campaign}:1")
    with pytest.raises(TaskFailed):
        desk.result(f"{campaign}:3")
    with pytest.raises(UnknownTask):
        desk.result(f"{campaign}:9")


def test_members_are_listed_by_pages_and_exported_without_formulas(desk: Desk):
    numbers = [*NUMBERS[:4], "=HYPERLINK(1)"]
    campaign = celery_service.queue_bulk_calls(numbers, delay_between_calls=0)
    desk.until_final(campaign)
    first = celery_service.get_campaign(campaign, limit=2)["members"]
    second = celery_service.get_campaign(campaign, after=first[-1]["position"], limit=10)["members"]
    assert [one["position"] for one in first + second] == [0, 1, 2, 3, 4]
    assert [one["state"] for one in first + second] == ["done"] * 4 + ["invalid"]
    rows = list(csv.DictReader(io.StringIO(celery_service.export_campaign(campaign))))
    assert len(rows) == 5
    assert rows[0]["phone_number"].lstrip("'") == NUMBERS[0]
    assert rows[4]["phone_number"].startswith("'=")
    assert {one["state"] for one in rows} == {"done", "invalid"}


@pytest.mark.parametrize(
    "ask",
    ["pause_campaign", "resume_campaign", "cancel_campaign", "get_campaign", "export_campaign"],
)
def test_what_is_no_campaign_is_said_to_be_none(desk: Desk, ask: str):
    with pytest.raises(UnknownTask):
        getattr(celery_service, ask)("nobody")
    task_id, _ = desk.made()
    with pytest.raises(InvalidArgument, match="no campaign"):
        getattr(celery_service, ask)(task_id)


# --- Doubts -----------------------------------------------------------------------------------------------------------


def doubtful(desk: Desk, *, made: bool) -> tuple[str, str]:
    """Return a task and the key of its call, of which nobody knows whether it was made."""
    desk.provider.answers.append(("made", LOST) if made else LOST)
    task_id = celery_service.queue_outbound_call(NUMBERS[0])
    desk.run()
    (doubt,) = celery_service.get_effects_in_doubt()
    assert (doubt["kind"], doubt["task_id"], doubt["state"]) == ("call", task_id, "unknown")
    return task_id, doubt["key"]


def test_a_person_says_that_there_was_no_call_and_it_is_made(desk: Desk):
    task_id, key = doubtful(desk, made=False)
    celery_service.settle_effect(key, absent=True)
    assert celery_service.get_effects_in_doubt() == []
    with pytest.raises(InvalidArgument):
        celery_service.settle_effect(key, absent=True)
    desk.run(60)
    assert desk.result(task_id)["success"]
    assert len(desk.provider.orders) == 2


def test_a_person_says_which_call_it_was_and_it_is_not_made_again(desk: Desk):
    task_id, key = doubtful(desk, made=True)
    (sid,) = desk.provider.calls
    for nonsense in (7, {"sid": sid}, "not a name", "nonsense", "CA" + "g" * 32, "CA" + "A" * 32, sid + "0"):
        with pytest.raises(InvalidArgument):
            celery_service.settle_effect(key, nonsense)
    celery_service.settle_effect(key, sid)
    desk.run(60)
    assert desk.result(task_id)["call_sid"] == sid
    assert len(desk.provider.orders) == 1


def test_a_call_that_nobody_doubts_cannot_be_settled(desk: Desk):
    _, sid = desk.made()
    attempt = parts().calls.attempt_of_sid(sid)
    assert attempt is not None
    for key in (f"call:{attempt.id}", "call:nobody"):
        with pytest.raises(InvalidArgument):
            celery_service.settle_effect(key, absent=True)


# --- What is asked of calls ------------------------------------------------------------------------------------


def test_a_call_is_ended_and_ending_it_twice_is_no_error(desk: Desk):
    desk.ends = lambda _: None
    task_id, sid = desk.made()
    ends = [celery_service.end_call(sid) for _ in range(2)]
    desk.run()
    for end in ends:
        assert set(desk.result(end)) >= {"success", "call_sid", "ended_at"}
    assert desk.provider.calls[sid].status == "canceled"
    call = parts().calls.read(task_id)
    assert call is not None
    assert call.state == "cancelled"


def test_a_call_s_status_is_told_while_it_goes_on_and_after_its_end(desk: Desk):
    desk.ends = lambda _: None
    _, sid = desk.made()
    desk.provider.move(sid, "ringing")
    task_id = celery_service.get_call_status(sid)
    desk.run()
    result = desk.result(task_id)
    assert set(result) >= {"success", "call_sid", "call_info", "checked_at"}
    assert (result["call_info"]["status"], result["source"]) == ("ringing", "provider")
    desk.ends = lambda _: "completed"
    desk.follow()
    desk.provider.reads = NOT_NOW
    task_id = celery_service.get_call_status(sid)
    desk.run()
    assert desk.result(task_id)["call_info"]["status"] == "completed"
    assert desk.result(task_id)["source"] == "records"


def test_a_call_that_nobody_knows_has_no_status_and_cannot_be_ended(desk: Desk):
    status, end = celery_service.get_call_status(UNKNOWN_SID), celery_service.end_call(UNKNOWN_SID)
    desk.run()
    result = desk.result(status)
    assert (result["success"], result["call_info"]) == (False, {})
    with pytest.raises(TaskFailed, match="Nothing was ended"):
        desk.result(end)


def test_old_calls_are_closed_only_where_the_provider_says_that_they_ended(desk: Desk):
    desk.ends = lambda _: None
    sids = [desk.made(to_number=number)[1] for number in NUMBERS[:3]]
    desk.provider.end(sids[0], "completed")
    desk.provider.move(sids[1], "in-progress")
    desk.provider.missing = {sids[2]}
    young = celery_service.cleanup_stale_calls(24)
    desk.run()
    assert desk.result(young)["looked_at"] == 0
    desk.run(7_200)
    old = celery_service.cleanup_stale_calls(1)
    desk.run()
    result = desk.result(old)
    assert set(result) >= {"success", "max_age_hours", "active_calls_remaining", "cleaned_at"}
    assert result["looked_at"] == 3
    assert result["active_calls_remaining"] == 1, "the one that talked too long was ended"
    states = [parts().calls.attempt_of_sid(sid) for sid in sids]
    assert [one.state for one in states if one] == ["ended", "ended", "placed"]


def test_a_call_whose_hours_never_open_fails_and_says_so_and_others_wait_for_theirs(desk: Desk):
    hours = {"start": "09:00", "end": "17:00"}
    satellite = celery_service.queue_outbound_call("+870776000000", calling_hours=hours)
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    now = datetime.now(ZoneInfo("Europe/Berlin"))
    tomorrow = {"start": "00:01", "end": "23:59", "days": [days[(now.weekday() + 2) % 7]]}
    waits = celery_service.queue_outbound_call("+4930901820", calling_hours=tomorrow)
    desk.run()
    refuses(desk, satellite, "never open in all zones where the number may be, or are no longer than it rings")
    assert celery_service.get_task_status(waits)["status"] == "RETRY"
    assert desk.provider.orders == []


@pytest.mark.parametrize(("rings", "state"), [(300, "RETRY"), (240, "SUCCESS")])
def test_a_call_does_not_ring_longer_than_its_hours(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, rings: int, state: str
):
    now = datetime.now(UTC).replace(hour=15, minute=55, second=30)
    monkeypatch.setattr(parts().calls, "now", lambda: now)
    hours = {"start": "09:00", "end": f"{(now + timedelta(minutes=5)).astimezone(ZoneInfo('Europe/Berlin')):%H:00}"}
    task_id = celery_service.queue_outbound_call("+4930901820", calling_hours=hours, ring_seconds=rings)
    desk.run()
    assert celery_service.get_task_status(task_id)["status"] == state


def test_a_call_whose_hours_end_between_the_look_and_the_order_is_not_made(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    now = datetime.now(UTC).replace(hour=15, minute=55, second=0)
    end = (now + timedelta(minutes=5)).astimezone(ZoneInfo("Europe/Berlin"))
    clock, grant, frozen = doubt.clock, parts().call_gates.grant, [0.0]
    monkeypatch.setattr(doubt, "clock", lambda: clock() + frozen[0])
    monkeypatch.setattr(parts().calls, "now", lambda: now + timedelta(seconds=frozen[0]))

    def late(wish: Any) -> Any:
        frozen[0] += 270
        return grant(wish)

    monkeypatch.setattr(parts().call_gates, "grant", late)
    hours = {"start": "09:00", "end": f"{end:%H:00}"}
    task_id = celery_service.queue_outbound_call("+4930901820", calling_hours=hours)
    desk.run(5)
    assert desk.provider.orders == []
    assert celery_service.get_task_status(task_id)["status"] == "RETRY"
    assert parts().calls.read(task_id).attempts == 0
