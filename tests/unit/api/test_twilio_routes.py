"""Twilio's webhooks over HTTP: signed forms in, TwiML and rows out; whatever is not signed changes nothing."""

import logging
import random
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from api.routes.twilio import MOST_BYTES
from config.settings import settings
from ports import free_port
from processors.call_interfaces import CallRow, Granted
from processors.campaigns import QueueBulkCalls
from records.call_tables import call_attempts, call_events, calls, opt_outs
from records.database import Database
from records.members import members
from records.task_records import task_records
from services import call_lines
from services.celery_service import celery_service
from services.testing import InlineService
from services.wiring import Parts, parts, parts_replaced
from twilio_requests import ACCOUNT, BASE, FORM, OURS, PREFIX, THEIRS, TOKEN, form, post, sid, signed

LATER = 3_600
INBOUND = {"Direction": "inbound", "From": THEIRS, "To": OURS}
FORMER_TOKEN = "formerTokenThatIsSecret99"
EVIL = "https://evil.example"
NAMES_AND_TIMES = re.compile(
    r"(CA|AC)?[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT\S+|127\.0\.0\.1\S*"
)
"""What has many digits in the log and is no phone number: ids of calls and tasks, moments, local addresses."""


@pytest.fixture
def service(inline_service: InlineService, monkeypatch: pytest.MonkeyPatch) -> InlineService:
    """The service with Twilio's account, at an address that others reach; Twilio itself is away."""
    for name, value in {
        "twilio_account_sid": ACCOUNT,
        "twilio_auth_token": TOKEN,
        "twilio_former_auth_tokens": FORMER_TOKEN,
        "twilio_phone_number": OURS,
        "twilio_base_url": f"http://127.0.0.1:{free_port()}",
        "twilio_calls_per_second": 100.0,
        "webhook_base_url": BASE,
    }.items():
        monkeypatch.setattr(settings, name, value)
    return inline_service


@pytest.fixture
def client(service: InlineService) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url=BASE, raise_server_exceptions=False) as client:
        yield client


def ordered(to: str = THEIRS, **arguments: Any) -> tuple[str, str]:
    """Return the ids of a task and of its attempt, whose order's answer has not been stored."""
    task_id = celery_service.queue_outbound_call(to, delay_seconds=LATER, **arguments)
    return task_id, attempted(parts().calls.want(task_id, to, OURS))


def campaign(to: str = THEIRS, **figures: Any) -> tuple[str, str]:
    """Return the ids of a campaign and of its first member's attempt."""
    campaign_id = celery_service.queue_bulk_calls([to], delay_seconds=LATER, **figures)
    parts().calls.admit(campaign_id, [{"position": 0, "to_number": to, "from_number": OURS}])
    found = parts().calls.next_of(campaign_id).call
    assert found is not None
    record = parts().tasks.read(campaign_id)
    assert record is not None
    return campaign_id, attempted(found, QueueBulkCalls.model_validate(record.kwargs))


def attempted(call: CallRow, plan: QueueBulkCalls | None = None) -> str:
    for _ in range(1_000):  # the pace: a hundredth of a second between two
        answer = call_lines.grant(call, call_lines.line_of(call.id), plan)
        if isinstance(answer, Granted):
            return answer.attempt_id
    raise AssertionError(answer)


def answered(client: TestClient, attempt_id: str, call: int = 1, **more: str) -> Any:
    fields = form(sid(call), CallStatus="in-progress", **more)
    return post(client, f"/incoming-call?attempt={attempt_id}", fields)


def told(client: TestClient, attempt_id: str, status: str, sequence: int | None = None, call: int = 1, **more: str):
    numbered = {} if sequence is None else {"SequenceNumber": str(sequence)}
    fields = form(sid(call), CallStatus=status, CallbackSource="call-progress-events", **numbered, **more)
    return post(client, f"/call-status?attempt={attempt_id}", fields)


def document(answer: Any) -> ET.Element:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    return ET.fromstring(answer.text)


def verbs(answer: Any) -> list[str]:
    return [element.tag for element in document(answer).iter()][1:]


def said(answer: Any) -> str:
    return " ".join(element.text or "" for element in document(answer).iter("Say"))


def all_rows() -> list[Any]:
    tables = (call_attempts, call_events, calls, opt_outs, members, task_records)
    return parts().database.read(lambda c: [tuple(row) for table in tables for row in c.execute(select(table)).all()])


def row(table: Any, **where: Any) -> dict[str, Any]:
    query = select(table).filter_by(**where)
    return dict(parts().database.read(lambda c: c.execute(query).mappings().one()))


# --- Who answers ------------------------------------------------------------------------------------------------


def test_who_answers_hears_the_message_and_the_call_is_known_although_twilios_answer_was_lost(client):
    _, attempt_id = ordered(call_metadata={"message": "Your parcel is here.", "custom_data": {"secret": "blue"}})
    answer = answered(client, attempt_id)
    assert (verbs(answer), said(answer)) == (["Say", "Hangup"], "Your parcel is here.")
    found = row(call_attempts, id=attempt_id)
    assert (found["state"], found["call_sid"], found["status"]) == ("placed", sid(1), "in-progress")
    assert found["hang_up_at"] is not None
    assert "blue" not in answer.text
    parts().calls.placed(attempt_id, sid(1), "queued", queue_seconds=0, look=1, hang_up=1)
    assert row(call_attempts, id=attempt_id)["status"] == "in-progress"


def test_a_request_that_is_made_again_gets_the_same_answer_and_is_kept_once(client):
    _, attempt_id = ordered()
    answers = [answered(client, attempt_id) for _ in range(3)]
    assert len({one.text for one in answers}) == 1
    assert len(parts().call_events.of_call(sid(1))) == 1


def test_keys_and_speech_are_listened_for_where_that_was_asked(client):
    _, attempt_id = ordered(call_metadata={"message": "Which?", "gather_input": True, "custom_data": {"secret": "x1"}})
    answer = answered(client, attempt_id)
    gather = document(answer).find("Gather")
    assert gather is not None
    assert gather.get("action") == f"{BASE}{PREFIX}/heard?attempt={attempt_id}"
    assert (gather.get("input"), gather.get("numDigits")) == ("dtmf speech", "20")
    assert "x1" not in answer.text


def test_a_campaign_says_who_calls_and_how_not_to_be_called_again(client):
    _, attempt_id = campaign(caller_identity="This is Example.", opt_out_prompt="Press 9 to stop.")
    answer = answered(client, attempt_id)
    assert said(answer) == f"This is Example. Press 9 to stop. {settings.call_greeting}"
    gather = document(answer).find("Gather")
    assert gather is not None
    assert (gather.get("input"), gather.get("numDigits")) == ("dtmf", "1")


@pytest.mark.parametrize("by", ["machine_start", "machine_end_beep", "fax"])
def test_a_machine_that_answers_is_hung_up_on_or_left_the_message_without_questions(client, by):
    _, first = ordered("+491701234501", detection="hang_up")
    assert verbs(answered(client, first, 1, AnsweredBy=by)) == ["Hangup"]
    assert row(call_attempts, id=first)["answered_by"] == by
    _, second = campaign("+491701234502", detection="leave_message", opt_out_prompt="Press 9 to stop.")
    assert verbs(answered(client, second, 2, AnsweredBy=by)) == ["Say", "Hangup"]
    assert "Gather" in verbs(answered(client, second, 2, AnsweredBy="human"))


@pytest.mark.parametrize("by", ["human", "unknown", "", "Ünicode", None])
def test_whoever_is_no_machine_for_certain_is_a_person(client, by):
    _, attempt_id = ordered(detection="hang_up")
    assert verbs(answered(client, attempt_id, 1, **({} if by is None else {"AnsweredBy": by}))) == ["Say", "Hangup"]


@pytest.mark.parametrize("state", ["void", "not_taken", "refused"])
def test_nothing_is_said_in_a_call_that_was_given_up(client, state):
    _, attempt_id = ordered()
    parts().calls.ended_without_call(attempt_id, state, None, "no answer")
    assert verbs(answered(client, attempt_id)) == ["Hangup"]


def test_nothing_is_said_once_a_call_is_over(client):
    _, attempt_id = ordered()
    told(client, attempt_id, "completed", 3)
    assert verbs(answered(client, attempt_id)) == ["Hangup"]


def test_a_call_in_doubt_says_its_message_unless_another_one_has_taken_its_place(client):
    task_id, attempt_id = ordered()
    parts().calls.ended_without_call(attempt_id, "ambiguous", None, "nobody knows")
    assert verbs(answered(client, attempt_id)) == ["Say", "Hangup"]

    def again(connection: Any) -> None:
        connection.execute(calls.update().where(calls.c.id == task_id).values(state="waiting"))

    parts().database.write(again)
    call = parts().calls.read(task_id)
    assert call is not None
    second = attempted(call)
    assert verbs(answered(client, attempt_id)) == ["Hangup"]
    assert verbs(answered(client, second, 2)) == ["Say", "Hangup"]


@pytest.mark.parametrize("attempt_id", ["f" * 32, "", "x", "%27%3Bdrop", "%00", "a" * 300])
def test_nothing_is_said_for_an_attempt_that_nobody_knows(client, attempt_id):
    assert verbs(answered(client, attempt_id)) == ["Hangup"]


def test_nothing_is_said_for_a_cancelled_task_or_campaign(client):
    task_id, attempt_id = ordered("+491701234501")
    celery_service.cancel_task(task_id)
    assert verbs(answered(client, attempt_id, 1)) == ["Hangup"]
    campaign_id, attempt_id = campaign("+491701234502")
    celery_service.cancel_campaign(campaign_id)
    assert verbs(answered(client, attempt_id, 2)) == ["Hangup"]


def test_nothing_is_said_to_a_number_that_opted_out_while_it_rang(client):
    _, attempt_id = ordered()
    celery_service.add_opt_out(THEIRS)
    assert verbs(answered(client, attempt_id)) == ["Hangup"]


def test_the_second_of_two_calls_for_one_attempt_says_nothing(client):
    _, attempt_id = ordered()
    assert verbs(answered(client, attempt_id, 1)) == ["Say", "Hangup"]
    assert verbs(answered(client, attempt_id, 2)) == ["Hangup"]
    assert row(call_attempts, id=attempt_id)["call_sid"] == sid(1)


def test_a_call_of_another_attempt_says_nothing(client):
    (_, first), (_, second) = ordered("+491701234501"), ordered("+491701234502")
    told(client, first, "ringing", 1, 7)
    assert verbs(answered(client, second, 7)) == ["Hangup"]
    assert row(call_attempts, id=second)["call_sid"] is None


@pytest.mark.parametrize("seed", range(3))
def test_any_message_is_said_as_text_and_as_nothing_else(client, seed):
    drawn = random.Random(seed)
    pieces = ["</Say>", "<Dial>+1900</Dial>", "]]>", "&amp;", "&#0;", "\x00", "\x0b", "\x1b[1m", "\ufffe", "é", "😀"]
    pieces += ["<!--", "<?php ?>", '"', "'", "\r\n", "日本語", "\u202e", "hello ", "<speak>", "{{x}}", "%s"]
    for call in range(10):
        text = "a " + "".join(drawn.choice(pieces) for _ in range(drawn.randint(1, 400)))
        _, attempt_id = ordered(f"+4917012346{call:02}", call_metadata={"message": text})
        found = verbs(answered(client, attempt_id, call))
        assert set(found[:-1]) == {"Say"}
        assert found[-1] == "Hangup"


# --- Who calls us -----------------------------------------------------------------------------------------------


def called(client: TestClient, **more: str) -> Any:
    return post(client, "/incoming-call", form(sid(1), CallStatus="ringing", **(INBOUND | more)))


def test_who_calls_us_is_greeted(client):
    answer = called(client)
    assert (verbs(answer), said(answer)) == (["Say", "Hangup"], settings.call_greeting)


@pytest.mark.parametrize("what", ["greeting", "voicemail"])
def test_who_calls_us_is_greeted_as_usual_where_the_settings_cannot_be_said(client, monkeypatch, what):
    monkeypatch.setattr(settings, "call_inbound", what)
    monkeypatch.setattr(settings, "call_greeting", "<speak>Hello.</speak>")
    monkeypatch.setattr(settings, "call_opt_out_prompt", "<speak>Press 9.</speak>")
    answer = called(client)
    assert said(answer) == "Hello. This is an automated call."
    assert ("Record" in verbs(answer)) == (what == "voicemail")


def test_who_calls_us_can_leave_a_message_and_its_recording_is_kept(client, monkeypatch):
    monkeypatch.setattr(settings, "call_inbound", "voicemail")
    answer = called(client)
    assert verbs(answer) == ["Say", "Record", "Hangup"]
    record = document(answer).find("Record")
    assert record is not None
    assert record.get("recordingStatusCallback") == f"{BASE}{PREFIX}/recording"
    recorded = form(sid(1), RecordingSid="RE1", RecordingUrl="https://api.twilio.com/RE1", RecordingStatus="completed")
    assert [post(client, "/recording", recorded).status_code for _ in range(2)] == [204, 204]
    kept = [one for one in parts().call_events.of_call(sid(1)) if one["kind"] == "recording"]
    assert [one["raw"]["RecordingUrl"] for one in kept] == ["https://api.twilio.com/RE1"]
    monkeypatch.setattr(settings, "call_opt_out_prompt", "Press 9 to stop.")
    ended = form(sid(1), **INBOUND, Digits="9", RecordingDuration="7", RecordingUrl="https://api.twilio.com/RE1")
    assert verbs(post(client, "/heard", ended)) == ["Say", "Hangup"]
    assert not parts().opt_outs.has(THEIRS), "the key ended the recording"


def test_who_calls_us_is_put_through(client, monkeypatch):
    monkeypatch.setattr(settings, "call_inbound", "forward")
    monkeypatch.setattr(settings, "call_forward_to", "+4930123456")
    answer = called(client)
    assert verbs(answer) == ["Say", "Dial", "Number", "Hangup"]
    assert document(answer).findtext("Dial/Number") == "+4930123456"


@pytest.mark.parametrize("what", ["greeting", "voicemail", "forward"])
def test_who_calls_us_can_opt_out_where_a_prompt_is_set(client, monkeypatch, what):
    monkeypatch.setattr(settings, "call_inbound", what)
    monkeypatch.setattr(settings, "call_forward_to", "+4930123456")
    monkeypatch.setattr(settings, "call_opt_out_prompt", "Press 9 to stop.")
    gather = document(called(client)).find("Gather")
    assert gather is not None
    assert gather.get("action") == f"{BASE}{PREFIX}/heard"
    answer = post(client, "/heard", form(sid(1), **INBOUND, Digits="9"))
    assert said(answer) == "You will not be called again. Goodbye."
    assert parts().opt_outs.has(THEIRS)


@pytest.mark.parametrize(("what", "then"), [("voicemail", "Record"), ("forward", "Dial"), ("greeting", "Hangup")])
def test_another_key_than_nine_keeps_nobody_from_what_they_called_for(client, monkeypatch, what, then):
    monkeypatch.setattr(settings, "call_inbound", what)
    monkeypatch.setattr(settings, "call_forward_to", "+4930123456")
    monkeypatch.setattr(settings, "call_opt_out_prompt", "Press 9 to stop.")
    found = verbs(post(client, "/heard", form(sid(1), **INBOUND, Digits="1")))
    assert (then in found, "Gather" in found) == (True, False)
    assert not parts().opt_outs.has(THEIRS)


@pytest.mark.parametrize("number", ["anonymous", "", "client:ann", "sip:ann@example.com"])
def test_who_calls_without_a_number_is_only_thanked(client, monkeypatch, number):
    monkeypatch.setattr(settings, "call_opt_out_prompt", "Press 9 to stop.")
    answer = post(client, "/heard", form(sid(1), **(INBOUND | {"From": number}), Digits="9"))
    assert said(answer) == "Thank you. Goodbye."


def test_a_nine_of_who_calls_us_is_a_key_like_others_where_no_prompt_is_set(client):
    assert said(post(client, "/heard", form(sid(1), **INBOUND, Digits="9"))) == "Thank you. Goodbye."
    assert not parts().opt_outs.has(THEIRS)


def test_a_call_of_ours_without_an_attempt_says_nothing(client):
    assert verbs(post(client, "/incoming-call", form(sid(1), CallStatus="in-progress"))) == ["Hangup"]


# --- Keys and speech --------------------------------------------------------------------------------------------


def keys(client: TestClient, attempt_id: str, *, call: int = 1, message: str | None = None, **heard: str) -> Any:
    return post(client, f"/heard?attempt={attempt_id}", form(sid(call), **heard), message=message)


def test_who_presses_nine_is_called_no_more_by_anybody_at_once(client):
    _, attempt_id = campaign(opt_out_prompt="Press 9 to stop.")
    other = celery_service.queue_bulk_calls([THEIRS], delay_seconds=LATER)
    parts().calls.admit(other, [{"position": 0, "to_number": THEIRS, "from_number": OURS}])
    answered(client, attempt_id)
    answer = keys(client, attempt_id, Digits="9")
    assert (verbs(answer), said(answer)) == (["Say", "Hangup"], "You will not be called again. Goodbye.")
    kept = row(opt_outs, to_number=THEIRS)
    assert (kept["source"], kept["call_sid"]) == ("keypress", sid(1))
    assert row(calls, id=f"{other}:0")["state"] == "opted_out"
    assert row(members, task_id=other)["state"] == "opted_out"
    told(client, attempt_id, "completed", 3)
    assert row(members, task_id=row(call_attempts, id=attempt_id)["campaign_id"])["outcome"]["heard"] == [
        {"digits": "9"}
    ]


@pytest.mark.parametrize(("pressed", "opts_out"), [("99", True), ("9" * 20, True), ("19", False), ("91", False)])
def test_nine_that_is_pressed_again_and_again_where_more_keys_are_asked_for_opts_out_too(client, pressed, opts_out):
    _, attempt_id = campaign(opt_out_prompt="Press 9 to stop.", call_metadata={"gather_input": True})
    answered(client, attempt_id)
    ends = "You will not be called again. Goodbye." if opts_out else "Thank you. Goodbye."
    assert said(keys(client, attempt_id, Digits=pressed)) == ends
    assert parts().opt_outs.has(THEIRS) is opts_out


def test_nine_is_a_key_like_others_where_no_prompt_was_said(client):
    _, attempt_id = ordered(call_metadata={"gather_input": True})
    answered(client, attempt_id)
    assert said(keys(client, attempt_id, Digits="9")) == "Thank you. Goodbye."
    assert not parts().opt_outs.has(THEIRS)


def test_what_was_heard_is_kept_with_the_call_once_and_within_bounds(client):
    task_id, attempt_id = ordered(call_metadata={"gather_input": True})
    answered(client, attempt_id)
    for _ in range(2):
        keys(client, attempt_id, message="one", SpeechResult="x" * 3_000, Confidence="0.93")
        keys(client, attempt_id, message="two", Digits="12#")
    for bad in ({"Digits": "1" * 21}, {"Digits": "hangup"}, {"Digits": "<b>"}, {"SpeechResult": "  "}, {}):
        keys(client, attempt_id, **bad)
    assert row(calls, id=task_id)["heard"] == [{"speech": "x" * 2_000, "confidence": 0.93}, {"digits": "12#"}]
    assert parts().calls.info(sid(1))["heard"][1] == {"digits": "12#"}


def test_a_message_of_the_same_name_is_the_same_message_whatever_it_says(client):
    task_id, attempt_id = ordered(call_metadata={"gather_input": True})
    keys(client, attempt_id, message="one", Digits="1")
    keys(client, attempt_id, message="one", Digits="2")
    keys(client, attempt_id, message="<script>" * 20, Digits="3")
    assert row(calls, id=task_id)["heard"] == [{"digits": "1"}, {"digits": "3"}]


def test_keys_that_come_after_the_end_are_kept_all_the_same(client):
    _, attempt_id = campaign(opt_out_prompt="Press 9 to stop.")
    answered(client, attempt_id)
    told(client, attempt_id, "completed", 3)
    keys(client, attempt_id, Digits="9")
    assert parts().opt_outs.has(THEIRS)
    assert row(calls, to_number=THEIRS)["heard"] == [{"digits": "9"}]


# --- How calls stand --------------------------------------------------------------------------------------------


def test_each_step_of_a_call_is_kept_and_its_end_ends_it(client):
    task_id, attempt_id = ordered()
    for at, status in enumerate(["initiated", "ringing", "in-progress"]):
        answer = told(client, attempt_id, status, at)
        assert (answer.status_code, answer.content) == (204, b"")
    told(client, attempt_id, "completed", 3, CallDuration="41", Duration="1", SipResponseCode="200", AnsweredBy="human")
    found = row(call_attempts, id=attempt_id)
    assert (found["state"], found["status"], found["duration_seconds"]) == ("ended", "completed", 41)
    assert (found["sip_code"], found["answered_by"]) == (200, "human")
    assert row(calls, id=task_id)["state"] == "done"
    kept = parts().call_events.of_call(sid(1))
    assert [one["status"] for one in kept] == ["initiated", "ringing", "in-progress", "completed"]
    assert "signature" not in str(kept).lower()


def test_minutes_count_where_the_seconds_are_missing(client):
    _, attempt_id = ordered()
    told(client, attempt_id, "completed", Duration="2")
    found = row(call_attempts, id=attempt_id)
    assert (found["state"], found["sequence"], found["duration_seconds"]) == ("ended", None, 120)


@pytest.mark.parametrize("spelling", ["canceled", "cancelled", "Cancelled"])
def test_both_spellings_of_a_cancelled_call_end_it(client, spelling):
    _, attempt_id = ordered()
    told(client, attempt_id, spelling, 1)
    assert row(call_attempts, id=attempt_id)["status"] == "canceled"


@pytest.mark.parametrize("strange", ["transferring", "", "x" * 500, "☎", "completed\x00"])
def test_a_status_that_nobody_knows_is_kept_and_ends_nothing(client, strange):
    _, attempt_id = ordered()
    told(client, attempt_id, "ringing", 1)
    assert told(client, attempt_id, strange, 2, SomethingNew="1").status_code == 204
    assert row(call_attempts, id=attempt_id)["status"] == "ringing"
    assert len(parts().call_events.of_call(sid(1))) == 2


@pytest.mark.parametrize("figure", ["-1", "1e9", "9" * 30, "١", "", "2147483648"])
def test_a_figure_that_is_none_is_no_fault(client, figure):
    _, attempt_id = ordered()
    figures = {"CallDuration": figure, "Duration": figure, "SequenceNumber": figure, "SipResponseCode": "-"}
    answer = told(client, attempt_id, "completed", **figures)
    assert answer.status_code == 204
    assert row(call_attempts, id=attempt_id)["duration_seconds"] is None


def test_a_machine_that_is_told_after_the_end_is_told_with_the_call(client):
    task_id, attempt_id = ordered()
    told(client, attempt_id, "completed", 3, CallDuration="9")
    fields = form(sid(1), AnsweredBy="machine_end_beep", MachineDetectionDuration="3100")
    assert post(client, f"/answered-by?attempt={attempt_id}", fields).status_code == 204
    found = row(calls, id=task_id)
    assert (found["state"], found["outcome"], found["answered_by"]) == ("done", "machine", "machine_end_beep")


def test_the_status_that_is_asked_for_never_goes_backwards(client):
    ranks = ["initiated", "ringing", "in-progress", "completed"]
    for seed in range(6):
        drawn = random.Random(seed)
        _, attempt_id = ordered(f"+4917012345{seed:02}")
        seen: list[int] = []
        for at in drawn.choices(range(4), k=10):
            told(client, attempt_id, ranks[at], at, seed)
            seen.append(ranks.index(parts().calls.info(sid(seed))["status"]))
        assert seen == sorted(seen), seed


def test_a_second_call_for_one_attempt_is_ended_once_and_the_first_one_goes_on(client):
    _, attempt_id = ordered()
    told(client, attempt_id, "ringing", 1, 1)
    for at, status in enumerate(["initiated", "ringing", "ringing"]):
        told(client, attempt_id, status, at, 2)
    query = select(task_records.c.kwargs).where(task_records.c.name == "twilio_calls.end_call")
    assert parts().database.read(lambda c: c.execute(query).scalars().all()) == [{"call_sid": sid(2)}]
    found = row(call_attempts, id=attempt_id)
    assert (found["call_sid"], found["status"]) == (sid(1), "ringing")


def test_a_call_that_was_given_up_and_rings_after_all_is_ended(client):
    _, attempt_id = ordered()
    parts().calls.ended_without_call(attempt_id, "void", None, "not listed")
    told(client, attempt_id, "ringing", 1)
    assert row(task_records, name="twilio_calls.end_call")["kwargs"] == {"call_sid": sid(1)}


# --- Forged, altered, replayed ----------------------------------------------------------------------------------

PATHS = ("/incoming-call", "/call-status", "/answered-by", "/recording", "/heard")


Sent = tuple[str, dict[str, str], str | None]
"""A path, the fields of a form, and a signature."""

ALTERATIONS: dict[str, Callable[[str, dict[str, str], str], Sent]] = {
    "unsigned": lambda path, fields, _: (path, fields, None),
    "empty signature": lambda path, fields, _: (path, fields, ""),
    "strange signature": lambda path, fields, _: (path, fields, "\xe9" * 9),
    "another token": lambda path, fields, _: (path, fields, signed(PREFIX + path, fields, token="x" * 32)),
    "http for https": lambda path, fields, _: (path, fields, signed(PREFIX + path, fields, base="http" + BASE[5:])),
    "another host": lambda path, fields, _: (path, fields, signed(PREFIX + path, fields, base=EVIL)),
    "altered": lambda path, fields, right: (path, fields | {"CallStatus": "completed", "Digits": "9"}, right),
    "blank dropped": lambda path, fields, right: (path, {name: one for name, one in fields.items() if one}, right),
    "field added": lambda path, fields, right: (path, fields | {"New": "1"}, right),
    "another attempt": lambda path, fields, right: (path.replace("=", "=0"), fields, right),
    "query re-encoded": lambda path, fields, right: (path.replace("attempt", "%61ttempt"), fields, right),
    "path re-encoded": lambda path, fields, right: (f"/%{ord(path[1]):02X}{path[2:]}", fields, right),
}


@pytest.mark.parametrize("kind", ALTERATIONS)
@pytest.mark.parametrize("path", PATHS)
def test_what_twilio_has_not_signed_like_this_is_refused_and_changes_no_row(client, path, kind):
    _, attempt_id = campaign(opt_out_prompt="Press 9 to stop.")
    fields = form(sid(1), CallStatus="ringing", SequenceNumber="1", AnsweredBy="human", Digits="1")
    before, whole = all_rows(), f"{path}?attempt={attempt_id}"
    where, what, signature = ALTERATIONS[kind](whole, fields, signed(PREFIX + whole, fields))
    headers = {"Content-Type": FORM, "X-Forwarded-Host": EVIL[8:], "X-Forwarded-Proto": "http"}
    sent = headers if signature is None else headers | {"X-Twilio-Signature": signature}
    encoded = {name: value.encode("latin-1") for name, value in sent.items()}
    assert client.post(PREFIX + where, content=urlencode(what), headers=encoded).status_code == 403
    assert all_rows() == before
    assert client.post(PREFIX + where, content=urlencode(what), headers={"Content-Type": FORM}).status_code == 403


@pytest.mark.parametrize("path", PATHS)
def test_what_proxies_say_of_an_address_makes_no_difference(client, path):
    _, attempt_id = campaign(opt_out_prompt="Press 9 to stop.")
    more = {"X_Forwarded_Host": EVIL[8:], "X_Forwarded_Proto": "http", "Forwarded": "host=evil.example"}
    answer = post(client, f"{path}?attempt={attempt_id}", form(sid(1), CallStatus="ringing"), **more)
    assert answer.status_code in {200, 204}


@pytest.mark.parametrize("path", PATHS)
def test_what_is_signed_for_another_account_is_refused(client, path):
    _, attempt_id = ordered()
    before = all_rows()
    for account in ("AC" + "f" * 32, ""):
        fields = form(sid(1), CallStatus="completed", AccountSid=account)
        assert post(client, f"{path}?attempt={attempt_id}", fields).status_code == 403
    fields.pop("AccountSid")
    assert post(client, f"{path}?attempt={attempt_id}", fields).status_code == 403
    assert all_rows() == before


@pytest.mark.parametrize("path", PATHS)
def test_without_an_account_nothing_is_let_in(client, monkeypatch, path):
    monkeypatch.setattr(settings, "twilio_auth_token", None)
    vars(parts()).pop("voice", None)
    before = all_rows()
    assert post(client, path, form(sid(1), CallStatus="ringing")).status_code == 403
    empty = signed(PREFIX + path, form(sid(1)), token="")
    assert post(client, path, form(sid(1)), X_Twilio_Signature=empty).status_code == 403
    assert all_rows() == before


def test_a_token_that_is_being_changed_is_good(client):
    _, attempt_id = ordered()
    fields, path = form(sid(1), CallStatus="ringing"), f"/call-status?attempt={attempt_id}"
    former = signed(PREFIX + path, fields, token=FORMER_TOKEN)
    assert post(client, path, fields, X_Twilio_Signature=former).status_code == 204


def test_what_is_replayed_changes_no_row(client):
    _, attempt_id = campaign(opt_out_prompt="Press 9 to stop.")

    def everything() -> None:
        told(client, attempt_id, "ringing", 1)
        answered(client, attempt_id)
        keys(client, attempt_id, Digits="1")
        told(client, attempt_id, "completed", 3)

    everything()
    before = all_rows()
    everything()
    assert all_rows() == before


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [b"\xff\xfe=1", b"&".join([b"a=1"] * 600), b"%ff=1", b"", b"\x00"])
def test_a_body_that_is_no_form_is_refused(client, path, body):
    headers = {"Content-Type": FORM, "X-Twilio-Signature": signed(PREFIX + path, {})}
    assert client.post(PREFIX + path, content=body, headers=headers).status_code == 403


@pytest.mark.parametrize("path", PATHS)
def test_a_body_is_bounded_and_only_posted(client, path):
    assert client.post(PREFIX + path, content=b"a" * (MOST_BYTES + 1)).status_code == 413
    assert client.get(PREFIX + path).status_code == 405


# --- What goes wrong here ---------------------------------------------------------------------------------------


@pytest.fixture
def database_away(service, tmp_path) -> Iterator[None]:
    """Records that cannot be opened."""
    with parts_replaced(Parts(Database(f"sqlite:///{tmp_path / 'nowhere' / 'records.db'}"))):
        yield


@pytest.mark.usefixtures("database_away")
def test_while_the_database_is_away_calls_hear_an_apology_and_messages_are_to_be_told_again(client):
    for path in (f"/incoming-call?attempt={'a' * 32}", "/incoming-call", f"/heard?attempt={'a' * 32}"):
        answer = post(client, path, form(sid(1), Direction="inbound", CallStatus="in-progress", Digits="9"))
        assert (verbs(answer), "sorry" in said(answer)) == (["Say", "Hangup"], True)
    for path in ("/call-status", "/answered-by", "/recording"):
        answer = post(client, f"{path}?attempt={'a' * 32}", form(sid(1), CallStatus="completed"))
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:csai:service-unavailable")
    assert post(client, "/incoming-call", form(sid(1)), X_Twilio_Signature="x").status_code == 403


def test_no_number_token_or_signature_is_logged(client, caplog):
    caplog.set_level(logging.DEBUG)
    _, attempt_id = campaign(opt_out_prompt="Press 9 to stop.")
    signatures = [signed(f"{PREFIX}/call-status?attempt={attempt_id}", form(sid(1), CallStatus="ringing"))]
    told(client, attempt_id, "ringing", 1)
    told(client, attempt_id, "ringing", 1, 2)
    told(client, "f" * 32, "ringing", 1, 3)
    answered(client, attempt_id)
    answered(client, "f" * 32)
    called(client)
    keys(client, attempt_id, Digits="9")
    post(client, "/call-status", form(sid(1)), X_Twilio_Signature="forgedSignature")
    lines = "\n".join(one.getMessage() for one in caplog.records if one.name.startswith("csai"))
    assert "opted_out" in lines
    assert "call_webhook_refused" in lines
    assert "unwanted_call" in lines
    hidden = [THEIRS, THEIRS[1:], OURS, OURS[1:], TOKEN, FORMER_TOKEN, "forgedSignature", *signatures]
    assert not [secret for secret in hidden if secret in lines]
    assert not re.search(r"\+?\d{8,}", NAMES_AND_TIMES.sub("", lines))
