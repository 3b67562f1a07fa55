"""Notifications by the facade: what a person wants, where that one is reached, and one outcome for each channel."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from config.settings import settings
from mail_rows import ScriptedMailer
from notification_carriers import FileCarrier, carriers_of_service, subscription
from processors import notifications
from processors.carriers import Notice, Receipt
from processors.errors import IdempotencyConflict, InvalidArgument, TaskFailed
from processors.interfaces import Outcome
from records.task_records import columns, task_records
from services.celery_service import celery_service
from services.notifications import channel_id
from services.testing import InlineService
from services.wiring import Parts, parts


@pytest.fixture(autouse=True)
def service(inline_service: InlineService) -> InlineService:
    return inline_service


@pytest.fixture
def carriers(tmp_path: Path, monkeypatch) -> dict[str, FileCarrier]:
    """Carriers for push, sms and chat."""
    return carriers_of_service(tmp_path, monkeypatch)


@pytest.fixture
def clock(monkeypatch) -> list[datetime]:
    """What the time is: the last one in the list."""
    times = [datetime(2026, 5, 4, 12, tzinfo=UTC)]
    monkeypatch.setattr(notifications, "utc_now", lambda: times[-1])
    return times


def mails(service: InlineService) -> list[str]:
    return [path.read_text() for path in sorted(service.outbox.glob("*.eml"))]


def notify(*channels: str, user: str = "12345", **more) -> str:
    return celery_service.send_notification(user, "welcome", "Hello", "Welcome!", channels=list(channels), **more)


def result(task_id: str) -> dict:
    return celery_service.get_task_result(task_id, timeout=0)


def failure(task_id: str) -> tuple[dict, str]:
    with pytest.raises(TaskFailed) as failed:
        result(task_id)
    return failed.value.result, str(failed.value)


def test_the_documents_example_is_accepted_and_without_a_contact_says_what_to_do():
    task_id = celery_service.send_notification(
        user_id="12345",
        notification_type="welcome",
        title="Welcome",
        message="Thank you for registering",
        channels=["email", "push"],
    )
    info, error = failure(task_id)
    assert (info["status"], info["code"], info["id"]) == ("failed", "no_endpoint", task_id)
    assert info["channels"] == {
        "email": {"status": "skipped", "reason": "no_endpoint"},
        "push": {"status": "skipped", "reason": "not_configured"},
    }
    assert "set_contact" in error
    assert "CONTACT_DIRECTORY_URL" in error
    assert celery_service.get_task_status(task_id)["info"]["code"] == "no_endpoint"


def test_a_mail_goes_to_the_contacts_address_and_email_is_the_default(service):
    celery_service.set_contact("12345", email="Ann <ann@example.com>")
    task_id = celery_service.send_notification("12345", "welcome", "Hello Änn", "Welcome!")
    told = result(task_id)
    assert (told["status"], told["id"], told["replayed"], set(told["channels"])) == ("sent", task_id, False, {"email"})
    email = told["channels"]["email"]
    assert (email["status"], email["accepted"], email["id"]) == ("sent", ["ann@example.com"], task_id)
    (mail,) = mails(service)
    assert "Ann" in mail
    assert "Welcome!" in mail


def test_a_contacts_language_is_said_by_its_mail_and_to_its_carriers(service, carriers, monkeypatch):
    celery_service.set_contact("12345", email="ann@example.com", push=[subscription("one")], language="de-CH")
    notices: list[Notice] = []
    monkeypatch.setattr(carriers["push"], "send", lambda notice, _: notices.append(notice) or Receipt())
    assert result(notify("email", "push"))["status"] == "sent"
    (mail,) = mails(service)
    assert "\nContent-Language: de-CH\n" in mail.partition("\n\n")[0]
    assert [one.language for one in notices] == ["de-CH"]

    celery_service.set_contact("12345", language="")
    assert result(notify("email", "push"))["status"] == "sent"
    assert sum("Content-Language" in mail for mail in mails(service)) == 1
    assert notices[1].language is None


def test_each_channel_is_told_by_its_own_carrier(service, carriers):
    celery_service.set_contact(
        "12345",
        email="ann@example.com",
        phone="+491701234567",
        push=[subscription("one"), subscription("two")],
        chat=["slack://a/b/c"],
    )
    told = result(notify("push", "sms", "chat", "email", "inbox", "email"))
    assert told["status"] == "sent"
    assert list(told["channels"]) == ["inbox", "email", "push", "sms", "chat"]
    assert told["channels"]["push"] == {"status": "sent", "carrier": "push", "devices": {"sent": 2}}
    assert told["channels"]["sms"] == {"status": "sent", "carrier": "sms", "endpoints": {"sent": 1}}
    (item,) = celery_service.get_inbox("12345")["items"]
    assert told["channels"]["inbox"] == {"status": "stored", "id": item["id"]}
    assert len(mails(service)) == 1
    assert [line["where"] for line in carriers["chat"].lines("sent")] == ["slack://a/b/c"]


def test_a_channel_that_fails_for_now_repeats_no_other_one_and_no_other_endpoint(service, carriers):
    celery_service.set_contact(
        "12345", email="ann@example.com", push=[subscription("fine"), subscription("twice"), subscription("also-fine")]
    )
    told = result(notify("email", "push", "inbox"))
    assert (told["status"], told["channels"]["push"]["devices"]) == ("sent", {"sent": 3})
    sent = sorted(line["where"].rpartition("/")[2] for line in carriers["push"].lines("sent"))
    assert sent == ["also-fine", "fine", "twice"]
    assert len(carriers["push"].lines("tried")) == 5
    assert len(mails(service)) == 1
    assert len(celery_service.get_inbox("12345")["items"]) == 1


def test_an_endpoint_that_is_gone_is_counted_and_forgotten(carriers):
    celery_service.set_contact("12345", push=[subscription("gone"), subscription("fine")], chat=["slack://gone"])
    told = result(notify("push", "chat"))
    assert told["status"] == "partial"
    push = told["channels"]["push"]
    assert (push["status"], push["devices"]) == ("partial", {"sent": 1, "gone": 1})
    assert told["channels"]["chat"]["status"] == "failed"
    assert parts().contacts.read("12345")["push"] == [
        {name: value for name, value in subscription("fine").items() if name != "expirationTime"}
    ]
    assert celery_service.get_contact("12345")["chat"] is None
    assert result(notify("push"))["channels"]["push"]["devices"] == {"sent": 1}


def test_an_endpoint_that_always_fails_ends_as_refused_and_the_others_are_sent_once(carriers):
    celery_service.set_contact("12345", push=[subscription("always"), subscription("fine")])
    told = result(notify("push"))
    push = told["channels"]["push"]
    assert (told["status"], push["status"], push["devices"]) == ("partial", "partial", {"sent": 1, "refused": 1})
    assert "busy" in push["text"]
    assert len(carriers["push"].lines("sent")) == 1


@pytest.mark.usefixtures("carriers")
def test_where_every_channel_fails_the_task_fails_and_says_why():
    celery_service.set_contact("12345", push=[subscription("refused")])
    info, error = failure(notify("push"))
    assert info["status"] == "failed"
    assert "code" not in info
    assert "It is refused." in error


def test_what_vanished_is_in_doubt_and_not_sent_again(service, carriers):
    celery_service.set_contact("12345", push=[subscription("vanishes")])
    task_id = notify("push", "inbox")
    assert len(carriers["push"].lines("tried")) == 1
    service.advance(120)
    told = result(task_id)
    assert (told["status"], told["channels"]["push"]["status"]) == ("partial", "unknown")
    assert len(carriers["push"].lines("tried")) == 1
    assert [one["kind"] for one in celery_service.get_effects_in_doubt()] == ["effect"]


# --- Preferences ---


@pytest.mark.parametrize(
    ("preferences", "wanted"),
    [
        ({}, True),
        ({"channels": {"email": False}}, False),
        ({"types": {"welcome": False}}, False),
        ({"types": {"news": False}}, True),
        ({"channels": {"email": False}, "types": {"welcome": True}}, False),
        ({"channels": {"email": False}, "type_channels": {"welcome": {"email": True}}}, True),
        ({"types": {"welcome": False}, "type_channels": {"welcome": {"email": True}}}, True),
        ({"type_channels": {"welcome": {"email": False}}}, False),
        ({"type_channels": {"welcome": {"sms": False}}}, True),
    ],
)
def test_a_person_is_told_what_is_wanted(service, preferences, wanted):
    celery_service.set_contact("12345", email="ann@example.com", preferences=preferences)
    told = result(notify("email"))
    assert told["status"] == ("sent" if wanted else "skipped")
    assert len(mails(service)) == int(wanted)
    if not wanted:
        assert told["channels"]["email"] == {"status": "skipped", "reason": "preference"}


def test_what_is_not_wanted_on_all_channels_succeeds_as_skipped_and_goes_nowhere(service):
    celery_service.set_contact("12345", email="ann@example.com", preferences={"types": {"welcome": False}})
    assert result(notify("email", "inbox"))["status"] == "skipped"
    assert celery_service.get_inbox("12345")["items"] == []


def test_what_is_critical_is_told_in_any_case(service, monkeypatch):
    celery_service.set_contact("12345", email="ann@example.com", preferences={"types": {"welcome": False}})
    assert result(notify("email", "inbox", critical=True))["status"] == "sent"
    monkeypatch.setattr(settings, "notification_critical_types", ["welcome"])
    assert result(notify("email", digest=3600))["status"] == "sent", "at once, although it might gather"
    assert len(mails(service)) == 2


def test_preferences_are_asked_when_it_is_sent(service):
    celery_service.set_contact("12345", email="ann@example.com")
    task_id = notify("email", delay_seconds=60)
    celery_service.set_contact("12345", preferences={"channels": {"email": False}})
    service.advance(61)
    assert result(task_id)["status"] == "skipped"
    assert mails(service) == []


# --- Quiet hours ---

QUIET = {"from": "22:00", "to": "07:00"}


def test_quiet_hours_put_a_channel_off_to_their_end_which_is_no_attempt(service, clock, carriers):
    celery_service.set_contact(
        "12345", email="ann@example.com", time_zone="America/New_York", quiet_hours=QUIET, push=[subscription("one")]
    )
    clock.append(datetime(2026, 5, 5, 9, 30, tzinfo=UTC))  # 05:30 there
    task_id = notify("email", "push", "inbox")
    assert celery_service.get_task_status(task_id)["status"] == "PROGRESS"
    assert len(celery_service.get_inbox("12345")["items"]) == 1, "an inbox disturbs nobody"
    channels = celery_service.get_task_status(task_id)["info"]["channels"]
    assert channels["inbox"]["status"] == "stored"
    assert (channels["email"]["waits_for"], channels["push"]["waits_for"]) == ("retry", "retry")
    assert channels["email"]["due_at"] == celery_service.get_task_status(channel_id(task_id, 1))["due_at"]
    assert "Quiet hours of America/New_York until 2026-05-05T07:00" in channels["email"]["error"]
    waiting = celery_service.get_task_status(channel_id(task_id, 1))
    assert waiting["info"]["waits_for"] == "retry"
    due = datetime.fromisoformat(waiting["due_at"]) - datetime.now(UTC)
    assert abs(due - timedelta(minutes=90)) < timedelta(minutes=1)
    for minutes in (30, 60, 89):  # nothing moves before its due time, and nothing is counted
        service.advance(1)
        clock.append(datetime(2026, 5, 5, 9, 30, tzinfo=UTC) + timedelta(minutes=minutes))
    assert mails(service) == []
    clock.append(datetime(2026, 5, 5, 11, 0, tzinfo=UTC))
    service.advance(5400)
    told = result(task_id)
    assert told["status"] == "sent"
    assert celery_service.get_task_status(channel_id(task_id, 1))["attempts"] == 1
    assert (len(mails(service)), len(carriers["push"].lines("sent"))) == (1, 1)


@pytest.mark.parametrize("night", [datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)], ids=str)
def test_when_the_clocks_are_changed_at_night_or_jump_an_hour_each_channel_is_told_once_and_not_in_quiet_hours(
    service, clock, carriers, night
):
    berlin = ZoneInfo("Europe/Berlin")
    celery_service.set_contact(
        "12345", email="ann@example.com", time_zone=berlin.key, quiet_hours=QUIET, push=[subscription("one")]
    )
    clock.append(night.replace(hour=21, minute=30))
    end = (night + timedelta(days=1)).replace(hour=7, tzinfo=berlin).astimezone(UTC)
    waits = end - clock[-1]
    task_id = notify("email", "push")
    due = datetime.fromisoformat(celery_service.get_task_status(channel_id(task_id, 0))["due_at"]) - datetime.now(UTC)
    assert abs(due - waits) < timedelta(minutes=1)

    clock.append(end - timedelta(hours=1))  # put back by an hour while it waited
    service.advance(waits.total_seconds())
    assert (mails(service), carriers["push"].lines("tried")) == ([], [])
    clock.append(end + timedelta(hours=1))  # and put forward
    service.advance(3601)
    service.advance(24 * 3600)
    assert result(task_id)["status"] == "sent"
    assert (len(mails(service)), len(carriers["push"].lines("sent"))) == (1, 1)
    assert celery_service.get_task_status(channel_id(task_id, 0))["attempts"] == 1


def test_quiet_hours_that_were_changed_meanwhile_count(service, clock):
    celery_service.set_contact("12345", email="ann@example.com", time_zone="UTC", quiet_hours=QUIET)
    clock.append(datetime(2026, 5, 5, 6, 0, tzinfo=UTC))
    task_id = notify("email")
    celery_service.set_contact("12345", quiet_hours={"from": "22:00", "to": "09:00"})
    clock.append(datetime(2026, 5, 5, 7, 0, tzinfo=UTC))
    service.advance(3601)
    assert celery_service.get_task_status(task_id)["status"] == "PROGRESS"
    clock.append(datetime(2026, 5, 5, 9, 0, tzinfo=UTC))
    service.advance(7201)
    assert result(task_id)["status"] == "sent"


def test_what_expires_in_quiet_hours_is_skipped_at_once_and_what_is_critical_wakes(clock, service):
    celery_service.set_contact("12345", email="ann@example.com", time_zone="UTC", quiet_hours=QUIET)
    clock.append(datetime.now(UTC).replace(hour=23, minute=0))
    told = result(notify("email", expires_at=datetime.now(UTC) + timedelta(minutes=5)))
    assert (told["status"], told["channels"]["email"]["reason"]) == ("skipped", "quiet_hours")
    assert result(notify("email", critical=True))["status"] == "sent"


# --- Digest ---


def test_what_gathers_goes_out_as_one_when_the_window_closes(service):
    celery_service.set_contact("12345", email="ann@example.com")
    ids = {
        celery_service.send_notification("12345", "news", f"Title {n}", f"Text {n}", ["email", "inbox"], digest=604800)
        for n in range(3)
    }
    (task_id,) = ids
    assert mails(service) == []
    service.advance(604801)
    told = result(task_id)
    assert (told["status"], told["gathered"]) == ("sent", 3)
    (mail,) = mails(service)
    assert all(f"Title {n}" in mail and f"Text {n}" in mail for n in range(3))
    (item,) = celery_service.get_inbox("12345")["items"]
    assert item["title"] == "3 notifications: news"


def test_a_single_one_in_a_digest_is_as_it_is(service):
    celery_service.set_contact("12345", email="ann@example.com")
    task_id = notify("inbox", digest=604800, url="/a")
    service.advance(604801)
    assert result(task_id)["gathered"] == 1
    (item,) = celery_service.get_inbox("12345")["items"]
    assert (item["title"], item["body"], item["url"]) == ("Hello", "Welcome!", "/a")


def test_a_type_that_hides_a_line_break_is_refused_before_it_could_spoil_the_subject_of_a_digest():
    hidden = "=?utf-8?q?news=0D=0ABcc:_evil@example.com?="
    with pytest.raises(InvalidArgument, match=r"notification_type: .*must not contain control characters"):
        celery_service.send_notification("12345", hidden, "Title", "Text", ["email"], digest=604800)


def test_a_digest_takes_no_due_time_of_a_callers_own():
    with pytest.raises(InvalidArgument, match="digest: goes out when its window closes"):
        notify("inbox", digest=3600, delay_seconds=5)


# --- Inbox ---


def test_an_inbox_is_read_page_by_page_and_marked():
    for number in range(3):
        celery_service.send_notification("7", "news", f"n{number}", "…", ["inbox"], url="https://example.com/a")
    found = celery_service.get_inbox("7", limit=2)
    assert ([one["title"] for one in found["items"]], found["unseen"], found["unread"]) == (["n2", "n1"], 3, 3)
    newest = found["items"][0]
    assert newest["url"] == "https://example.com/a"
    assert datetime.fromisoformat(newest["created_at"]).tzinfo is not None
    assert [one["title"] for one in celery_service.get_inbox("7", before=found["items"][-1]["id"])["items"]] == ["n0"]
    assert celery_service.mark_inbox("7", [newest["id"]], "read") == 1
    assert celery_service.mark_inbox("8", [newest["id"]], "unread") == 0
    found = celery_service.get_inbox("7", unread_only=True)
    assert ([one["title"] for one in found["items"]], found["unseen"], found["unread"]) == (["n1", "n0"], 2, 2)


# --- Submitting ---


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: notify("fax"), r"channels: must be of inbox, email, push, sms, chat; got 'fax'"),
        (notify, "channels: .*an empty list"),
        (lambda: notify("inbox", user=""), "user_id"),
        (lambda: notify("inbox", user=".."), "user_id: .*neither . nor .."),
        (lambda: notify("inbox", url="javascript:alert(1)"), "url: must be an http"),
        (lambda: notify("inbox", url="//evil.example.com"), "url: must be an http"),
        (lambda: notify("inbox", digest=5), "digest"),
        (lambda: notify("inbox", digest=True), "digest"),
        (
            lambda: celery_service.send_notification("1", "t", "a\r\nBcc: x@y.de", "m"),
            "title: must not contain control",
        ),
        (lambda: celery_service.send_notification("1", "t", "=?utf-8?q?a=0D=0ABcc:_e@x.com?=", "m"), "title"),
        (lambda: celery_service.send_notification("1", "t", "x" * 1_000_000, "m"), "title"),
        (lambda: celery_service.send_notification("1", "t", "t", "m" * 1_000_001), "message: has 1000003 of the"),
        (lambda: celery_service.send_notification("1", "t", "t", "m\0"), "message"),
        (lambda: celery_service.send_notification("1", "", "t", "m"), "notification_type"),
        (lambda: celery_service.set_contact("1", email="nobody"), "email: must be one mail address"),
        (lambda: celery_service.set_contact("1", phone="0170"), "phone"),
        (lambda: celery_service.set_contact("1", time_zone="Mars/Olympus"), "time_zone: must be an IANA name"),
        (lambda: celery_service.set_contact("1", quiet_hours={"from": "7", "to": "8"}), "quiet_hours.from"),
        (lambda: celery_service.set_contact("1", preferences={"channels": {"fax": True}}), "preferences.channels.fax"),
        (lambda: celery_service.set_contact("1", push=[{"endpoint": "http://x"}]), "push.0"),
        (lambda: celery_service.set_contact("1", language="Deutsch!"), "language"),
        (lambda: celery_service.get_inbox("1", limit=0), "limit"),
        (lambda: celery_service.mark_inbox("1", [1], "gone"), "mark"),
        (lambda: celery_service.mark_inbox("1", ["1"], "read"), "ids.0"),
    ],
    ids=range(24),
)
def test_a_bad_argument_is_one_sentence_and_nothing_is_recorded(call, words):
    with pytest.raises(InvalidArgument, match=words) as error:
        call()
    assert "\n" not in str(error.value)
    assert parts().tasks.active(limit=10) == []
    assert parts().contacts.read("1") is None


def test_a_key_given_twice_is_one_notification(service):
    celery_service.set_contact("12345", email="ann@example.com")
    ids = {notify("email", "inbox", idempotency_key="order-1") for _ in range(3)}
    assert len(ids) == 1
    assert (len(mails(service)), len(celery_service.get_inbox("12345")["items"])) == (1, 1)
    with pytest.raises(IdempotencyConflict):
        notify("email", idempotency_key="order-1")


def test_a_notification_that_was_cancelled_while_it_waited_tells_which_channels_had_delivered(clock):
    celery_service.set_contact("12345", email="ann@example.com", quiet_hours=QUIET)
    clock.append(datetime(2026, 5, 5, 6, 0, tzinfo=UTC))
    task_id = notify("email", "inbox")
    assert celery_service.cancel_task(task_id)
    told = celery_service.get_task_status(task_id)
    assert (told["status"], told["info"]["error_type"]) == ("REVOKED", "TaskCancelled")
    assert told["info"]["channels"]["inbox"]["status"] == "stored"
    assert told["info"]["channels"]["email"] == {"status": "skipped", "reason": "cancelled"}


def test_a_cancelled_notification_goes_nowhere(service):
    celery_service.set_contact("12345", email="ann@example.com")
    task_id = notify("email", "inbox", delay_seconds=60)
    assert celery_service.cancel_task(task_id)
    service.advance(61)
    assert (mails(service), celery_service.get_inbox("12345")["items"]) == ([], [])


# --- Contacts ---


def test_a_contact_is_changed_field_by_field_and_its_secrets_are_shown_to_nobody():
    celery_service.set_contact(
        "1", email="ann@example.com", chat=["slack://T1AAAAAA1/B1AAAAAA1/tokenaAAAAAAAAAAAAAAAAAA"]
    )
    told = celery_service.set_contact("1", phone="+491701234567", push=[subscription("secret-path")])
    assert told == celery_service.get_contact("1")
    assert (told["email"], told["phone"], told["chat"]) == ("ann@example.com", "+491701234567", ["slack://***"])
    assert told["push"] == [{"endpoint": "https://push.example.com/***", "keys": "***"}]
    assert celery_service.set_contact("1", email="", chat=[])["email"] is None
    assert celery_service.get_contact("1")["chat"] is None
    assert celery_service.get_contact("1")["phone"] == "+491701234567"
    assert (celery_service.delete_contact("1"), celery_service.delete_contact("1")) == (True, False)
    assert celery_service.get_contact("1") is None


@pytest.mark.parametrize("given", [["token-a/token-b"], "slack://token-a/token-b", [{"url": "token-a"}]])
def test_no_error_repeats_a_chats_address(given):
    with pytest.raises(InvalidArgument) as error:
        celery_service.set_contact("1", chat=given)
    assert "token-a" not in f"{error.value!s}{error.value!r}"


def test_a_contact_is_checked_by_the_carrier_that_would_send_to_it(carriers):
    with pytest.raises(InvalidArgument, match="chat: must be one that this carrier knows"):
        celery_service.set_contact("1", chat=["bad://a"])
    assert parts().contacts.read("1") is None


@pytest.fixture
def directory(monkeypatch) -> Iterator[dict]:
    """A directory, which answers what a test puts under a path."""
    answers: dict = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers.get(self.path, {})).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(
            settings, "contact_directory_url", f"http://127.0.0.1:{server.server_port}/users/{{user_id}}"
        )
        yield answers
        server.shutdown()
        thread.join()


def test_a_directory_tells_what_was_not_set_here(directory, service):
    directory["/users/a%2Fb"] = {"email": "theirs@example.com", "time_zone": "Europe/Berlin", "department": 7}
    assert result(notify("email", user="a/b"))["channels"]["email"]["accepted"] == ["theirs@example.com"]
    celery_service.set_contact("a/b", email="ours@example.com")
    assert result(notify("email", user="a/b"))["channels"]["email"]["accepted"] == ["ours@example.com"]
    assert celery_service.get_contact("a/b")["time_zone"] == "Europe/Berlin"
    assert failure(notify("email", user="nobody"))[0]["code"] == "no_endpoint"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {},
            "set_contact: give at least one of email, phone, push, chat, time_zone, language, quiet_hours, preferences",
        ),
        ({"phone": "0043 1"}, "phone: must be like +436641234567: a plus, the country's code, at most 15 digits; got"),
        ({"phone": "+43664123\n"}, "phone: must be like +436641234567"),
        ({"time_zone": "Mars/Base"}, "time_zone: must be an IANA name like Europe/Berlin; got 'Mars/Base'"),
        ({"language": "good german"}, "language: must be a code like de or pt-BR (BCP 47); got 'good german'"),
        ({"preferences": {"channels": {"fax": True}}}, "preferences.channels.fax (the key): Input should be 'email'"),
        ({"quiet_hours": {"from": "25:00", "to": "07:00"}}, "quiet_hours.from: must be a time of day like 07:30"),
        ({"push": "planted"}, "push: Input should be a valid list; got str"),
    ],
)
def test_what_is_no_contact_is_one_sentence_in_words_and_leaves_nothing(inline_service, given, sentence):
    with pytest.raises(InvalidArgument) as error:
        celery_service.set_contact("no-contact", **given)
    assert str(error.value).startswith(sentence)
    assert "planted" not in str(error.value)
    assert celery_service.get_contact("no-contact") is None


def test_a_mail_of_a_notification_that_is_not_let_out_is_skipped_as_a_mail_alone_is(inline_service, monkeypatch):
    monkeypatch.setattr(settings, "email_only_to", "*@example.org")
    celery_service.set_contact("kept-in", email="ann@example.com")
    told = celery_service.get_task_result(celery_service.send_notification("kept-in", "welcome", "T", "m"))
    assert (told["status"], told["channels"]["email"]["status"]) == ("skipped", "skipped")
    assert told["channels"]["email"]["reason"] == "not_let_out"


def test_a_run_of_a_channel_that_woke_up_leaves_its_end_to_the_run_after_it(service, monkeypatch):
    monkeypatch.setattr(settings, "celery_task_max_retries", 0)
    celery_service.set_contact("12345", email="ann@example.com")
    mailer = ScriptedMailer(ann=Outcome("refused", 550, text="no"))
    send = mailer.send

    def send_and_sleep(queue):
        send(queue)
        newer = update(task_records).where(columns.name == "notification.send_channel").values(run=columns.run + 1)
        parts().database.write(lambda c: c.execute(newer))

    monkeypatch.setattr(mailer, "send", send_and_sleep)
    monkeypatch.setattr(Parts, "mailer", mailer)

    task_id = notify("email")

    assert [end.state for end in parts().members.ends(task_id, 0, 1)] == ["waiting"]
    assert mailer.sent == [["ann@example.com"]]
