"""Effects with real workers that are killed and frozen, and a provider that counts what reaches it."""

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.utils import uuid

from installation import Installation, Part
from payment_provider import PaymentProvider
from records.task_records import TaskRecord
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.wiring import parts
from smtp_server import SmtpServer
from waiting import until

ORDERS = 36
PLACES = ("before", "after", "done", "any", "any", "any")


@pytest.fixture(scope="module")
def mail_server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture(scope="module")
def workers(
    installation: Installation, mail_server: SmtpServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Part]]:
    """Two workers that know the tasks with effects, in place of the installation's own."""
    installation.worker.stop()
    logs = tmp_path_factory.mktemp("effects")
    celery = [sys.executable, "-m", "celery", "-A", "services.celery_app:celery_app", "worker", "-I", "effect_tasks"]
    post = {"EMAIL_URL": f"smtp://127.0.0.1:{mail_server.port}", "EMAIL_DEADLINE_SECONDS": "5"}
    running = [
        Part("worker", [*celery, "--concurrency=2", f"--hostname={name}@%h"], logs / f"{name}.txt", post)
        for name in ("first", "second")
    ]
    start(running)
    yield running
    for worker in running:
        worker.kill()
    installation.start_worker()


def start(workers: list[Part]) -> None:
    before = [worker.count(" ready.") for worker in workers]
    for worker in workers:
        worker.start()
    for worker, count in zip(workers, before, strict=True):
        until(lambda worker=worker, count=count: worker.count(" ready.") > count, what="the worker is ready")


@pytest.fixture
def provider() -> Iterator[PaymentProvider]:
    with PaymentProvider(seconds=0.03) as provider:
        yield provider


def charge(provider: PaymentProvider, at: str, order: str | None = None, **more) -> str:
    """Submit the charge of an order; returns the task's id."""
    order = order or f"order:{uuid()}"
    return celery_app.send_task("effects.charge", kwargs={"order": order, "port": provider.port, "at": at} | more).id


def final(task_id: str) -> TaskRecord:
    return until(lambda: (r := parts().tasks.read(task_id)) and r.final and r, what=f"{task_id} is final")


def stopped(file: Path) -> int:
    """Return the id of a process that wrote it there and froze, or 0."""
    if not file.exists() or not (text := file.read_text()):
        return 0
    return int(text) if Path(f"/proc/{text}/stat").read_text().rpartition(")")[2].split()[0] == "T" else 0


def test_whenever_a_process_is_killed_each_effect_happens_once_or_is_listed_as_unknown(workers, provider):
    """R22: kill -9 before, in and after the call, with and without a look-up."""
    seed = random.randrange(10**6)
    print("seed", seed)  # noqa: T201 - a failing run shows it
    chance = random.Random(seed)
    tasks = {}
    for number in range(ORDERS):
        order, at = f"order:{uuid()}", PLACES[number % len(PLACES)]
        turn = number // len(PLACES)
        options = {"after": chance.uniform(0, 0.15), "look_up": turn % 2 == 0, "provider_key": turn % 3 == 0}
        tasks[order] = charge(provider, at, order, **options)

    records = {order: final(task_id) for order, task_id in tasks.items()}
    listed = {one["key"] for one in celery_service.get_effects_in_doubt() if one["state"] == "unknown"}
    ends = Counter(record.error_type or "SUCCESS" for record in records.values())
    kills = sum(record.run > 1 for record in records.values())
    print(f"{kills} tasks killed, {dict(ends)}, {sum(provider.requests.values())} requests")  # noqa: T201

    assert kills >= ORDERS // 2
    assert set(ends) <= {"SUCCESS", "EffectUnknown"}
    assert max(provider.requests.values()) == 1, "nobody was asked twice"
    for order, record in records.items():
        if record.error_type is None:
            assert provider.charges[order] == 1
            assert record.result == provider.find(order)
        else:
            assert order in listed
    assert listed.isdisjoint(order for order, record in records.items() if record.error_type is None)
    assert ends["EffectUnknown"] >= ORDERS // len(PLACES), "those without a look-up that died before or after the call"

    for order in listed.intersection(tasks):
        if found := provider.find(order):
            celery_service.settle_effect(order, found)
        else:
            celery_service.settle_effect(order, absent=True)
    assert {one["key"] for one in celery_service.get_effects_in_doubt()}.isdisjoint(tasks)


def test_an_answer_that_is_lost_is_looked_up_even_after_the_last_attempt(workers, provider):
    sent, unsent = charge(provider, "unanswered"), charge(provider, "unsent")

    done, failed = final(sent), final(unsent)

    assert (done.state, done.attempt, done.run) == ("SUCCESS", 0, 2)
    assert done.result == provider.find(done.kwargs["order"])
    assert (failed.state, failed.error_type, failed.attempt) == ("FAILURE", "TransientError", 0)
    assert "did not happen: the provider cannot be reached" in failed.error
    assert dict(provider.requests) == {done.kwargs["order"]: 1}


def test_a_mail_whose_worker_is_killed_before_the_servers_answer_is_sent_again_only_when_a_person_says_so(
    workers, mail_server
):
    mail_server.silent = "dot"
    task_id = celery_service.send_email("b@example.com", "s", "b")
    until(lambda: mail_server.mails, what="the server has the mail, and does not say so")
    mail_server.silent = "-"
    for worker in workers:
        worker.kill()
    start(workers)

    record = final(task_id)

    assert (record.state, record.attempt) == ("FAILURE", 0)
    assert "not known whether the mail arrived at b@example.com" in record.error
    key = f"mail:{task_id}:0:b@example.com"
    assert key in {one["key"] for one in celery_service.get_effects_in_doubt()}
    assert {one["why"] for one in retry_failed()["skipped"] if one["task_id"] == task_id} == {
        "it is in doubt whether its mail arrived"
    }
    assert len(mail_server.mails) == 1

    celery_service.settle_effect(key, absent=True)

    [again] = [new for new in retry_failed()["retried"] if parts().tasks.read(new).retry_of == task_id]
    assert final(again).result["accepted"] == ["b@example.com"]
    assert len(mail_server.mails) == 2


def retry_failed() -> dict:
    return celery_service.get_task_result(celery_service.retry_failed_tasks(task_types=["email"]), timeout=60)


def test_the_window_that_stays_is_closed_by_the_providers_own_key_and_is_two_sends_without(workers, provider, tmp_path):
    """A process that is frozen between the last look at the clock and the connect, until another has taken over."""
    files = {with_key: tmp_path / f"frozen-{with_key}" for with_key in (True, False)}
    tasks = {
        with_key: charge(provider, "freeze", provider_key=with_key, frozen=str(file))
        for with_key, file in files.items()
    }
    frozen = {with_key: until(lambda file=file: stopped(file), what="it is frozen") for with_key, file in files.items()}
    assert provider.requests == Counter()

    records = {with_key: final(task_id) for with_key, task_id in tasks.items()}
    assert {(record.state, record.run, record.lost_runs) for record in records.values()} == {("SUCCESS", 2, 1)}
    orders = {with_key: record.kwargs["order"] for with_key, record in records.items()}
    assert provider.charges == Counter(orders.values())

    for pid in frozen.values():
        os.kill(pid, signal.SIGCONT)
    until(lambda: sum(provider.requests.values()) == 4, what="both have sent what they were about to")
    until(lambda: sum(worker.count("effect_after_takeover") for worker in workers) == 2, what="it is in the log")

    assert {with_key: provider.charges[order] for with_key, order in orders.items()} == {True: 1, False: 2}
    for with_key, task_id in tasks.items():
        record = parts().tasks.read(task_id)
        assert (record.state, record.run, record.result) == ("SUCCESS", 2, records[with_key].result)
