"""Mails while the broker or the database is gone, and while messages come twice: each recipient gets one copy."""

import os
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from config.settings import settings
from installation import Installation, sending_by_smtp
from records.columns import Now
from records.task_records import columns, task_records
from services.celery_service import celery_service
from services.wiring import parts
from smtp_mailers import copies
from smtp_server import SmtpServer
from waiting import until

MAILS, BATCH = 600, 25
DELAY_SECONDS = 3 * 24 * 3600
"""Longer than a broker's visibility time-out ever is."""

WAITS_SECONDS = 60


class Stops:
    """A mail server's mood that holds the mails at these counts back, until the test has done what it does there.

    Args:
        counts: after how many mails.
    """

    def __init__(self, server: SmtpServer, counts: list[int]) -> None:
        self._server, self.reached, self._opened = server, 0, [threading.Event() for _ in counts]
        self._counts, self._lock = counts, threading.Lock()

    def __call__(self, command: str, _connection: int) -> str | None:
        if command != "DATA":
            return None
        with self._lock:
            found = next((at for at, count in enumerate(self._counts) if not self._opened[at].is_set()), None)
            due = found is not None and len(self._server.mails) >= self._counts[found]
            self.reached = max(self.reached, found + 1) if due else self.reached
        if due:
            self._opened[found].wait(WAITS_SECONDS)
        return None

    def until_reached(self, at: int) -> None:
        until(lambda: self.reached > at, what=f"the server holds back the mails after {self._counts[at]}")

    def open(self, at: int) -> None:
        self._opened[at].set()


@pytest.fixture(scope="module")
def mail_server(installation: Installation) -> Iterator[SmtpServer]:
    with sending_by_smtp(installation) as server:
        yield server


@pytest.fixture
def smtp(mail_server: SmtpServer) -> Iterator[SmtpServer]:
    """The mail server of all these tests, as each finds it: to start a worker takes longer than they do."""
    yield mail_server
    mail_server.mood = None
    mail_server.mails.clear()


@pytest.fixture
def everybody() -> list[str]:
    """Recipients that no other test has."""
    mark = uuid4()
    return [f"{number}-{mark}@example.com" for number in range(MAILS)]


def bulk_to(recipients: list[str], **more) -> str:
    mails = [{"to_email": one, "subject": "News", "body": "All is well.\n"} for one in recipients]
    return celery_service.send_bulk_emails(mails, batch_size=BATCH, delay_between_batches=0, **more)


def misses_of(installation: Installation) -> int:
    """Return how often the worker has said that the broker is gone, or still is."""
    return installation.worker.count("Trying to re-establish") + installation.worker.count("Trying again in")


@pytest.mark.parametrize("loses_data", [False, True], ids=["with its data", "without its data"])
def test_a_broker_that_is_killed_while_a_bulk_goes_out_costs_no_mail_and_doubles_none(
    installation: Installation, smtp: SmtpServer, everybody, loses_data
):
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    print("seed", seed)  # noqa: T201 - a failing run shows it
    stops = smtp.mood = Stops(smtp, sorted(random.Random(seed).sample(range(1, MAILS * 3 // 4), 2)))
    bulk_id = bulk_to(everybody)
    for kill in range(2):
        stops.until_reached(kill)  # mails are on their way, more of the bulk is in hand, and the rest is at the broker
        before = misses_of(installation)
        installation.broker.lose_data() if loses_data else installation.broker.kill()
        try:
            until(lambda before=before: misses_of(installation) > before, what="the worker misses its broker")
            stops.open(kill)
        finally:
            installation.broker.start()

    result = celery_service.get_task_result(bulk_id, timeout=120)

    assert copies(smtp) == Counter(everybody)
    assert (result["status"], result["sent"], result["unknown"]) == ("completed", MAILS, 0)


def test_a_batch_of_which_three_messages_come_at_once_is_sent_once(installation: Installation, smtp, everybody):
    recipients = everybody[:BATCH]
    stops = smtp.mood = Stops(smtp, [BATCH // 2])
    bulk_id = bulk_to(recipients)
    stops.until_reached(0)
    query = select(columns.id).where(columns.parent_id == bulk_id)
    [batch] = [parts().tasks.read(one) for one in parts().database.read(lambda c: c.execute(query).scalars().all())]
    for _ in range(3):
        assert parts().publisher.publish([batch]) == [batch]
    behind = celery_service.send_email(everybody[-1], "s", "b", preview=True)
    celery_service.get_task_result(behind, timeout=60)  # the other process has had the three before it
    stops.open(0)

    assert celery_service.get_task_result(bulk_id, timeout=60)["sent"] == BATCH
    assert copies(smtp) == Counter(recipients)
    assert parts().tasks.read(batch.id).run == 1


def test_mails_that_are_due_later_than_any_broker_remembers_lie_in_their_records_and_go_out_once(
    installation: Installation, smtp, everybody
):
    recipients = everybody[:20]
    ids = [celery_service.send_email(one, "s", "b", delay_seconds=DELAY_SECONDS) for one in recipients[:-5]]
    mails = [{"to_email": one, "subject": "s", "body": "b"} for one in recipients[-5:]]
    bulk_id = celery_service.send_bulk_emails(mails, batch_size=2, due_at=parts().tasks.read(ids[0]).due_at)
    own = columns.id.in_(ids) | (columns.parent_id == bulk_id)
    waiting = select(columns.published_at).where(own)
    assert set(parts().database.read(lambda c: c.execute(waiting).scalars().all())) == {None}
    assert smtp.mails == []

    due = update(task_records).where(own).values(due_at=Now(-1), relay_at=Now(-1))
    parts().database.write(lambda c: c.execute(due))
    for one in [*ids, bulk_id]:
        celery_service.get_task_result(one, timeout=60)

    assert copies(smtp) == Counter(recipients)


@pytest.mark.any_broker
def test_a_database_that_is_gone_between_the_dot_and_the_commit_costs_neither_a_mail_nor_a_second_copy(
    installation: Installation, smtp, everybody
):
    if not parts().database.is_sqlite:
        pytest.skip("holds SQLite's lock")
    recipient, gone = everybody[0], threading.Event()
    lock = sqlite3.connect(settings.data_dir / "records.db", isolation_level=None, check_same_thread=False)

    def mood(command: str, _connection: int) -> None:
        if command == "dot" and not gone.is_set():
            lock.execute("BEGIN IMMEDIATE")
            gone.set()

    smtp.mood = mood
    failed = installation.worker.count("heartbeat_failed")
    with closing(lock):
        task_id = celery_service.send_email(recipient, "s", "b")
        assert gone.wait(60)
        until(lambda: installation.worker.count("heartbeat_failed") >= failed + 2, what="nothing can be written")
    result = celery_service.get_task_result(task_id, timeout=60)

    assert (result["status"], result["accepted"], result["attempts"]) == ("sent", [recipient], 1)
    assert copies(smtp) == {recipient: 1}
    assert parts().tasks.read(task_id).run == 1
