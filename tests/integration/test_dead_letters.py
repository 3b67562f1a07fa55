"""Failed tasks with real workers: found, edited and run again; what killed a worker; what tasks logged."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from celery import chain
from celery.utils import uuid

from installation import Installation
from processors.errors import InvalidArgument
from records.task_records import Draft
from service_tasks import add, choose, last_words, refuse, talk
from services.celery_service import celery_service
from services.submission import submit_many
from services.wiring import parts
from waiting import until

pytestmark = [pytest.mark.usefixtures("installation"), pytest.mark.any_broker]

KINDS = ("PermanentError", "InvalidArgument", "FileError", "WorkFailed")


def final(task_id: str):
    return until(lambda: (r := parts().tasks.read(task_id)) and r.final and r, what=f"{task_id} is final")


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def texts(task_id: str, **filters) -> list[str]:
    return [line["text"] for line in celery_service.get_task_logs(task_id, **filters)]


def test_failures_of_several_kinds_are_replayed_by_filter_and_by_hand_and_each_runs_once_more():
    drafts = [
        Draft(uuid(), "test.choose", "test", "default", {"number": 5_000 + number, "kind": KINDS[number % 4]})
        for number in range(80)
    ]
    submit_many(drafts)
    assert {final(draft.id).state for draft in drafts} == {"FAILURE"}
    by_kind = {kind: [draft.id for draft in drafts if draft.kwargs["kind"] == kind] for kind in KINDS}

    with ThreadPoolExecutor(8) as pool:
        bulks = [
            pool.submit(celery_service.retry_failed_tasks, error_type="FileError", search="it was 50") for _ in range(3)
        ]
        clicks = [pool.submit(celery_service.replay_task, one, {"kind": "none"}) for one in by_kind["WorkFailed"] * 2]
        edited = [click.result() for click in clicks]
        done = [celery_service.get_task_result(bulk.result(), timeout=60) for bulk in bulks]

    retried = Counter(one for bulk in done for one in bulk["retried"])
    assert set(retried.values()) == {1}
    assert {parts().tasks.read(one).retry_of for one in retried} == set(by_kind["FileError"])
    assert [final(one).error_type for one in retried] == ["FileError"] * 20
    assert Counter(edited) == Counter(dict.fromkeys(set(edited), 2))
    assert sorted(final(one).result for one in set(edited)) == [5_003 + 4 * number for number in range(20)]
    assert {parts().tasks.read(one).retry_of for one in edited} == set(by_kind["WorkFailed"])
    assert {parts().tasks.read(one).run for one in [*retried, *edited]} == {1}
    left = celery_service.get_failed_tasks(search="it was 50", error_type="PermanentError")
    assert {one["task_id"] for one in left} == set(by_kind["PermanentError"])


def test_a_task_that_was_given_its_arguments_by_position_runs_again_with_one_of_them_edited():
    failed = final(choose.apply_async((9_000, "PermanentError")).id)
    assert (failed.state, failed.args) == ("FAILURE", [9_000, "PermanentError"])

    new_id = celery_service.replay_task(failed.id, {"kind": "none"})

    assert celery_service.get_task_result(new_id, timeout=60) == 9_000


def test_what_was_to_follow_a_failure_is_not_replayed_without_it():
    linked = chain(refuse.si("/dev/null"), add.si(1, 1)).apply_async()
    assert final(linked.id).state == "FAILURE"

    for one in (linked.id, linked.parent.id):
        with pytest.raises(InvalidArgument, match="part of a workflow"):
            celery_service.replay_task(one)


def test_a_task_that_kills_its_workers_is_quarantined_with_the_evidence_and_replayed_by_hand(tmp_path):
    poison = last_words.delay(str(tmp_path / "runs"))

    record = final(poison.id)

    assert (record.error_type, record.lost_runs, lines(tmp_path / "runs")) == ("Quarantined", 3, 3)
    assert "was killed by SIGKILL; it had held up to" in record.error
    [story] = [one for one in celery_service.get_failed_tasks(error_type="Quarantined") if one["task_id"] == poison.id]
    assert [(one["run"], one["why"], one["signal"]) for one in story["incidents"]] == [
        (run, "died", "SIGKILL") for run in (1, 2, 3)
    ]
    assert all(one["memory_mb"] > 10 and one["pid"] and one["host"] for one in story["incidents"])
    assert len({one["pid"] for one in story["incidents"]}) == 3
    assert texts(poison.id) == ["these are my last words"] * 3
    again = celery_service.replay_task(poison.id)
    assert celery_service.cancel_task(again)


def check_logs(tmp_path: Path, other_path: Path) -> None:
    """Two tasks that talk at the same time keep each its own lines, and see them while they run."""
    first, second = (talk.delay(word, 3, str(other_path)) for word in ("first", "second"))
    for task in (first, second):
        until(lambda task=task: len(texts(task.id)) == 6, what="the lines of a task that runs")
    other_path.touch()

    assert [final(task.id).state for task in (first, second)] == ["SUCCESS", "SUCCESS"]
    for task, word in ((first, "first"), (second, "second")):
        assert texts(task.id) == [
            f"{word} by logging, to smtp://u:***@host",
            f"by structlog words={word} password=***",
            f"by the service's logger words={word}",
            *(f"line {number}" for number in range(3)),
        ]
        assert texts(task.id, level="WARNING") == [f"by the service's logger words={word}"]
    found = celery_service.search_task_logs("second by logging")
    assert found[0]["task_id"] == second.id
    assert first.id not in {line["task_id"] for line in found}


def test_what_tasks_log_in_processes_is_kept_each_with_its_own_record(tmp_path):
    check_logs(tmp_path, tmp_path / "release")


@pytest.fixture
def thread_worker(installation: Installation) -> Iterator[None]:
    """The installation with a worker that runs its tasks in threads."""
    installation.worker.stop()
    command = installation.worker.command
    installation.worker.command = [*command, "--pool=threads", "--concurrency=6"]
    installation.start_worker()
    yield
    installation.worker.kill()
    installation.worker.command = command
    installation.start_worker()


@pytest.mark.usefixtures("thread_worker")
def test_what_tasks_log_in_threads_is_kept_each_with_its_own_record(tmp_path):
    check_logs(tmp_path, tmp_path / "release")


def test_a_task_that_logs_without_end_is_kept_to_its_limit_and_its_worker_lives(tmp_path):
    loud = talk.delay("loud", 100_000)
    quiet = [add.delay(number, 1) for number in range(5)]

    assert [final(task.id).result for task in quiet] == [number + 1 for number in range(5)]
    record = final(loud.id)
    assert (record.state, record.run, record.lost_runs) == ("SUCCESS", 1, 0)
    kept = until(lambda: (found := texts(loud.id, limit=20_000)) and "dropped" in found[-1] and found)
    assert kept[3] == "line 0"
    assert parts().task_logs.kept_bytes(loud.id) < 1_010_000
