"""Submitting once, later, and together with a caller's own rows, with a real broker, worker and leader."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from config.settings import PROJECT_ROOT, settings
from processors.errors import IdempotencyConflict
from services.celery_service import celery_service
from waiting import until

pytestmark = pytest.mark.usefixtures("installation")

KILLED_BEFORE_IT_PUBLISHES = """
import os, signal, sys
from services import submission
from services.celery_service import celery_service

submission.publish = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
celery_service.send_email(sys.argv[1], "s", "b", idempotency_key=sys.argv[2])
"""


def mails_to(address: str) -> int:
    return sum(address.encode() in path.read_bytes() for path in settings.outbox_dir.glob("*.eml"))


def test_a_submit_that_is_repeated_because_its_process_was_killed_sends_one_mail():
    key = f"key-{uuid4()}"
    address = f"{key}@example.com"
    command = [sys.executable, "-c", KILLED_BEFORE_IT_PUBLISHES, address, key]
    assert subprocess.run(command, cwd=PROJECT_ROOT, timeout=60, check=False).returncode == -signal.SIGKILL

    ids = {celery_service.send_email(address, "s", "b", idempotency_key=key) for _ in range(2)}

    assert len(ids) == 1
    assert celery_service.get_task_result(ids.pop(), timeout=60)["status"] == "sent"
    assert mails_to(address) == 1


def mails_for(key: str) -> list[dict[str, str]]:
    return [{"to_email": f"{key}-{number}@example.com", "subject": "s", "body": "b"} for number in range(30)]


MANY_KILLED_BEFORE_IT_PUBLISHES = """
import json, os, signal, sys
from services import submission
from services.celery_service import celery_service

submission.publish = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
celery_service.submit_many("email.send_email", json.loads(sys.argv[1]), idempotency_key=sys.argv[2])
"""


def test_many_that_are_repeated_because_their_process_was_killed_are_done_once_each():
    key = f"key-{uuid4()}"
    many = mails_for(key)
    command = [sys.executable, "-c", MANY_KILLED_BEFORE_IT_PUBLISHES, json.dumps(many), key]
    assert subprocess.run(command, cwd=PROJECT_ROOT, timeout=60, check=False).returncode == -signal.SIGKILL

    with ThreadPoolExecutor(4) as pool:
        told = pool.map(lambda _: celery_service.submit_many("email.send_email", many, idempotency_key=key), range(4))
        [ids] = {tuple(one) for one in told}

    for task_id, mail in zip(ids, many, strict=True):
        assert celery_service.get_task_result(task_id, timeout=60)["accepted"] == [mail["to_email"]]
        assert mails_to(mail["to_email"]) == 1


def test_many_are_done_at_once_and_each_has_its_own_result():
    many = [{"content": f"<p>page {page}</p>", "content_type": "html"} for page in range(200)]
    ids = celery_service.submit_many("ai_processing.extract_text", many)
    texts = [celery_service.get_task_result(one, timeout=60)["result"]["text"] for one in ids]
    assert [text.strip() for text in texts] == [f"page {page}" for page in range(200)]


def test_of_many_who_submit_mails_under_few_keys_at_once_one_mail_of_each_key_goes_out():
    seed, mark = int(os.environ.get("SEED", random.randrange(10**6))), uuid4()
    print("seed", seed)  # noqa: T201 - a failing run shows it
    chance = random.Random(seed)
    submits = [(f"{number}-{mark}", subject) for number in range(8) for subject in ("one", "two")] * 4
    chance.shuffle(submits)

    def submit(key: str, subject: str) -> str | None:
        try:
            return celery_service.send_email(f"{key}@example.com", subject, "b", idempotency_key=key)
        except IdempotencyConflict:
            return None

    with ThreadPoolExecutor(12) as pool:
        told = list(pool.map(lambda one: submit(*one), submits))

    found = defaultdict[str, set[tuple[str, str | None]]](set)
    for (key, subject), task_id in zip(submits, told, strict=True):
        found[key].add((subject, task_id))
    for key, outcomes in found.items():
        assert len(outcomes) == 2, "one payload's submits have all one id, and the other's have all an error"
        [task_id] = {task_id for _, task_id in outcomes if task_id}
        result = celery_service.get_task_result(task_id, timeout=60)
        assert result["accepted"] == [f"{key}@example.com"]
        [(subject, _)] = [one for one in outcomes if one[1]]
        again = celery_service.send_email(f"{key}@example.com", subject, "b", idempotency_key=key)
        assert celery_service.get_task_result(again) == result
        assert mails_to(f"{key}@example.com") == 1


def test_a_task_starts_at_its_due_time_and_not_before():
    due_at = datetime.now(UTC) + timedelta(seconds=1.5)
    ids = [celery_service.health_check(delay_seconds=1.5), celery_service.health_check(due_at=due_at)]

    for task_id in ids:
        celery_service.get_task_result(task_id, timeout=60)
        status = celery_service.get_task_status(task_id)
        assert status["started_at"] >= status["due_at"]
        assert (status["attempts"], status["finished_at"] > status["created_at"]) == (1, True)


@pytest.fixture
def session() -> Iterator[Session]:
    """A session of an application that shares the database."""
    celery_service.get_task_status("none")  # the schema is there
    engine = create_engine(settings.sqlalchemy_url)
    with Session(engine) as session:
        yield session
    engine.dispose()


def test_a_task_of_a_transaction_runs_once_it_is_committed_and_never_where_it_is_not(session):
    lost, kept = f"lost-{uuid4()}@example.com", f"kept-{uuid4()}@example.com"
    celery_service.send_email(lost, "s", "b", session=session)
    session.rollback()
    task_id = celery_service.send_email(kept, "s", "b", session=session)
    bulk_id = celery_service.send_bulk_emails([{"to_email": kept, "subject": "s", "body": "bulk"}], session=session)
    session.commit()

    for one in (task_id, bulk_id):
        celery_service.get_task_result(one, timeout=60)
    until(lambda: mails_to(kept) == 2)
    assert mails_to(lost) == 0
