"""Schedules in the database: a fire time becomes one task, whoever dies, wakes up or changes what meanwhile."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from processors.schedules import firing
from records.columns import Now
from records.database import Database
from records.leadership import Lead, Leadership
from records.schedules import Definition, Fire, Schedule, Schedules, schedules
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords, task_records

HOUR = timedelta(hours=1)


@pytest.fixture
def room(database: Database) -> Schedules:
    return Schedules(database)


@pytest.fixture
def lead(database: Database) -> Lead:
    return lead_of(database, "leader")


def lead_of(database: Database, holder: str) -> Lead:
    return Lead(holder, Leadership(database).take(holder, "host", 1))


def definition(name: str = "nightly", **values) -> Definition:
    usual = {
        "task": "cleanup.cleanup_old_tasks",
        "kwargs": {"max_age_hours": 5},
        "args": [],
        "queue": "default",
        "priority": "normal",
        "tenant": None,
        "crontab": None,
        "every_seconds": 3600.0,
        "timezone": "UTC",
        "catch_up": "all",
    }
    return Definition(name=name, **usual | values)


def clock(database: Database) -> datetime:
    return database.read(lambda c: c.execute(select(Now())).scalar_one())


def make_late(database: Database, name: str, seconds: float, **values) -> None:
    """Let a schedule be as if so much time had passed."""
    schedule = Schedules(database).read(name)
    moved = {
        "anchor_at": schedule.anchor_at - timedelta(seconds=seconds),
        "next_at": schedule.next_at - timedelta(seconds=seconds),
    }
    database.write(lambda c: c.execute(update(schedules).where(schedules.c.name == name).values(moved | values)))


def fire_of(schedule: Schedule, now: datetime, most: int = 100) -> Fire:
    times, following = firing(schedule.timing(schedule.anchor_at), schedule.catch_up, schedule.next_at, now, most)
    drafts = [
        Draft(f"{schedule.name}:{at.isoformat()}", schedule.task, "cleanup", "default", due_at=at, relay_now=True)
        for at in times
    ]
    return Fire(schedule, following, times[-1] if times else None, drafts)


def fires(room: Schedules, most: int = 100) -> list[Fire]:
    return [fire_of(schedule, now, most) for schedule, now in room.due(50)]


def tasks(database: Database) -> list[str]:
    return sorted(database.read(lambda c: c.execute(select(task_records.c.id)).scalars().all()))


def test_a_schedule_is_kept_as_it_was_given_and_fires_after_now(database, room):
    before = clock(database)
    given = definition(kwargs={"a": "grüße \0", "n": None}, args=[1, "x"], tenant="t", catch_up="none")

    schedule = room.add(given)

    assert room.read("nightly") == schedule
    assert schedule.definition() == given
    assert (schedule.source, schedule.paused, schedule.last_fire_at) == ("database", False, None)
    assert schedule.next_at == schedule.anchor_at + HOUR
    assert before <= schedule.anchor_at <= clock(database)
    assert room.listed() == [schedule]
    assert room.read("nobody") is None


def test_a_name_is_given_once(room):
    first = room.add(definition())

    assert room.add(definition(every_seconds=60.0)) is None
    assert room.listed() == [first]


def test_what_is_due_becomes_a_task_that_the_relay_publishes_at_once(database, room, lead):
    room.add(definition())
    assert room.due(10) == []
    make_late(database, "nightly", 3601)
    fire = fires(room)[0]

    assert room.fire(lead, [fire]) == ["nightly"]

    record = TaskRecords(database).read(fire.drafts[0].id)
    after = room.read("nightly")
    assert after.last_fire_at == fire.schedule.next_at
    assert after.last_task_id == record.id
    assert after.next_at == after.last_fire_at + HOUR
    assert [one.id for one in TaskMoves(database).claim(10)] == [record.id]
    assert room.due(10) == []


def test_a_fire_time_becomes_one_task_however_many_fire_it(database, room, lead):
    for number in range(5):
        room.add(definition(f"s{number}"))
        make_late(database, f"s{number}", 3601)
    read = fires(room)
    moved = []

    def fire():
        moved.extend(room.fire(lead, read))

    threads = [threading.Thread(target=fire) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(moved) == [f"s{number}" for number in range(5)]
    assert len(tasks(database)) == 5


def test_a_leader_that_wakes_up_after_another_one_took_over_fires_nothing(database, room, lead):
    room.add(definition())
    make_late(database, "nightly", 3601)
    read = fires(room)
    Leadership(database).give_up("leader")

    assert room.fire(lead, read) == [], "its lease has run out"
    awake = lead_of(database, "awake")
    assert room.fire(lead, read) == [], "another one leads"
    assert tasks(database) == []
    assert room.fire(awake, fires(room)) == ["nightly"]
    assert room.fire(awake, read) == [], "it was fired"


def test_what_was_read_before_others_caught_up_moves_nothing_back(database, room, lead):
    room.add(definition())
    make_late(database, "nightly", 5 * 3600)
    old = fires(room, most=1)
    assert room.fire(lead, old) == ["nightly"]
    assert room.fire(lead, fires(room, most=1)) == ["nightly"]
    after = room.read("nightly")

    assert room.fire(lead, old) == []
    assert room.read("nightly") == after


def test_what_was_changed_paused_or_removed_since_it_was_read_is_not_fired(database, room, lead):
    names = ("changed", "paused", "resumed", "removed", "added anew")
    for name in names:
        room.add(definition(name))
        make_late(database, name, 3601)
    read = fires(room)
    room.change("changed", lambda schedule: replace(schedule.definition(), kwargs={}))
    room.pause("paused")
    room.pause("resumed")
    room.resume("resumed")
    room.remove("removed")
    room.remove("added anew")
    room.add(definition("added anew"))

    assert len(read) == 5
    assert room.fire(lead, read) == []
    assert tasks(database) == []


def test_tasks_and_schedules_move_together_or_not_at_all(database, room, lead):
    room.add(definition())
    make_late(database, "nightly", 3601)
    [fire] = fires(room)
    bad = replace(fire, drafts=[replace(fire.drafts[0], kwargs={"x": object()})])

    with pytest.raises(TypeError):
        room.fire(lead, [bad])

    assert room.read("nightly").next_at == fire.schedule.next_at
    assert room.fire(lead, [fire]) == ["nightly"]


def test_a_task_that_is_there_already_is_left_as_it_is(database, room, lead):
    """A schedule that was removed and added anew may meet a fire time of its former life."""
    room.add(definition())
    make_late(database, "nightly", 3601)
    [fire] = fires(room)
    TaskRecords(database).open(replace(fire.drafts[0], kwargs={"first": True}))

    assert room.fire(lead, [fire]) == ["nightly"]
    assert TaskRecords(database).read(fire.drafts[0].id).kwargs == {"first": True}


@pytest.mark.parametrize(("policy", "count"), [("all", 11), ("latest", 1), ("none", 0)])
def test_what_was_missed_over_ten_fire_times_is_caught_up_by_the_policy(database, room, lead, policy, count):
    schedule = room.add(definition(catch_up=policy))
    make_late(database, "nightly", 11.5 * 3600)

    while due := fires(room, most=4):
        assert room.fire(lead, due) == ["nightly"]

    anchor = schedule.anchor_at - 11.5 * HOUR
    expected = [anchor + HOUR * n for n in range(1, 12)][11 - count :]
    assert tasks(database) == sorted(f"nightly:{at.isoformat()}" for at in expected)
    assert room.read("nightly").next_at == anchor + 12 * HOUR
    assert room.read("nightly").last_fire_at == (expected[-1] if expected else None)


def test_a_change_keeps_the_phase_of_an_interval_that_stays_and_fires_nothing_of_the_past(database, room):
    first = room.add(definition())
    make_late(database, "nightly", 90 * 60)
    late = room.read("nightly")

    changed = room.change("nightly", lambda schedule: replace(schedule.definition(), kwargs={"new": 1}))
    assert (changed.kwargs, changed.anchor_at) == ({"new": 1}, late.anchor_at)
    assert changed.next_at == late.anchor_at + 2 * HOUR

    faster = room.change("nightly", lambda schedule: replace(schedule.definition(), every_seconds=60.0))
    assert faster.anchor_at > late.anchor_at
    assert faster.next_at == faster.anchor_at + timedelta(seconds=60)
    assert faster.created_at == first.created_at
    assert room.change("nobody", lambda schedule: schedule.definition()) is None


def test_a_change_that_is_refused_changes_nothing(room):
    before = room.add(definition())

    def refuse(schedule: Schedule) -> Definition:
        raise ValueError(schedule.name)

    with pytest.raises(ValueError, match="nightly"):
        room.change("nightly", refuse)
    assert room.read("nightly") == before


def test_the_next_fire_time_lies_after_the_last_one_though_the_clock_went_back(database, room):
    room.add(definition(every_seconds=None, crontab="0 * * * *"))
    ahead = (clock(database) + timedelta(days=1)).replace(minute=0, second=0, microsecond=0)
    make_late(database, "nightly", 0, last_fire_at=ahead)

    assert room.change("nightly", lambda schedule: schedule.definition()).next_at == ahead + HOUR


def test_a_paused_schedule_is_not_due_and_goes_on_after_now(database, room):
    room.add(definition())
    assert room.pause("nightly").paused
    make_late(database, "nightly", 10 * 3600)

    assert room.due(10) == []
    assert room.overdue(60) == []
    resumed = room.resume("nightly")
    assert not resumed.paused
    assert resumed.next_at > clock(database)
    assert room.pause("nobody") is None
    assert room.resume("nobody") is None


def test_resuming_what_is_not_paused_skips_nothing(database, room):
    room.add(definition())
    make_late(database, "nightly", 3601)
    due = room.read("nightly")

    assert room.resume("nightly") == due


def test_overdue_is_what_is_over_so_many_seconds_late(database, room):
    for name, late in (("one", 3700), ("two", 4000), ("three", 3630)):
        room.add(definition(name))
        make_late(database, name, late)

    found = room.overdue(60)

    assert [name for name, _ in found] == ["two", "one"]
    assert 400 <= found[0][1] < 460


def test_what_is_due_comes_page_by_page_the_longest_due_first_and_leaves_out_names(database, room):
    for number in range(5):
        room.add(definition(f"s{number}"))
        make_late(database, f"s{number}", 3601 + number)

    assert [schedule.name for schedule, _ in room.due(2)] == ["s4", "s3"]
    assert [schedule.name for schedule, _ in room.due(2, besides={"s4": 1.0})] == ["s3", "s2"]
    for schedule, now in room.due(1):
        assert abs(now - clock(database)) < timedelta(minutes=1)
        assert schedule.next_at < now


# --- From the settings ------------------------------------------------------------------------------------------


def test_the_settings_schedules_come_change_and_go_and_their_pauses_stay(database, room, lead):
    assert room.adopt(lead, [definition("a"), definition("b"), definition("c")]) == ([], True)
    assert [one.source for one in room.listed()] == ["settings"] * 3
    room.pause("b")
    before = {one.name: one for one in room.listed()}

    assert room.adopt(lead, [definition("a"), definition("b", kwargs={"new": 1}), definition("d")]) == ([], True)

    after = {one.name: one for one in room.listed()}
    assert set(after) == {"a", "b", "d"}
    assert after["a"] == before["a"], "what stays is caught up as it was"
    assert (after["b"].kwargs, after["b"].paused) == ({"new": 1}, True)
    assert not room.remove("a")
    assert room.adopt(lead, []) == ([], True)
    assert room.listed() == []


def test_a_name_that_is_taken_stays_whose_it_is(room, lead):
    own = room.add(definition("a"))

    assert room.adopt(lead, [definition("a", every_seconds=5.0)]) == (["a"], True)
    assert room.read("a") == own
    assert room.adopt(lead, []) == ([], True)
    assert room.read("a") == own


def test_who_does_not_lead_takes_no_settings_over(database, room, lead):
    Leadership(database).give_up("leader")

    assert room.adopt(lead, [definition("a")]) is None
    assert room.listed() == []


def test_a_schedule_that_a_frozen_transaction_holds_holds_up_no_other(database, room, lead):
    if database.is_sqlite:
        pytest.skip("one writes at a time there")
    for name in ("held", "free"):
        room.add(definition(name))
        make_late(database, name, 3601)
    read = fires(room)
    with database.engine().connect() as frozen:
        frozen.execute(update(schedules).where(schedules.c.name == "held").values(paused=False))

        assert room.fire(lead, read) == ["free"]
        assert room.adopt(lead, [definition("new")]) == ([], False)
        frozen.rollback()

    assert room.fire(lead, read) == ["held"]
    assert room.adopt(lead, [definition("new")]) == ([], True)
