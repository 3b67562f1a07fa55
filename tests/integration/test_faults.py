"""What is pulled, killed and lost: every accepted task reaches its end all the same, and once."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from celery import chain
from celery.utils import uuid
from kombu import Producer

from broker import rabbitmq
from broker.location import resolve
from broker.waiting_messages import take_all
from config.settings import settings
from installation import Installation, Part
from ports import free_port
from processors.errors import ConfigurationError, ServiceUnavailable
from records.task_moves import TaskMoves
from records.task_records import Draft
from service_tasks import (
    add,
    die_after_success,
    fail_at_length,
    huge,
    keep,
    kill_worker,
    leave,
    mark,
    never_ends,
    refuse,
    work_until,
)
from services import monitoring, parked
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.publisher import Publisher
from services.relay import reconcile
from services.submission import submit_many
from services.wiring import parts
from strangers import Stranger
from waiting import until


def final(task_id: str):
    return until(lambda: (r := parts().tasks.read(task_id)) and r.final and r, what=f"{task_id} is final")


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_forty_tasks_end_once_each_though_their_worker_is_killed_three_times(installation: Installation, tmp_path):
    seed = random.randrange(10**6)
    print("seed", seed)  # noqa: T201 - a failing run shows it
    chance = random.Random(seed)
    effects = tmp_path / "effects"
    tasks = [mark.delay(str(effects), f"t{number}") for number in range(40)]

    for _ in range(3):
        wanted = min(39, lines(effects) + chance.randrange(1, 8))
        until(lambda wanted=wanted: lines(effects) >= wanted, what=f"{wanted} effects")
        installation.worker.kill()
        installation.start_worker()

    assert {final(task.id).state for task in tasks} == {"SUCCESS"}
    done = effects.read_text().split()
    assert set(done) == {f"t{number}" for number in range(40)}
    assert len(done) - 40 <= 3 * 2, "at most what ran at a kill ran twice"


@pytest.fixture
def thread_worker(installation: Installation) -> Iterator[Installation]:
    """The installation with a worker that runs its tasks in threads."""
    installation.worker.stop()
    command = installation.worker.command
    installation.worker.command = [*command, "--pool=threads", "--concurrency=6"]
    installation.start_worker()
    yield installation
    installation.worker.kill()
    installation.worker.command = command
    installation.start_worker()


def submit_marks(count: int, effects: Path) -> list[Draft]:
    drafts = [
        Draft(uuid(), "test.mark", "test", "default", {"path": str(effects), "text": f"t{number}"})
        for number in range(count)
    ]
    submit_many(drafts)
    return drafts


def test_a_thread_pool_that_is_killed_repeats_nothing_that_had_ended(thread_worker: Installation, tmp_path):
    effects = tmp_path / "effects"
    drafts = submit_marks(400, effects)

    until(lambda: lines(effects) >= 60, what="60 effects")
    thread_worker.worker.kill()
    ended = {f"t{n}" for n, draft in enumerate(drafts) if parts().tasks.read(draft.id).state == "SUCCESS"}
    thread_worker.start_worker()

    assert {final(draft.id).state for draft in drafts} == {"SUCCESS"}
    done = Counter(effects.read_text().split())
    assert ended
    assert set(done) == {f"t{number}" for number in range(400)}
    assert [one for one in ended if done[one] > 1] == []


def test_a_thread_pool_that_is_stopped_loses_no_end_and_repeats_none(thread_worker: Installation, tmp_path):
    effects = tmp_path / "effects"
    drafts = submit_marks(400, effects)

    until(lambda: lines(effects) >= 60, what="60 effects")
    thread_worker.worker.process.send_signal(signal.SIGTERM)
    thread_worker.worker.process.wait(60)
    thread_worker.start_worker()

    assert {final(draft.id).state for draft in drafts} == {"SUCCESS"}
    assert Counter(effects.read_text().split()) == Counter(f"t{number}" for number in range(400))


def test_a_solo_worker_outlives_the_shell_that_started_it(installation: Installation):
    command = installation.worker.command
    installation.worker.stop()
    installation.worker.command = ["sh", "-c", '"$@" & wait', "sh", *command, "--pool=solo"]
    installation.start_worker()
    installation.worker.process.kill()
    installation.worker.process.wait(10)
    try:
        assert final(add.delay(1, 2).id).result == 3
    finally:
        installation.worker.command = command
        installation.worker.kill()
        installation.start_worker()


def test_a_long_task_goes_on_in_another_worker_and_its_attempt_is_not_counted(installation: Installation, tmp_path):
    release, runs = tmp_path / "release", tmp_path / "runs"
    task = work_until.delay(str(release), str(runs))
    until(lambda: lines(runs) == 1)

    installation.worker.kill()
    installation.start_worker()
    until(lambda: lines(runs) == 2, what="the task runs again")
    release.touch()

    record = final(task.id)
    assert (record.state, record.attempt, record.run, record.lost_runs) == ("SUCCESS", 0, 2, 1)


def test_what_ran_in_a_killed_worker_runs_again_before_what_waited_behind_it(installation: Installation, tmp_path):
    release, runs, effects = tmp_path / "release", tmp_path / "runs", tmp_path / "effects"
    begun = [work_until.delay(str(release), str(runs)) for _ in range(2)]
    until(lambda: lines(runs) == 2, what="both slots are taken")
    behind = submit_marks(20, effects)

    installation.worker.kill()
    for task in begun:
        until(lambda task=task: (r := parts().tasks.read(task.id)).state == "PENDING" and r.published_at, what="again")
    installation.start_worker()
    until(lambda: lines(runs) == 4, what="both run again")
    assert lines(effects) == 0
    release.touch()

    assert {final(one.id).state for one in [*begun, *behind]} == {"SUCCESS"}


@pytest.mark.any_broker
def test_a_run_survives_a_database_that_was_away_longer_than_a_worker_may_be_silent(
    installation: Installation, tmp_path
):
    if not parts().database.is_sqlite:
        pytest.skip("holds SQLite's lock")
    release, runs = tmp_path / "release", tmp_path / "runs"
    task = work_until.delay(str(release), str(runs))
    until(lambda: lines(runs) == 1)
    failed = installation.worker.count("heartbeat_failed")

    with closing(sqlite3.connect(settings.data_dir / "records.db", isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        until(lambda: installation.worker.count("heartbeat_failed") >= failed + 2, what="no heartbeat gets through")
        assert not parts().workers.living()
    until(lambda: parts().workers.living() and parts().leadership.current(), what="the service is back")
    assert final(add.delay(1, 1).id).result == 2
    release.touch()

    record = final(task.id)
    assert (record.state, record.run, record.lost_runs, lines(runs)) == ("SUCCESS", 1, 0, 1)


def test_a_clean_stop_gives_a_running_task_back_without_blame(installation: Installation, tmp_path):
    release, runs = tmp_path / "release", tmp_path / "runs"
    task = work_until.delay(str(release), str(runs))
    until(lambda: lines(runs) == 1)

    installation.worker.stop()
    until(lambda: parts().tasks.read(task.id).state == "PENDING", what="the task waits again")
    release.touch()
    installation.start_worker()

    record = final(task.id)
    assert (record.state, record.attempt, record.lost_runs) == ("SUCCESS", 0, 0)


def test_ten_submits_while_the_broker_is_down_are_ten_results(installation: Installation):
    installation.broker.stop()
    tasks = [add.delay(number, 1) for number in range(10)]
    states = {celery_service.get_task_status(task.id)["status"] for task in tasks}

    installation.broker.start()

    assert states == {"PENDING"}
    assert [final(task.id).result for task in tasks] == [number + 1 for number in range(10)]


def test_many_tasks_are_recorded_and_published_at_once_and_end_once_each(installation: Installation, tmp_path):
    effects = tmp_path / "effects"

    drafts = submit_marks(600, effects)

    assert {final(draft.id).state for draft in drafts} == {"SUCCESS"}
    assert sorted(effects.read_text().split()) == sorted(f"t{number}" for number in range(600))


def test_many_tasks_submitted_while_the_broker_is_down_are_published_when_it_is_back(installation: Installation):
    installation.broker.stop()
    drafts = [Draft(uuid(), "test.add", "test", "default", {"x": number, "y": 1}) for number in range(20)]
    submit_many(drafts)
    installation.broker.start()

    assert [final(draft.id).result for draft in drafts] == [number + 1 for number in range(20)]


def test_a_worker_outlives_a_broker_that_goes_away_while_it_works(installation: Installation, tmp_path):
    release, runs = tmp_path / "release", tmp_path / "runs"
    task = work_until.delay(str(release), str(runs))
    until(lambda: lines(runs) == 1)
    worker, lost = installation.worker.process, installation.worker.count("Trying to re-establish")

    installation.broker.stop()
    until(lambda: installation.worker.count("Trying to re-establish") > lost, what="the worker misses its broker")
    installation.broker.start()
    release.touch()

    assert (final(task.id).state, lines(runs)) == ("SUCCESS", 1)
    assert final(add.delay(1, 1).id).result == 2
    assert worker is not None
    assert worker.poll() is None


def test_a_worker_that_loses_the_broker_while_it_reads_a_large_failure_keeps_all_its_slots(
    installation: Installation, tmp_path
):
    pids, release, runs, over = (tmp_path / name for name in ("pids", "release", "runs", "over"))
    worker, errors = installation.worker.process.pid, installation.worker.count("Unrecoverable error")
    failing = fail_at_length.delay(str(pids), str(release))
    child = int(until(lambda: lines(pids) and pids.read_text(), what="it runs"))
    os.kill(worker, signal.SIGSTOP)
    release.touch()
    until(lambda: "pipe_w" in Path(f"/proc/{child}/wchan").read_text(), what="the pipe is full")
    os.kill(child, signal.SIGSTOP)
    os.kill(worker, signal.SIGCONT)
    for _ in range(2):  # in the other process: what the worker does for the second one comes after a look at the pipe
        final(add.delay(1, 1).id)

    installation.broker.stop()
    installation.broker.start()
    final(add.delay(1, 1).id)  # the worker has found the broker again
    os.kill(child, signal.SIGCONT)

    tasks = [work_until.delay(str(over), str(runs)) for _ in range(2)]
    until(lambda: lines(runs) == 2, what="both slots work")
    over.touch()
    assert {final(task.id).state for task in tasks} == {"SUCCESS"}
    assert final(failing.id).state == "FAILURE"
    assert installation.worker.count("Unrecoverable error") == errors


def test_ten_messages_lost_with_all_the_brokers_data_are_ten_results(installation: Installation):
    installation.worker.stop()
    tasks = [add.delay(number, 2) for number in range(10)]
    until(lambda: all(parts().tasks.read(task.id).published_at for task in tasks), what="all are published")

    installation.broker.lose_data()
    installation.broker.start()
    installation.start_worker()

    assert [final(task.id).result for task in tasks] == [number + 2 for number in range(10)]


def test_a_message_that_vanishes_while_workers_find_the_broker_again_is_soon_published_again(
    installation: Installation,
):
    installation.worker.stop()
    found = installation.leader.count("broker_found")
    installation.broker.stop()
    installation.broker.start()
    until(lambda: installation.leader.count("broker_found") > found, what="the leader sees the new broker")
    task = add.delay(1, 3)
    until(lambda: parts().tasks.read(task.id).published_at, what="it is published")
    with celery_app.connection_for_write() as connection:
        assert [headers["id"] for headers, _ in take_all(connection, "default")] == [task.id]

    installation.start_worker()

    assert final(task.id).result == 4


@pytest.mark.any_broker
def test_another_leader_takes_over_when_the_leader_is_killed(installation: Installation):
    before = until(parts().leadership.current, what="a leader")
    os.kill(before.pid, signal.SIGKILL)
    if installation.leader.process is not None and installation.leader.process.pid == before.pid:
        installation.leader.process.wait(10)
        installation.leader.process = None

    after = until(lambda: (n := parts().leadership.current()) and n.term > before.term and n, what="a new leader")

    assert after.pid != before.pid
    assert final(add.apply_async((1, 1), countdown=1).id).result == 2
    if installation.leader.process is None:
        installation.leader.start()


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


HEADER_LEVELS = (350,) if rabbitmq.serves(resolve(settings).url) else (350, 600, 900)
"""RabbitMQ's client sends no deeper ones."""

WHOLE = '[[1, 2], {}, {"callbacks": null}]'
OF_PROTOCOL_1 = f'{{"task": "test.keep", "id": "deep", "args": [{nested(600)}], "kwargs": {{}}}}'
MALFORMED = [
    *(({}, body) for body in ("", "null", "5", "true", '"text"', "{}", "[]", "[[1]]", "[[], {}, {}, {}]")),
    *(({"timelimit": limit}, WHOLE) for limit in ("x", 5, [1, 2, 3])),
    *(
        ({header: value}, WHOLE)
        for header, value in (("stamped_headers", 5), ("id", [1]), ("id", None), ("task", ["x"]))
    ),
    *(({"id": what_no_record_has}, WHOLE) for what_no_record_has in ("a\0b", "x" * 256)),
    *(({"own": json.loads(nested(levels))}, WHOLE) for levels in HEADER_LEVELS),
    ({}, OF_PROTOCOL_1),
    ({"task": None, "id": None}, OF_PROTOCOL_1),
    ({}, f"[[{nested(2_000)}], {{}}, {{}}]"),
]


def test_a_worker_puts_aside_what_is_no_message_of_celerys_and_goes_on(installation: Installation):
    parked.drop()  # what other tests of this installation have sent
    started, lost = installation.worker.process.pid, installation.worker.count("Connection to broker lost")
    with celery_app.connection_for_write() as connection:
        producer = Producer(connection.default_channel)
        for number, (headers, body) in enumerate(MALFORMED):
            own = {"task": add.name, "id": f"malformed-{number}", "lang": "py"} | headers
            producer.publish(
                body,
                exchange="",
                routing_key="default",
                content_type="application/json",
                content_encoding="utf-8",
                headers={name: value for name, value in own.items() if value is not None},
            )
    assert final(add.delay(1, 2).id).result == 3
    until(lambda: parked.count() == len(MALFORMED), what="all are parked")
    assert installation.worker.process.poll() is None
    assert installation.worker.process.pid == started
    assert installation.worker.count("Connection to broker lost") == lost
    parked.drop()


@pytest.mark.any_broker
def test_arguments_as_deep_as_may_be_are_run_and_deeper_ones_of_a_stranger_fail(installation: Installation):
    started, stranger = installation.worker.process.pid, Stranger()
    kept, deep = json.loads(nested(700)), json.loads(nested(850))

    ours = [keep.delay(kept).id, stranger.send_task("test.keep", (kept,), queue="default").id]
    theirs = [
        stranger.send_task("test.keep", (deep,), queue="default").id,
        stranger.send_task("test.add", (1, 2), queue="default", link=dict(keep.si(deep))).id,
    ]

    assert [final(task_id).result == kept for task_id in ours] == [True, True]
    for record in map(final, theirs):
        assert (record.state, record.error_type) == ("FAILURE", "InvalidArgument")
        assert "nested over 800 levels deep; pass" in record.error
    assert final(add.delay(1, 2).id).result == 3
    assert installation.worker.process.poll() is None
    assert installation.worker.process.pid == started


def test_a_leader_that_does_not_reach_the_broker_is_replaced_by_one_that_does(installation: Installation, tmp_path):
    installation.worker.stop()
    installation.leader.stop()
    scheme = urlsplit(resolve(settings).url).scheme.partition("+")[0]
    elsewhere = {"CELERY_BROKER_URL": f"{scheme}://127.0.0.1:{free_port()}/"}
    cut_off = Part("leader", installation.leader.command, tmp_path / "cut-off.txt", elsewhere)
    cut_off.start()
    before = until(lambda: (n := parts().leadership.current()) and n.yields and n, what="a leader that yields")
    with pytest.raises(ServiceUnavailable, match="does not reach the broker"):
        monitoring.probes(parts())["leader"]()

    installation.start_worker()

    after = until(
        lambda: (n := parts().leadership.current()) and not n.yields and n, what="one that reaches the broker"
    )
    assert after.term == before.term + 1
    assert final(add.apply_async((1, 1), countdown=1).id).result == 2
    assert cut_off.process.poll() is None
    cut_off.stop()
    installation.leader.start()


@pytest.mark.any_broker
def test_a_task_that_kills_its_worker_is_quarantined_and_harms_no_other(installation: Installation, tmp_path):
    poison = kill_worker.delay(str(tmp_path / "runs"))
    others = [add.delay(number, 3) for number in range(5)]

    assert [final(task.id).result for task in others] == [number + 3 for number in range(5)]
    record = final(poison.id)
    assert (record.state, record.error_type, record.lost_runs) == ("FAILURE", "Quarantined", 3)
    assert lines(tmp_path / "runs") == 3
    skipped = celery_service.get_task_result(celery_service.retry_failed_tasks(), timeout=60)["skipped"]
    assert any(one["task_id"] == poison.id and "quarantined" in one["why"] for one in skipped)


@pytest.mark.any_broker
def test_a_task_over_its_hard_time_limit_fails_for_good_and_runs_once(installation: Installation, tmp_path):
    task = never_ends.delay(str(tmp_path / "runs"))

    record = final(task.id)

    assert (record.state, record.error_type, record.attempt) == ("FAILURE", "TimeLimitExceeded", 0)
    assert lines(tmp_path / "runs") == 1


def test_a_second_message_of_a_task_changes_nothing(installation: Installation, tmp_path):
    task = mark.delay(str(tmp_path / "runs"))
    record = final(task.id)

    assert parts().publisher.publish([record]) == [record]
    assert parts().publisher.publish([record]) == [record]
    assert final(add.delay(1, 4).id).result == 5
    assert lines(tmp_path / "runs") == 1
    assert parts().tasks.read(task.id).run == 1


def test_a_delivery_that_finds_success_repeats_what_follows_it_once(installation: Installation, tmp_path):
    linked = chain(add.s(1, 1), mark.si(str(tmp_path / "second"))).apply_async()
    final(linked.id)
    first = parts().tasks.read(linked.parent.id)

    parts().publisher.publish([first, first])

    assert final(add.delay(1, 5).id).result == 6
    assert lines(tmp_path / "second") == 1


def test_a_chain_goes_on_though_its_whole_worker_died_between_a_success_and_what_follows_it(
    installation: Installation, tmp_path
):
    linked = chain(die_after_success.si(), mark.si(str(tmp_path / "second"))).apply_async()
    assert final(linked.parent.id).state == "SUCCESS"
    installation.worker.process.wait(30)
    installation.start_worker()

    assert final(linked.id).state == "SUCCESS"
    assert lines(tmp_path / "second") == 1
    assert parts().tasks.read(linked.parent.id).run == 1
    until(lambda: parts().tasks.read(linked.parent.id).relay_at is None, what="it is noted that all was done")


@pytest.mark.any_broker
def test_a_task_that_calls_exit_fails_like_any_other_and_is_not_run_for_ever(installation: Installation, tmp_path):
    task = leave.apply_async((str(tmp_path / "runs"),))

    record = final(task.id)

    assert (record.state, record.error_type, record.attempt) == ("FAILURE", "WorkError", 3)
    assert "no such option" in record.error
    assert lines(tmp_path / "runs") == 4


def test_a_removed_record_is_not_revived_by_a_late_message(installation: Installation, tmp_path):
    task = mark.delay(str(tmp_path / "runs"))
    record = final(task.id)
    parts().moves.remove([task.id])

    parts().publisher.publish([record])

    assert final(add.delay(1, 6).id).result == 7
    assert parts().tasks.read(task.id) is None
    assert lines(tmp_path / "runs") == 1


def test_reconciling_publishes_nothing_that_is_in_a_queue(installation: Installation, tmp_path, monkeypatch):
    moves, again = parts().moves, set[str]()  # other tests may have left what is in no queue
    monkeypatch.setattr(moves, "relay_again", lambda ids: again.update(ids) or TaskMoves.relay_again(moves, ids))
    release = tmp_path / "release"
    blockers = [work_until.delay(str(release), str(tmp_path / f"b{n}")) for n in range(4)]
    until(lambda: sum(lines(tmp_path / f"b{n}") for n in range(4)) == 2)
    waiting = [add.apply_async((n, 7), queue="low_priority") for n in range(20)]
    until(lambda: all(parts().tasks.read(task.id).published_at for task in waiting))

    reconcile(0)
    release.touch()

    assert again & {task.id for task in [*waiting, *blockers]} == set()
    assert [final(task.id).result for task in waiting] == [n + 7 for n in range(20)]
    assert {final(task.id).state for task in blockers} == {"SUCCESS"}


def test_a_broker_of_another_database_is_refused_and_both_are_named(installation: Installation):
    stranger = Publisher("another-database")

    with pytest.raises(ConfigurationError, match="another-database") as refused:
        stranger.check()

    assert parts().database_id in str(refused.value)


def test_a_publisher_that_found_no_broker_tries_again_once_it_is_told_of_it(
    installation: Installation, tmp_path, monkeypatch
):
    monkeypatch.setattr("services.publisher.SKIP_SECONDS", 600)
    publisher = Publisher(parts().database_id)
    draft = Draft(uuid(), "test.mark", "test", "default", {"path": str(tmp_path / "effects")})
    parts().tasks.open(draft)
    installation.broker.stop()
    assert publisher.publish([draft]) == []
    installation.broker.start()
    assert publisher.publish([draft]) == []  # nobody may wait for a broker that is away, at each task

    publisher.broker_answers()

    assert publisher.publish([draft]) == [draft]
    publisher.close()
    assert final(draft.id).state == "SUCCESS"


@pytest.mark.any_broker
def test_a_record_that_no_message_can_be_made_of_fails_alone(installation: Installation, tmp_path):
    where = {"path": str(tmp_path / "effects")}
    good = Draft(uuid(), "test.mark", "test", "default", kwargs=where)
    odd = [replace(good, id=uuid(), queue="gone"), replace(good, id=uuid(), priority="urgent")]
    waiting = replace(odd[0], id=uuid(), delay=0.1)
    behind = replace(good, id=uuid(), delay=0.1)
    for draft in (waiting, behind):
        parts().tasks.open(draft)

    submit_many([*odd, good])

    assert final(good.id).state == final(behind.id).state == "SUCCESS"
    for draft in (*odd, waiting):
        record = final(draft.id)
        assert (record.state, "there are the queues" in record.error) == ("FAILURE", True)


@pytest.mark.any_broker
def test_a_result_that_is_no_json_number_ends_its_task(installation: Installation):
    record = final(huge.delay().id)
    assert (record.state, record.run) == ("FAILURE", 1)
    assert "must return JSON values" in record.error


@pytest.mark.any_broker
def test_a_failed_task_is_not_started_by_an_old_message(installation: Installation, tmp_path):
    task = refuse.delay(str(tmp_path / "runs"))
    record = final(task.id)

    parts().publisher.publish([record])

    assert final(add.delay(1, 8).id).result == 9
    assert lines(tmp_path / "runs") == 1


@pytest.mark.any_broker
def test_a_leader_whose_starter_is_gone_before_it_leads_ends_by_itself(installation: Installation):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    orphan = subprocess.Popen([sys.executable, "-m", "services.leader", f"--if-absent={gone.pid}"])

    assert orphan.wait(60) == 0
