"""What takes too long, or goes on after its cancellation, is ended, and nothing else with it."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from celery import chain

from examples.celery_example import SAMPLES
from installation import Installation
from processors.errors import ServiceUnavailable
from records.task_records import TaskRecord
from service_tasks import add, look, mark, nap, sleep_first, spin, unrecorded_until, work_until
from services import monitoring
from services.celery_service import celery_service
from services.wiring import parts
from waiting import until


def final(task_id: str) -> TaskRecord:
    return until(lambda: (r := parts().tasks.read(task_id)) and r.final and r, what=f"{task_id} is final")


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def active(task_id: str) -> bool:
    """Tell whether a worker says that it works on this."""
    return any(one["id"] == task_id for tasks in celery_service.get_worker_stats()["active"].values() for one in tasks)


@pytest.fixture
def threads(installation: Installation) -> Iterator[Installation]:
    """The installation with a worker that runs two tasks at once in threads."""
    installation.worker.stop()
    command = installation.worker.command
    installation.worker.command = [*command, "--pool=threads", "--concurrency=2"]
    installation.start_worker()
    yield installation
    installation.worker.kill()
    installation.worker.command = command
    installation.start_worker()


def check_ended_once(record: TaskRecord, path: Path) -> None:
    assert (record.state, record.error_type, record.attempt, record.run) == ("FAILURE", "TimeLimitExceeded", 0, 1)
    assert record.lost_runs == 0
    assert lines(path) == 1


@pytest.mark.parametrize("task", [sleep_first, spin], ids=["sleeps", "calculates"])
def test_a_process_ends_at_its_tasks_hard_time_limit_and_harms_no_neighbour(installation: Installation, tmp_path, task):
    release, runs = tmp_path / "release", tmp_path / "runs"
    neighbour = work_until.delay(str(release), str(tmp_path / "neighbour"))
    until(lambda: lines(tmp_path / "neighbour") == 1)

    linked = chain(task.si(str(runs)).set(time_limit=1), mark.si(str(tmp_path / "after"))).apply_async()
    late = [add.delay(number, 1) for number in range(5)]

    record = final(linked.parent.id)
    assert "hard time limit of 1 s" in record.error
    assert f"in {task.run.__name__}" in record.traceback, "it says where the task was"
    assert final(linked.id).state == "FAILURE"
    assert [final(one.id).result for one in late] == [1, 2, 3, 4, 5]
    release.touch()
    assert final(neighbour.id).state == "SUCCESS"
    assert lines(tmp_path / "neighbour") == 1
    check_ended_once(parts().tasks.read(record.id), runs)
    assert lines(tmp_path / "after") == 0
    until(lambda: not active(record.id), what="its message was refused")


def test_a_process_whose_thread_overruns_lets_its_other_tasks_end_and_begins_anew(threads: Installation, tmp_path):
    release, runs = tmp_path / "release", tmp_path / "runs"
    ready = threads.worker.count(" ready.")
    neighbour = work_until.delay(str(release), str(tmp_path / "neighbour"))
    until(lambda: lines(tmp_path / "neighbour") == 1)

    task = sleep_first.apply_async((str(runs),), time_limit=1)
    record = final(task.id)
    assert "in sleep_first" in record.traceback
    with pytest.raises(ServiceUnavailable, match=f"{task.id} in "):
        until(lambda: monitoring.probes(parts())["overruns"]() is None, what="it is listed")
    waiting = add.delay(1, 1)
    until(lambda: threads.worker.said("draining"))
    assert parts().tasks.read(neighbour.id).state == "PROGRESS"
    release.touch()

    assert final(neighbour.id).state == "SUCCESS"
    until(lambda: threads.worker.count(" ready.") > ready, what="it began anew")
    assert final(waiting.id).result == 2
    assert lines(tmp_path / "neighbour") == 1
    check_ended_once(parts().tasks.read(task.id), runs)
    until(lambda: "no task" in healthy("overruns"), what="it is listed no more")


def healthy(probe: str) -> str:
    try:
        return monitoring.probes(parts())[probe]()
    except ServiceUnavailable as error:
        return str(error)


def test_what_never_looks_at_its_cancellation_loses_its_process(installation: Installation, tmp_path):
    task = sleep_first.delay(str(tmp_path / "runs"))
    until(lambda: lines(tmp_path / "runs") == 1)
    process = psutil.Process(int((tmp_path / "runs").read_text()))

    assert celery_service.cancel_task(task.id)

    process.wait(60)
    assert installation.worker.process.poll() is None
    assert final(add.delay(1, 2).id).result == 3
    until(lambda: not active(task.id), what="its message was refused")
    assert parts().tasks.read(task.id).state == "REVOKED"
    assert lines(tmp_path / "runs") == 1


def test_what_never_looks_at_its_cancellation_in_a_thread_has_its_process_replaced(threads: Installation, tmp_path):
    ready = threads.worker.count(" ready.")
    task = sleep_first.delay(str(tmp_path / "runs"))
    until(lambda: lines(tmp_path / "runs") == 1)

    assert celery_service.cancel_task(task.id)

    until(lambda: threads.worker.count(" ready.") > ready, what="it began anew")
    assert final(add.delay(1, 3).id).result == 4
    assert parts().tasks.read(task.id).state == "REVOKED"
    assert lines(tmp_path / "runs") == 1


@pytest.mark.parametrize("how", ["looks", "reports"])
def test_what_looks_ends_soon_after_its_cancellation_and_keeps_its_process(installation: Installation, tmp_path, how):
    overruns = installation.worker.count("overrun")
    runs = tmp_path / "runs"
    task = look.delay(str(runs)) if how == "looks" else work_until.delay(str(tmp_path / "never"), str(runs))
    until(lambda: lines(runs) == 1)

    assert celery_service.cancel_task(task.id)
    began = time.monotonic()

    until(lambda: not active(task.id))
    print(f"ended {time.monotonic() - began:.1f} s after its cancellation")  # noqa: T201 - a figure
    assert installation.worker.count("overrun") == overruns
    assert not celery_service.cancel_task(task.id)


def test_a_cancelled_tasks_file_is_let_go_even_by_a_child_that_does_not_answer(installation: Installation):
    overruns = installation.worker.count("overrun")
    before = {one.pid for one in file_children(installation)}
    task_id = celery_service.process_document(str(SAMPLES / "report.pdf"))
    (child,) = until(lambda: [one for one in file_children(installation) if one.pid not in before] or None)
    child.suspend()

    assert celery_service.cancel_task(task_id)
    began = time.monotonic()

    child.wait(60)
    print(f"let go {time.monotonic() - began:.1f} s after its cancellation")  # noqa: T201 - a figure
    until(lambda: not active(task_id))
    assert installation.worker.count("overrun") == overruns
    done = celery_service.process_document(str(SAMPLES / "report.pdf"))
    assert celery_service.get_task_result(done, timeout=60)["status"] == "ok"


def file_children(installation: Installation) -> list[psutil.Process]:
    processes = psutil.Process(installation.worker.process.pid).children(recursive=True)
    return [one for one in processes if "services.file_child" in one.cmdline()]


def test_what_waits_or_is_due_later_never_starts_once_it_is_cancelled_also_while_its_worker_is_away(
    installation: Installation, tmp_path
):
    later = mark.apply_async((str(tmp_path / "later"),), countdown=2)
    installation.worker.kill()
    queued = mark.delay(str(tmp_path / "queued"))
    running = sleep_first.delay(str(tmp_path / "running"))
    assert all(celery_service.cancel_task(task.id) for task in (later, queued, running))

    installation.start_worker()

    behind = mark.apply_async((str(tmp_path / "behind"),), countdown=3)
    assert final(behind.id).state == "SUCCESS"
    assert [lines(tmp_path / name) for name in ("later", "queued", "running")] == [0, 0, 0]


def test_a_cancellation_is_kept_though_the_worker_that_runs_the_task_is_killed(installation: Installation, tmp_path):
    task = look.delay(str(tmp_path / "runs"))
    until(lambda: lines(tmp_path / "runs") == 1)
    installation.worker.kill()
    assert celery_service.cancel_task(task.id)

    installation.start_worker()

    assert final(add.delay(1, 4).id).result == 5
    until(lambda: not active(task.id))
    assert lines(tmp_path / "runs") == 1


def test_soft_time_limits_about_as_long_as_their_tasks_never_reach_another_task(installation: Installation):
    lost, died = (installation.worker.count(words) for words in ("WorkerLostError", "exited with"))
    tasks = [nap.apply_async((0.03,), soft_time_limit=0.032) for _ in range(200)]
    others = [nap.delay(0.01) for _ in range(50)]

    ended = [final(task.id) for task in tasks]

    print(Counter(record.error_type or record.state.value for record in ended))  # noqa: T201 - a figure
    assert {record.error_type or record.state for record in ended} <= {"TimeLimitExceeded", "SUCCESS"}
    assert {final(task.id).state for task in others} == {"SUCCESS"}
    assert {(record.run, record.lost_runs) for record in ended} == {(1, 0)}
    assert (installation.worker.count("WorkerLostError"), installation.worker.count("exited with")) == (lost, died)


def test_a_pool_of_threads_that_is_stopped_gives_back_what_goes_on(threads: Installation, tmp_path):
    task = sleep_first.delay(str(tmp_path / "runs"))
    quick = nap.delay(1)
    until(lambda: lines(tmp_path / "runs") == 1 and parts().tasks.read(quick.id).state == "STARTED")

    threads.worker.process.send_signal(signal.SIGTERM)

    assert threads.worker.process.wait(60) == 0
    assert parts().tasks.read(quick.id).state == "SUCCESS"
    record = parts().tasks.read(task.id)
    assert (record.state, record.run, record.lost_runs) == ("PENDING", 1, 0)
    threads.start_worker()
    assert final(task.id).result == 2
    assert parts().tasks.read(task.id).lost_runs == 0


def test_a_thread_whose_task_has_no_record_keeps_its_hard_time_limit_and_is_acknowledged(
    threads: Installation, tmp_path
):
    ready, marks = threads.worker.count(" ready."), tmp_path / "marks"
    unrecorded_until.apply_async((str(tmp_path / "never"), str(marks)), time_limit=1)

    until(lambda: threads.worker.count(" ready.") > ready, what="it began anew")

    assert final(add.delay(1, 5).id).result == 6
    assert lines(marks) == 1


def test_celerys_own_revoke_ends_a_task_in_a_thread_that_looks(threads: Installation, tmp_path):
    task = look.delay(str(tmp_path / "runs"))
    until(lambda: lines(tmp_path / "runs") == 1)

    task.revoke(terminate=True)

    assert final(task.id).state == "REVOKED"
    until(lambda: not active(task.id))
    assert final(add.delay(1, 6).id).result == 7
    assert not threads.worker.said(f"overrun task_id={task.id}")


def test_a_second_signal_stops_a_pool_of_threads_at_once(threads: Installation, tmp_path):
    threads.worker.stop()
    threads.worker.variables["SOFT_SHUTDOWN_TIMEOUT"] = "600"
    threads.start_worker()
    del threads.worker.variables["SOFT_SHUTDOWN_TIMEOUT"]
    task = sleep_first.delay(str(tmp_path / "runs"))
    until(lambda: lines(tmp_path / "runs") == 1)
    said = threads.worker.count("Warm shutdown")

    for number in (1, 2):
        threads.worker.process.send_signal(signal.SIGINT)
        until(lambda number=number: threads.worker.count("Warm shutdown") == said + number)

    assert threads.worker.process.wait(60) == 0
    assert parts().tasks.read(task.id).state == "PENDING"
    threads.start_worker()
    assert final(task.id).result == 2


def test_a_worker_that_runs_its_tasks_itself_begins_anew_where_one_overruns(installation: Installation, tmp_path):
    installation.worker.stop()
    command = installation.worker.command
    installation.worker.command = [*command, "--pool=solo"]
    installation.start_worker()
    ready = installation.worker.count(" ready.")
    try:
        task = sleep_first.apply_async((str(tmp_path / "runs"),), time_limit=1)
        assert final(task.id).error_type == "TimeLimitExceeded"
        until(lambda: installation.worker.count(" ready.") > ready, what="it began anew")
        assert final(add.delay(1, 7).id).result == 8
        check_ended_once(parts().tasks.read(task.id), tmp_path / "runs")
    finally:
        installation.worker.kill()
        installation.worker.command = command
        installation.start_worker()
