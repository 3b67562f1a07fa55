"""Leaders that are killed, frozen and doubled: each fire time becomes one task all the same."""

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select, update

from installation import TESTS, Installation, Part
from lives import LONG
from records.schedules import schedules
from records.task_records import Draft, TaskRecord, task_records, to_record
from services.celery_service import celery_service
from services.scheduling import draft_of_schedule, fire_id
from services.submission import submit
from services.wiring import parts
from waiting import until

pytestmark = pytest.mark.any_broker

SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def alone(installation: Installation) -> Iterator[Installation]:
    """The installation without worker and leader: a worker would start a leader of its own."""
    installation.worker.stop()
    installation.leader.stop()
    yield installation
    installation.leader.start()
    installation.start_worker()


@pytest.fixture
def start_leader(alone: Installation, tmp_path: Path) -> Iterator[Callable[..., Part]]:
    """Start a leader; whichever still runs at the end is killed, and who led leads no more."""
    started: list[Part] = []

    def start(**variables: str) -> Part:
        command = [sys.executable, str(TESTS / "faulty_leader.py")]
        one = Part("leader", command, tmp_path / f"leader-{len(started)}.txt", variables)
        one.start()
        started.append(one)
        return one

    yield start
    for one in started:
        if one.process is not None and one.process.poll() is None:
            one.kill()
    forget_leader()
    for schedule in celery_service.list_schedules():
        if schedule["source"] == "database":
            celery_service.remove_schedule(schedule["name"])
    celery_service.kill_all_tasks()


def forget_leader() -> None:
    """Spare a test the rest of a dead leader's lease."""
    if leader := parts().leadership.current():
        parts().leadership.give_up(leader.holder)


def fired(name: str) -> list[TaskRecord]:
    """Return the tasks of a schedule's fire times, the first one first."""
    query = select(task_records).where(task_records.c.origin == f"schedule:{name}")
    tasks = [to_record(row) for row in parts().database.read(lambda c: c.execute(query).mappings().all())]
    return sorted(tasks, key=fire_time)


def fire_time(task: TaskRecord) -> datetime:
    return datetime.fromisoformat(task.message["headers"]["csai_fire_at"])


def anchor(name: str) -> datetime:
    return parts().schedules.read(name).anchor_at


def leads(part: Part) -> bool:
    leader = parts().leadership.current()
    return leader is not None and leader.pid == part.process.pid


def freeze(part: Part) -> None:
    until(lambda: psutil.Process(part.process.pid).status() == psutil.STATUS_STOPPED, what="it froze itself")


def add(name: str, path: Path, **timing) -> None:
    celery_service.add_schedule(name, "test.mark", kwargs={"path": str(path)}, **timing)


@pytest.fixture(autouse=True)
def _tests_tasks_are_known() -> None:
    import service_tasks  # noqa: F401, PLC0415 - registers them here too


def test_a_task_is_told_its_fire_time_and_one_that_is_run_by_hand_none(installation: Installation):
    celery_service.add_schedule("told", "test.fire_time", every=3600)
    schedule = parts().schedules.read("told")
    draft = draft_of_schedule(schedule, fire_id("told", schedule.next_at), schedule.next_at - timedelta(days=1))
    submit(draft)
    try:
        by_hand = celery_service.run_schedule_now("told")
        assert celery_service.get_task_result(by_hand, timeout=60) is None
        fired_at = celery_service.get_task_result(draft.id, timeout=60)
        assert datetime.fromisoformat(fired_at) == schedule.next_at - timedelta(days=1)
    finally:
        celery_service.remove_schedule("told")


def test_each_fire_time_is_one_task_though_leaders_are_killed_while_they_fire(start_leader, tmp_path):
    seed = random.randrange(10**6)
    print("seed", seed)  # noqa: T201 - a failing run shows it
    points = ["read", "moved", "fired", "claimed", "moved", "fired"] * (34 if LONG else 1)
    random.Random(seed).shuffle(points)
    add("killed", tmp_path / "effects", every=1, catch_up="all")

    for point in points:
        victim = start_leader(FAULT=f"SIGKILL:{point}")
        until(lambda victim=victim: victim.process.poll() is not None, what=f"it died at {point}")
        assert victim.said(f"SIGKILL at {point}")
        forget_leader()
    survivor = start_leader()
    until(lambda: leads(survivor) and len(fired("killed")) >= len(points) + 3, what="it goes on")
    celery_service.pause_schedule("killed")

    tasks = fired("killed")
    print("kills", len(points), "fire times", len(tasks))  # noqa: T201 - the figures of this run
    assert [fire_time(task) for task in tasks] == [anchor("killed") + SECOND * n for n in range(1, len(tasks) + 1)]
    until(lambda: all(task.published_at for task in fired("killed")), what="all are published")


def test_of_two_leaders_one_fires_and_the_other_one_goes_on_within_ten_seconds(start_leader, tmp_path):
    add("doubled", tmp_path / "effects", every=1, catch_up="all")
    both = [start_leader(), start_leader()]
    until(lambda: len(fired("doubled")) >= 2, what="it fires")
    first, second = both if leads(both[0]) else reversed(both)
    assert leads(first)
    assert not second.said("leading")

    first.kill()
    until(lambda: leads(second), 10, what="the other one leads")
    count = len(fired("doubled"))
    until(lambda: len(fired("doubled")) > count, what="it fires")
    celery_service.pause_schedule("doubled")

    tasks = fired("doubled")
    assert [fire_time(task) for task in tasks] == [anchor("doubled") + SECOND * n for n in range(1, len(tasks) + 1)]


def test_a_leader_that_was_frozen_while_it_fired_fires_nothing_when_it_wakes(start_leader, tmp_path):
    add("frozen", tmp_path / "effects", every=3600)
    make_due("frozen")
    frozen = start_leader(FAULT="SIGSTOP:read")
    freeze(frozen)
    assert fired("frozen") == []

    awake = start_leader()
    until(lambda: leads(awake), 10, what="another one leads")
    [task] = until(lambda: fired("frozen"), what="it fired")
    make_due("frozen")
    [_, later] = until(lambda: len(tasks := fired("frozen")) == 2 and tasks, what="it fires again")
    frozen.process.send_signal(signal.SIGCONT)

    until(lambda: frozen.said("moved 0"), what="it tried to fire")
    assert fired("frozen") == [parts().tasks.read(task.id), parts().tasks.read(later.id)]
    assert parts().schedules.read("frozen").last_task_id == later.id
    assert leads(awake)


def test_a_leader_that_was_frozen_before_it_published_publishes_nothing_when_it_wakes(start_leader, tmp_path):
    published = {name: tmp_path / name for name in ("frozen", "awake")}
    draft = Draft("to-be-published-once", "test.mark", "test", "low_priority", {"path": "/dev/null"}, delay=0.1)
    parts().tasks.open(draft)
    frozen = start_leader(FAULT="SIGSTOP:claimed", PUBLISHED=str(published["frozen"]))
    freeze(frozen)
    assert parts().tasks.read(draft.id).published_at is None

    start_leader(PUBLISHED=str(published["awake"]))
    until(lambda: parts().tasks.read(draft.id).published_at, what="another one published it")
    frozen.process.send_signal(signal.SIGCONT)

    until(lambda: frozen.said("lead_unsure"), what="it looked at its lease")
    other = Draft("published-afterwards", "test.mark", "test", "low_priority", {"path": "/dev/null"}, relay_now=True)
    parts().tasks.open(other)
    until(lambda: parts().tasks.read(other.id).published_at, what="the leader goes on")
    found = Counter(published["awake"].read_text().split())  # a schedule of the settings may have been due meanwhile
    assert (found[draft.id], found[other.id]) == (1, 1)
    assert not published["frozen"].exists()


def test_what_was_missed_while_no_leader_ran_is_caught_up_by_each_policy(start_leader, tmp_path):
    for policy in ("latest", "all", "none"):
        add(policy, tmp_path / "effects", every=600, catch_up=policy)
        make_due(policy, times=11, ago=300)
    due = {policy: parts().schedules.read(policy).next_at for policy in ("latest", "all", "none")}

    start_leader()
    until(lambda: all(parts().schedules.read(policy).next_at > due[policy] for policy in due), what="all moved on")
    until(lambda: len(fired("all")) == 11, what="all are fired")

    step = timedelta(seconds=600)
    assert [fire_time(task) for task in fired("all")] == [due["all"] + step * n for n in range(11)]
    assert [fire_time(task) for task in fired("latest")] == [due["latest"] + step * 10]
    assert fired("none") == []
    for policy, first in due.items():
        assert parts().schedules.read(policy).next_at == first + step * 11


def test_beat_keeps_a_leader_that_ends_with_it(alone: Installation, start_leader, tmp_path):
    celery_service.add_schedule("by-beat", "monitoring.health_check", every=1)
    beat = Part("beat", [sys.executable, "-m", "services.celery_part", "beat"], tmp_path / "beat.txt")
    beat.start()
    try:
        tasks = until(lambda: len(found := fired("by-beat")) >= 2 and found, what="it fires")
        leader = psutil.Process(parts().leadership.current().pid)
        assert leader.ppid() == beat.process.pid
        assert "in the records" in beat.log.read_text()
        celery_service.pause_schedule("by-beat")
        assert fire_time(tasks[1]) - fire_time(tasks[0]) == SECOND
    finally:
        beat.stop()
    until(lambda: not leader.is_running(), what="its leader has ended")
    assert parts().leadership.current() is None, "it gave the lead up"


def test_a_leader_ends_with_the_beat_that_was_killed(start_leader, tmp_path):
    beat = Part("beat", [sys.executable, "-m", "services.celery_part", "beat"], tmp_path / "beat.txt")
    beat.start()
    leader = psutil.Process(until(parts().leadership.current, what="a leader").pid)
    os.kill(beat.process.pid, signal.SIGKILL)
    beat.process.wait(30)

    until(lambda: not leader.is_running(), what="its leader has ended")


def make_due(name: str, times: int = 1, ago: float = 0) -> None:
    """Let so many fire times of an interval have passed, the last one so many seconds ago."""
    schedule = parts().schedules.read(name)
    passed = timedelta(seconds=schedule.every_seconds * (times - 1) + ago)
    late = schedule.next_at - datetime.now(UTC) + passed
    moved = {"anchor_at": schedule.anchor_at - late, "next_at": schedule.next_at - late}
    parts().database.write(lambda c: c.execute(update(schedules).where(schedules.c.name == name).values(moved)))
