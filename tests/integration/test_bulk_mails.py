"""Bulks of mails over real workers and a mail server: paused within a batch, cancelled, stopped by refusals."""

import threading
import time
from collections import Counter

from sqlalchemy import select

from processors.bulk_emails import LOOK_SECONDS
from records.task_records import columns
from services.celery_service import celery_service
from services.wiring import parts
from smtp_server import SmtpServer
from waiting import until


class Gate:
    """A mail server's mood that answers one command, `DATA`, only so often until it is opened."""

    def __init__(self, let_through: int) -> None:
        self.left, self.opened = let_through, threading.Event()

    def __call__(self, command: str, _connection: int) -> str | None:
        if command.startswith("DATA"):
            self.left -= 1
            if self.left < 0:
                self.opened.wait(60)
        return None


def mails_to(prefix: str, count: int) -> list[dict[str, str]]:
    return [
        {"to_email": f"{prefix}{number}@example.com", "subject": "News", "body": "Hello"} for number in range(count)
    ]


def counted(server: SmtpServer) -> Counter[str]:
    return Counter(recipient.split("@")[0] for mail in server.mails for recipient in mail.recipients)


def info(task_id: str):
    return celery_service.get_task_status(task_id)["info"]


def test_a_pause_ends_a_batch_between_two_mails_and_nobody_is_missed_or_mailed_twice(smtp: SmtpServer):
    gate = smtp.mood = Gate(20)
    bulk_id = celery_service.send_bulk_emails(mails_to("p", 200), batch_size=200)
    until(lambda: gate.left < 0, what="the server makes them wait")
    assert celery_service.pause_task(bulk_id)
    began = time.monotonic()
    until(lambda: time.monotonic() > began + LOOK_SECONDS, what="it is time for the run to look again")
    gate.opened.set()
    until(lambda: parts().tasks.read(batch_of(bulk_id)).held, what="the batch waits for the end of the pause")
    sent = len(smtp.mails)
    assert 20 <= sent < 200
    assert info(bulk_id)["status"] == "paused"
    assert info(bulk_id)["sent"] == sent

    assert celery_service.resume_task(bulk_id)
    result = celery_service.get_task_result(bulk_id, timeout=60)
    assert (result["sent"], result["total"]) == (200, 200)
    assert counted(smtp) == {f"p{number}": 1 for number in range(200)}


def test_a_cancelled_bulk_stops_between_two_mails_and_its_rest_is_sent_by_resending(smtp: SmtpServer):
    gate = smtp.mood = Gate(20)
    bulk_id = celery_service.send_bulk_emails(mails_to("c", 200), batch_size=200)
    until(lambda: gate.left < 0, what="the server makes them wait")
    assert celery_service.cancel_task(bulk_id)
    gate.opened.set()
    new_id = celery_service.resend_failed(bulk_id)
    again = celery_service.get_task_result(new_id, timeout=60)
    until(lambda: not info(bulk_id)["unknown"], what="the run has told of what it had in hand")
    first = info(bulk_id)
    assert first["status"] == "cancelled"
    assert (first["sent"] + first["cancelled"], again["total"]) == (200, first["cancelled"])
    assert counted(smtp).most_common(1)[0][1] == 1, "nobody is mailed twice"
    assert len(smtp.mails) == first["sent"] + again["sent"]


def test_a_server_that_refuses_nearly_all_gets_200_mails_and_a_batch_more(smtp: SmtpServer):
    smtp.replies["RCPT TO:<f"] = "550 5.7.1 not you"
    bulk_id = celery_service.send_bulk_emails(mails_to("f", 1000), batch_size=100, delay_between_batches=0)
    until(lambda: info(bulk_id).get("waits_for") == "pause", what="it is paused")
    assert "mails were refused or are unknown" in info(bulk_id)["status"]
    until(lambda: not running_of(bulk_id), what="the batches under way have ended")
    assert 200 <= info(bulk_id)["failed"] <= 400
    celery_service.cancel_task(bulk_id)


def tasks_of(bulk_id: str) -> list[str]:
    query = select(columns.id).where(columns.parent_id == bulk_id)
    return list(parts().database.read(lambda c: c.execute(query).scalars().all()))


def batch_of(bulk_id: str) -> str:
    return tasks_of(bulk_id)[0]


def running_of(bulk_id: str) -> list[str]:
    return [one for one in tasks_of(bulk_id) if parts().tasks.read(one).state in {"STARTED", "PROGRESS"}]
