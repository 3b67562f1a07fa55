"""Tasks whose mail server wants to be left alone: they wait, however often it says so, and then send."""

import pytest

from config.settings import settings
from services.celery_service import celery_service
from services.wiring import parts
from smtp_server import SmtpServer

MAIL = {"to_email": "ann@example.com", "subject": "s", "body": "b"}


@pytest.fixture
def server(inline_service, monkeypatch):
    with SmtpServer() as running:
        monkeypatch.setattr(settings, "email_url", f"smtp://me:planted-secret@127.0.0.1:{running.port}")
        yield running
        parts().mailer._mailer.close()


@pytest.mark.parametrize("replies", [{"connect": "421 busy"}, {"AUTH": "535 5.7.8 wrong"}])
def test_a_mail_waits_for_a_server_longer_than_all_its_tasks_attempts_would_last(inline_service, server, replies):
    server.replies = replies
    task_id = celery_service.send_email(**MAIL)
    for _ in range(settings.celery_task_max_retries + 3):
        status = celery_service.get_task_status(task_id)
        assert status["status"] == "RETRY"
        assert "rests" in str(status["info"])
        assert "planted-secret" not in str(status)
        inline_service.advance(2_000)
    assert server.connections >= settings.celery_task_max_retries + 3, "after each rest it is asked once more"

    server.replies = {}
    inline_service.advance(2_000)
    assert celery_service.get_task_result(task_id)["status"] == "sent"
    assert len(server.mails) == 1
    assert celery_service.get_suppressions() == []


def test_other_tasks_of_a_resting_server_wait_without_asking_it_and_a_bulk_loses_nobody(inline_service, server):
    server.replies = {"connect": "421 busy"}
    first = celery_service.send_email(**MAIL)
    asked = server.connections
    mails = [{**MAIL, "to_email": f"r{n}@example.com"} for n in range(30)]
    bulk = celery_service.send_bulk_emails(mails, batch_size=10, delay_between_batches=0)
    assert server.connections == asked

    server.replies = {}
    inline_service.advance(200)
    assert celery_service.get_task_result(first)["status"] == "sent"
    done = celery_service.get_task_result(bulk)
    assert (done["status"], done["sent"], len(server.mails)) == ("completed", 30, 31)


def test_a_steady_rate_is_kept_by_all_tasks_together(inline_service, server, monkeypatch):
    monkeypatch.setattr(settings, "email_max_per_minute", 4)
    mails = [{**MAIL, "to_email": f"r{n}@example.com"} for n in range(10)]
    bulk = celery_service.send_bulk_emails(mails, batch_size=5, delay_between_batches=0)
    found = [len(server.mails)]
    while found[-1] < 10 and len(found) < 10:
        inline_service.advance(70)
        found.append(len(server.mails))
    assert found == [4, 8, 10]
    assert celery_service.get_task_result(bulk)["sent"] == 10
    assert parts().mail_rests.all() == {}
