"""What a task tells of a mail that is not delivered to all: who has it, who has not and why, and when it goes on."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from config.settings import settings
from mail_rows import AwayMailer, ScriptedMailer
from processors import email_delivery
from processors.errors import TaskCancelled, TransportFault
from processors.interfaces import Outcome
from records.columns import Now
from records.deliveries import ABANDONED_SECONDS, deliveries
from records.task_moves import TaskMoves
from services.celery_service import celery_service
from services.wiring import Parts, parts
from smtp_server import SmtpServer

FOUR = ["ann@example.com", "grey@example.com", "gone@example.com", "left@example.com"]
MAIL = {"to_email": FOUR, "subject": "s", "body": "b"}
REFUSED = {"code": 550, "enhanced": "5.2.1", "text": "no such user"}
PUT_OFF = {"code": 450, "enhanced": "4.2.0", "text": "greylisted, come again"}


@pytest.fixture
def server(inline_service, monkeypatch):
    def mood(command, _number):
        if command.startswith("RCPT TO:<grey@"):
            return "450 4.2.0 greylisted, come again"
        return "550 5.2.1 no such user" if command.startswith(("RCPT TO:<gone@", "RCPT TO:<left@")) else None

    with SmtpServer(mood=mood) as running:
        monkeypatch.setattr(settings, "email_url", f"smtp://127.0.0.1:{running.port}")
        yield running
        parts().mailer._mailer.close()


def test_a_mail_that_waits_for_one_of_four_tells_what_became_of_each_and_when_it_goes_on(server):
    task_id = celery_service.send_email(**MAIL)
    status = celery_service.get_task_status(task_id)

    assert status["status"] == "RETRY"
    info = status["info"]
    assert info["error"] == "1 recipient was put off: grey@example.com: 450 greylisted, come again."
    assert info["accepted"] == ["ann@example.com"]
    assert info["refused"] == {"gone@example.com": REFUSED, "left@example.com": REFUSED}
    due = info["deferred"]["grey@example.com"].pop("next_attempt_at")
    assert info["deferred"] == {"grey@example.com": PUT_OFF}
    assert abs((datetime.fromisoformat(due) - datetime.fromisoformat(info["due_at"])).total_seconds()) < 60


def test_a_mail_that_was_cancelled_while_it_waited_tells_so_and_who_has_it(server):
    task_id = celery_service.send_email(**MAIL)
    assert celery_service.cancel_task(task_id)

    info = celery_service.get_task_status(task_id)["info"]
    assert info == {
        "accepted": ["ann@example.com"],
        "refused": {"gone@example.com": REFUSED, "left@example.com": REFUSED},
        "cancelled": {"grey@example.com": PUT_OFF},
        "error": "The task was cancelled. Its last attempt had failed: "
        "1 recipient was put off: grey@example.com: 450 greylisted, come again.",
        "error_type": "TaskCancelled",
    }
    with pytest.raises(TaskCancelled, match=r"The task was cancelled\. Its last attempt had failed: 1 recipient"):
        celery_service.get_task_result(task_id)


@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_whom_an_older_program_left_waiting_is_told_as_his_mail_ended(inline_service, server, end):
    """The leader ends him, some thousands of rows every ten minutes."""
    task_id = celery_service.send_email(**MAIL, expires_at=datetime.now(UTC) + timedelta(minutes=1))
    if end == "cancelled":
        celery_service.cancel_task(task_id)
    inline_service.advance(100)
    own = update(deliveries).where(deliveries.c.task_id == task_id, deliveries.c.state == end)
    left = own.values(state="deferred", closed_at=None, next_attempt_at=Now())
    parts().database.write(lambda connection: connection.execute(left))

    info = celery_service.get_task_status(task_id)["info"]
    assert info[end] == {"grey@example.com": PUT_OFF}
    assert "deferred" not in info


@pytest.mark.parametrize("method", ["send_email", "send_bulk_emails", "send_notification"])
def test_a_mail_that_is_cancelled_as_its_run_begins_leaves_nobody_waiting(mailer, monkeypatch, method):
    sort_out = email_delivery.sort_out

    def sort_out_late(recipients):
        parts().moves.revoke_all()
        return sort_out(recipients)

    monkeypatch.setattr(email_delivery, "sort_out", sort_out_late)
    celery_service.set_contact("late", email="ann@example.com")
    given = {
        "send_email": {"to_email": "ann@example.com", "subject": "s", "body": "b"},
        "send_bulk_emails": {"emails": [{"to_email": "ann@example.com", "subject": "s", "body": "b"}]},
        "send_notification": {"user_id": "late", "notification_type": "news", "title": "t", "message": "m"},
    }
    task_id = getattr(celery_service, method)(**given[method])

    assert celery_service.get_task_status(task_id)["status"] == "REVOKED"
    assert rows_of(task_id) == {}
    assert mailer.sent == []


def test_a_mail_that_expired_while_it_waited_says_expired_and_no_word_of_cancelling(inline_service, server):
    task_id = celery_service.send_email(**MAIL, expires_at=datetime.now(UTC) + timedelta(minutes=1))
    assert celery_service.get_task_status(task_id)["status"] == "RETRY"
    inline_service.advance(100)

    status = celery_service.get_task_status(task_id)
    assert (status["status"], status["info"]["error_type"]) == ("REVOKED", "Expired")
    assert status["info"]["expired"] == {"grey@example.com": PUT_OFF}
    with pytest.raises(TaskCancelled) as ended:
        celery_service.get_task_result(task_id)
    assert "expired before it could start" in str(ended.value)
    assert "cancelled" not in str(ended.value)


def test_a_mail_outlives_ten_minutes_without_its_server(inline_service, server, monkeypatch):
    monkeypatch.setattr(settings, "celery_task_max_retries", 3)
    monkeypatch.setattr(settings, "celery_task_retry_max_delay", 600)
    monkeypatch.setattr(type(parts().moves), "try_again", TaskMoves.try_again)  # which keeps the waits of retries
    server.drop = "connect"
    task_id = celery_service.send_email("ann@example.com", "s", "b")
    for _ in range(60):
        inline_service.advance(10)
        assert celery_service.get_task_status(task_id)["status"] == "RETRY"

    server.drop = "-"
    inline_service.advance(600)
    assert celery_service.get_task_result(task_id)["status"] == "sent"
    assert len(server.mails) == 1


def test_nobody_is_to_be_tried_before_the_retry_of_a_mail_whose_server_is_away(inline_service, server, monkeypatch):
    monkeypatch.setattr(type(parts().moves), "try_again", TaskMoves.try_again)  # which keeps the waits of retries
    server.drop = "connect"
    info = celery_service.get_task_status(celery_service.send_email("ann@example.com", "s", "b"))["info"]
    due = info["deferred"]["ann@example.com"]["next_attempt_at"]
    assert due == datetime.fromisoformat(info["due_at"]).isoformat(timespec="seconds")


def test_a_mail_to_somebody_who_is_not_let_out_succeeds_and_says_skipped(inline_service, monkeypatch):
    monkeypatch.setattr(settings, "email_only_to", "*@example.org")
    result = celery_service.get_task_result(celery_service.send_email("ann@example.com", "s", "b"))
    assert (result["status"], list(result["skipped"])) == ("skipped", ["ann@example.com"])
    assert result["duration_ms"] >= 0


# --- Mails that have ended can be sent again --------------------------------------------------------------------------


@pytest.fixture
def mailer(inline_service, monkeypatch) -> ScriptedMailer:
    mailer = ScriptedMailer()
    monkeypatch.setattr(Parts, "mailer", mailer)
    monkeypatch.setattr(settings, "celery_task_max_retries", 0)
    return mailer


def rows_of(task_id: str) -> dict[str, str]:
    return {address: one.state for address, one in parts().deliveries.outcomes(task_id, 0).items()}


def test_a_mail_that_failed_is_sent_by_its_replay_to_those_who_have_not_got_it(mailer):
    mailer.answers |= {"bob": RuntimeError("a bug")}
    two = ["ann@example.com", "bob@example.com"]
    parts().mailer.some = lambda recipients: recipients[:1]  # one after the other
    task_id = celery_service.send_email(two, "s", "b")
    assert rows_of(task_id) == {two[0]: "accepted", two[1]: "handing"}
    age_hand_overs()
    parts().deliveries.prune(30)
    assert rows_of(task_id) == {two[0]: "accepted", two[1]: "unknown"}

    celery_service.settle_effect(f"mail:{task_id}:0:{two[1]}", absent=True)
    assert rows_of(task_id) == {two[0]: "accepted", two[1]: "refused"}
    mailer.answers.clear()
    again = celery_service.replay_task(task_id)

    assert celery_service.get_task_result(again)["accepted"] == two
    assert mailer.sent == [[two[0]], [two[1]], [two[1]]], "the second was in doubt, and is told as not mailed"


def test_a_mail_whose_server_was_away_to_the_end_is_sent_by_its_replay(mailer, monkeypatch):
    with monkeypatch.context() as away:
        away.setattr(Parts, "mailer", AwayMailer(TransportFault("no connection")))
        task_id = celery_service.send_email("ann@example.com", "s", "b")
    assert parts().deliveries.outcomes(task_id, 0) == {"ann@example.com": Outcome("refused", text="no connection")}

    again = celery_service.replay_task(task_id)

    assert celery_service.get_task_result(again)["status"] == "sent"
    assert mailer.sent == [["ann@example.com"]]


def test_a_mail_of_a_bulk_that_is_settled_as_not_mailed_is_sent_by_sending_it_again(mailer):
    mailer.answers |= {"ann": Outcome("unknown", text="no answer")}
    bulk_id = celery_service.send_bulk_emails([{"to_email": "ann@example.com", "subject": "s", "body": "b"}])
    celery_service.settle_effect(f"mail:{bulk_id}:0:ann@example.com", absent=True)
    assert rows_of(bulk_id) == {"ann@example.com": "refused"}
    mailer.answers.clear()

    again = celery_service.resend_failed(bulk_id, ["unknown"])

    assert celery_service.get_task_result(again)["sent"] == 1


def age_hand_overs() -> None:
    past = update(deliveries).where(deliveries.c.handed_at.is_not(None)).values(handed_at=Now(-ABANDONED_SECONDS))
    parts().database.write(lambda c: c.execute(past))
