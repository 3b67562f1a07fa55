"""A mail is dated by the moment at which it was due first, at every attempt."""

from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from email.utils import parsedate_to_datetime

import pytest
from sqlalchemy import update

from config.settings import settings
from records.columns import Now
from records.deliveries import deliveries
from records.task_records import task_records
from services.celery_service import celery_service
from services.wiring import parts
from smtp_server import SmtpServer

MAIL = {"to_email": "ann@example.com", "subject": "s", "body": "b"}
HOUR = timedelta(hours=1)
LATER = datetime(2030, 1, 31, 9, tzinfo=UTC)


@pytest.fixture
def server(inline_service, monkeypatch):
    with SmtpServer() as running:
        monkeypatch.setattr(settings, "email_url", f"smtp://127.0.0.1:{running.port}")
        yield running
        parts().mailer._mailer.close()


def let_all_be_due(inline_service) -> None:
    """Let all that waits be due now, as a pause or a retry may say, and run it."""

    def work(connection):
        connection.execute(update(deliveries).values(next_attempt_at=Now(-1)))
        waiting = task_records.c.state.in_(["PENDING", "RETRY"])
        connection.execute(update(task_records).where(waiting).values(due_at=Now(-1), relay_at=Now(-1)))

    parts().database.write(work)
    inline_service.run_due()


def dates(server) -> list[datetime]:
    return [parsedate_to_datetime(BytesParser().parsebytes(mail.content)["Date"]) for mail in server.mails]


@pytest.mark.parametrize(
    ("when", "due"),
    [
        ({}, lambda created: created),
        ({"delay_seconds": 3600}, lambda created: created + HOUR),
        ({"due_at": LATER}, lambda _: LATER),
        ({"due_at": datetime(2020, 1, 1, tzinfo=UTC)}, lambda created: created),
    ],
)
def test_a_mail_is_dated_by_when_it_was_due_first_and_has_the_same_bytes_when_it_is_tried_again(
    inline_service, server, when, due
):
    server.replies["dot"] = "451 4.3.0 come again"
    task_id = celery_service.send_email(**MAIL, **when)
    let_all_be_due(inline_service)
    server.replies.clear()
    assert celery_service.get_task_status(task_id)["status"] == "RETRY"
    let_all_be_due(inline_service)

    assert celery_service.get_task_result(task_id)["status"] == "sent"
    assert len(server.mails) > 1
    assert len({mail.content for mail in server.mails}) == 1
    assert dates(server)[0] == due(parts().tasks.read(task_id).created_at).replace(microsecond=0)


def test_each_batch_of_a_bulk_is_dated_by_its_own_moment(inline_service, server):
    mails = [{**MAIL, "to_email": f"{one}@example.com"} for one in "abc"]
    celery_service.send_bulk_emails(mails, batch_size=1, delay_between_batches=3600, due_at=LATER)
    let_all_be_due(inline_service)
    assert sorted(dates(server)) == [LATER, LATER + HOUR, LATER + 2 * HOUR]


def test_a_mail_that_is_submitted_again_by_hand_has_the_date_of_that(inline_service, server):
    server.replies["dot"] = "554 5.7.1 no"
    task_id = celery_service.send_email(**MAIL, due_at=LATER)
    let_all_be_due(inline_service)
    again = celery_service.replay_task(task_id)
    let_all_be_due(inline_service)
    assert dates(server) == [LATER, parts().tasks.read(again).created_at.replace(microsecond=0)]
    assert parts().tasks.read(again).message.get("headers", {}) == {}


def test_a_preview_has_the_date_that_the_mail_would_have(inline_service):
    task_id = celery_service.send_email(**MAIL, due_at=LATER, preview=True)
    let_all_be_due(inline_service)
    headers = {one["name"]: one["value"] for one in celery_service.get_task_result(task_id)["headers"]}
    assert parsedate_to_datetime(headers["Date"]) == LATER
