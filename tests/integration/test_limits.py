"""Limits, pauses and turns over real workers, a real broker and a real database."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import service_tasks
from installation import Installation, Part
from processors.errors import InvalidArgument
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.submission import draft_by_name, submit, submit_many
from services.wiring import parts
from waiting import until

ACCOUNTS = 5


@pytest.fixture(scope="module")
def second(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Part]:
    """A worker of threads beside the installation's own, of processes."""
    command = ["-A", "services.celery_app:celery_app", "worker", "-I", "service_tasks", "--pool=threads"]
    more = ["--concurrency=8", "--loglevel=INFO", "--hostname=second@%h"]
    part = Part("worker", [sys.executable, "-m", "celery", *command, *more], tmp_path_factory.mktemp("second") / "log")
    part.start()
    until(lambda: part.said(" ready."), what="the second worker is ready")
    yield part
    part.stop()


@pytest.fixture(autouse=True)
def _lifted() -> Iterator[None]:
    yield
    for limit in celery_service.get_limits():
        celery_service.clear_limit(limit["scope"])
    celery_service.resume_queue("low_priority")


def drafts(count: int, **values):
    return [
        replace(
            draft_by_name(
                "test.limited",
                {"account": f"a{number % ACCOUNTS}"},
                queue="low_priority",
                origin="test",
            ),
            **values,
        )
        for number in range(count)
    ]


def ended(ids: list[str]):
    def all_final():
        records = [parts().tasks.read(one) for one in ids]
        return all(record.final for record in records) and records

    return until(all_final, 90, f"{len(ids)} tasks are final", every=0.2)


@pytest.mark.usefixtures("second")
def test_no_more_run_at_once_than_a_concurrency_allows():
    celery_service.set_limit("task:test.limited", concurrency=2)
    submitted = [replace(draft, kwargs={"account": "a", "seconds": 0.2}) for draft in drafts(12)]

    submit_many(submitted)
    records = ended([draft.id for draft in submitted])

    together = [sum(other.started_at <= one.started_at < other.finished_at for other in records) for one in records]
    span = (max(one.finished_at for one in records) - min(one.started_at for one in records)).total_seconds()
    print(f"at most {max(together)} at once, {12 * 0.2 / 2 / span:.0%} used")  # noqa: T201 - its figures
    assert max(together) <= 2


def test_a_paused_queue_starts_nothing_over_a_restart_of_its_worker_and_all_of_it_once_resumed(installation):
    running = drafts(1, kwargs={"account": "a", "seconds": 1.0})[0]
    submit(running)
    until(lambda: parts().tasks.read(running.id).started_at)

    left = celery_service.drain("low_priority")
    waiting = drafts(5)
    submit_many(waiting)
    until(lambda: all(parts().tasks.read(one.id).held for one in waiting))
    until(lambda: celery_service.drain("low_priority") == 0)
    installation.worker.stop()
    installation.start_worker()
    later = drafts(1)[0]
    submit(later)
    until(lambda: parts().tasks.read(later.id).held)
    stats = celery_service.get_task_result(celery_service.get_queue_stats(), timeout=60)["queues"]["low_priority"]

    assert left == 1
    assert celery_service.get_task_status(later.id)["info"]["waits_for"] == "pause"
    assert stats["paused"]
    assert stats["depth"] >= 6, "others may have left some there"
    assert parts().tasks.read(running.id).state == "SUCCESS"
    assert celery_service.resume_queue("low_priority")
    records = ended([one.id for one in [*waiting, later]])
    assert {(record.state, record.run) for record in records} == {("SUCCESS", 1)}


def test_a_key_that_is_none_is_refused_at_submit_and_fails_where_the_submitter_did_not_know(tmp_path: Path):
    with pytest.raises(InvalidArgument, match=r"limited_by of test.mislimited must return keys .* got 'x'"):
        service_tasks.mislimited.delay(account="x")
    unknown = replace(drafts(1)[0], name="test.mislimited", limit_keys=None, kwargs={"account": "x"})

    submit(unknown)
    [record] = ended([unknown.id])

    assert (record.state, record.error_type, record.run) == ("FAILURE", "InvalidArgument", 0)


def test_a_tasks_keys_are_kept_by_whoever_submits_it():
    task_id = celery_app.send_task("test.limited", kwargs={"account": "z"}, queue="low_priority").id

    [record] = ended([task_id])

    assert record.limit_keys == ["account:z"]
    assert record.started_at <= datetime.now(UTC)
