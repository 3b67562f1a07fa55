"""Notifications over a real worker: channels do not repeat each other, and a kill repeats nothing."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import policy
from email.parser import BytesParser
from pathlib import Path
from uuid import uuid4

import pytest

from config.settings import settings
from installation import Installation
from notification_carriers import FOLDER, FileCarrier, carriers_in, subscription
from processors.errors import TaskFailed
from services.celery_service import celery_service
from services.notifications import channel_id
from services.wiring import parts
from waiting import until


@pytest.fixture
def carriers(installation: Installation, tmp_path: Path) -> Iterator[dict[str, FileCarrier]]:
    """The carriers of a worker that was started with them."""
    with installation.worker_with(TASK_MODULES="notification_carriers", **{FOLDER: str(tmp_path)}):
        yield carriers_in(tmp_path)


@pytest.fixture
def user() -> Iterator[str]:
    """A person nobody else is told of."""
    user_id = f"user-{uuid4()}"
    yield user_id
    celery_service.delete_contact(user_id)


def mails_to(address: str) -> list[bytes]:
    found = []
    for path in settings.outbox_dir.glob("*.eml"):
        content = path.read_bytes()
        if address.encode() in content:
            found.append(content)
    return found


def notify(user: str, *channels: str, **more) -> str:
    return celery_service.send_notification(user, "welcome", "Grüße", "Welcome!\n.\n", channels=list(channels), **more)


def test_a_push_that_fails_twice_goes_out_once_and_so_do_the_mail_and_the_inbox(installation, carriers, user):
    address = f"{user}@example.com"
    celery_service.set_contact(user, email=address, push=[subscription(f"twice-{user}"), subscription(f"fine-{user}")])
    told = celery_service.get_task_result(task_id := notify(user, "email", "push", "inbox"), timeout=60)
    assert told["status"] == "sent"
    assert told["channels"]["push"]["devices"] == {"sent": 2}
    attempts = [celery_service.get_task_status(channel_id(task_id, at))["attempts"] for at in range(3)]
    assert attempts == [1, 1, 3], "inbox, email, push"
    (content,) = mails_to(address)
    mail = BytesParser(policy=policy.default).parsebytes(content)
    assert (mail["subject"], mail["to"]) == ("Grüße", address)
    assert mail.get_content().splitlines() == ["Welcome!", "."]
    assert len(celery_service.get_inbox(user)["items"]) == 1
    sent = Counter(line["where"] for line in carriers["push"].lines("sent"))
    assert sorted(sent.values()) == [1, 1]


def test_without_a_contact_the_task_fails_with_no_endpoint(installation):
    task_id = celery_service.send_notification("nobody", "welcome", "Hi", "There", channels=["email", "push"])
    with pytest.raises(TaskFailed, match=r"set_contact.*CONTACT_DIRECTORY_URL") as failed:
        celery_service.get_task_result(task_id, timeout=60)
    assert failed.value.result["code"] == "no_endpoint"


def test_in_quiet_hours_the_mail_waits_for_their_end_and_the_inbox_does_not(installation, user):
    address, now = f"{user}@example.com", datetime.now(UTC)
    begin, end = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-1, 2))
    celery_service.set_contact(user, email=address, time_zone="UTC", quiet_hours={"from": begin, "to": end})
    task_id = notify(user, "email", "inbox")
    mail = channel_id(task_id, 1)
    until(lambda: celery_service.get_task_status(mail)["status"] == "RETRY", what="the mail waits")
    until(lambda: celery_service.get_inbox(user)["items"], what="the inbox has it")
    due = datetime.fromisoformat(celery_service.get_task_status(mail)["due_at"])
    assert abs(due - now.replace(second=0, microsecond=0) - timedelta(hours=2)) < timedelta(minutes=2)
    assert parts().tasks.read(mail).attempt == 0
    assert mails_to(address) == []
    assert celery_service.get_task_status(task_id)["status"] == "PROGRESS"
    assert celery_service.cancel_task(task_id)


def test_a_worker_that_is_killed_in_the_middle_repeats_no_channel(installation, carriers, user):
    address = f"{user}@example.com"
    celery_service.set_contact(
        user, email=address, push=[subscription(f"fine-{user}"), subscription(f"kills-{user}")], phone="+491701234567"
    )
    task_id = notify(user, "email", "inbox", "push", "sms")
    told = celery_service.get_task_result(task_id, timeout=120)
    assert told["status"] == "partial"
    assert told["channels"]["push"]["devices"] == {"sent": 1, "unknown": 1}
    assert {told["channels"][name]["status"] for name in ("email", "inbox", "sms")} == {"sent", "stored"}
    assert len(mails_to(address)) == 1
    assert len(celery_service.get_inbox(user)["items"]) == 1
    sent = Counter(line["where"] for line in carriers["push"].lines("sent") + carriers["sms"].lines("sent"))
    assert (len(sent), set(sent.values())) == (3, {1})
    assert parts().tasks.read(channel_id(task_id, 2)).run > 1, "it was killed"


@pytest.fixture
def mail_settings() -> dict[str, str]:
    return {"EMAIL_DEADLINE_SECONDS": "10"}  # a mail in doubt waits so long, and 15 s


@pytest.mark.slow
def test_two_kills_of_the_worker_mail_nobody_twice_and_fill_no_inbox_twice(installation, smtp, user):
    count, kills, at_once = 60, 2, 2
    celery_service.set_contact(user, email=f"{user}@example.com")
    ids = [
        celery_service.send_notification(user, "news", f"n{number}", "…", channels=["email", "inbox"])
        for number in range(count)
    ]
    for kill in range(1, kills + 1):
        wanted = count * kill // 4
        until(lambda wanted=wanted: len(smtp.mails) >= wanted, what=f"{wanted} mails, before kill {kill}")
        installation.worker.kill()
        installation.start_worker()
    results = [celery_service.get_task_result(task_id, timeout=300) for task_id in ids]
    unknown = sum(one["channels"]["email"]["status"] == "unknown" for one in results)
    assert sum(one["channels"]["email"]["status"] == "sent" for one in results) == count - unknown
    assert unknown <= kills * at_once
    subjects = Counter(BytesParser(policy=policy.default).parsebytes(mail.content)["subject"] for mail in smtp.mails)
    assert set(subjects.values()) == {1}
    assert len(subjects) >= count - unknown
    titles = Counter(one["title"] for one in celery_service.get_inbox(user, limit=1000)["items"])
    assert titles == {f"n{number}": 1 for number in range(count)}
