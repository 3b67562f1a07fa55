"""What came and ended in each minute is counted once, from the records, whoever counts and is killed."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, insert, select, update
from sqlalchemy.engine import Engine

from records.columns import Now
from records.task_minutes import FIRST_MINUTES, MINUTE, NOBODY, TaskMinutes, task_minutes
from records.task_records import Draft, TaskRecords, columns, task_records


class Killed(Exception):
    """What stands for a kill."""


STATES = ("SUCCESS", "FAILURE", "REVOKED")


def this_minute(database) -> datetime:
    now = database.read(lambda c: c.execute(select(Now())).scalar_one())
    return now.replace(second=0, microsecond=0)


def ended(database, task_id: str, at: datetime, state: str, queue: str = "email", waited=1.0, ran=2.0) -> None:
    """Record a task that ended at a moment."""
    TaskRecords(database).open(Draft(task_id, "email.send_email", "email", queue))
    values = {
        "state": state,
        "created_at": at - timedelta(seconds=waited + ran),
        "due_at": at - timedelta(seconds=waited + ran),
        "started_at": at - timedelta(seconds=ran),
        "finished_at": at,
    }
    database.write(lambda c: c.execute(update(task_records).where(columns.id == task_id).values(values)))


def all_counted(minutes: TaskMinutes) -> None:
    for _ in range(FIRST_MINUTES + 2):
        if not minutes.count_next():
            return
    raise AssertionError("it does not end")


def test_a_minute_is_counted_when_it_is_over_with_all_that_came_and_ended_in_it(database):
    minutes, this = TaskMinutes(database), this_minute(database)
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    expected, created = Counter(), Counter()
    for number in range(60):
        at = this - MINUTE * rng.randint(1, 5) + timedelta(seconds=rng.choice([0.0, 0.000001, 30, 59.999999]))
        state, queue = rng.choice(STATES), rng.choice(["email", "default"])
        ended(database, f"t{number}", at, state, queue)
        expected[at.replace(second=0, microsecond=0), queue, state] += 1
        created[(at - timedelta(seconds=3)).replace(second=0, microsecond=0), queue] += 1
    all_counted(minutes)
    rows = minutes.since(2)
    found, came = Counter(), Counter()
    for row in rows:
        for state, name in zip(STATES, ("succeeded", "failed", "cancelled"), strict=True):
            found[row["minute"], row["queue"], state] += row[name]
        came[row["minute"], row["queue"]] += row["created"]
        assert sum(row["runs"]) == sum(row["waits"]) == row["succeeded"] + row["failed"] + row["cancelled"]
    assert (+found, +came) == (expected, created), f"seed {seed}"
    assert {row["queue"] for row in rows} == {"email", "default"}
    first, last = minutes.counted(2)
    assert first <= min(row["minute"] for row in rows) < last < this


def test_a_minute_that_goes_on_is_not_counted_and_counting_again_changes_nothing(database):
    minutes = TaskMinutes(database)
    all_counted(minutes)
    before = database.read(lambda c: c.execute(select(task_minutes)).all())
    assert max(row.minute for row in before) < this_minute(database)
    assert not minutes.count_next()
    assert database.read(lambda c: c.execute(select(task_minutes)).all()) == before
    assert {row.queue for row in before} == {NOBODY}


def test_whoever_is_killed_while_counting_leaves_a_whole_minute_or_none(database):
    minutes, this = TaskMinutes(database), this_minute(database)
    ended(database, "a", this - MINUTE, "SUCCESS")
    ended(database, "b", this - MINUTE, "FAILURE", "default")

    def kill(_connection, _cursor, statement, *_):
        if "task_minutes" in statement and statement.startswith("INSERT"):
            raise Killed(statement)

    event.listen(Engine, "before_cursor_execute", kill)
    try:
        with pytest.raises(Killed):
            all_counted(minutes)
    finally:
        event.remove(Engine, "before_cursor_execute", kill)
    all_counted(minutes)
    rows = [row for row in minutes.since(1) if row["minute"] == this - MINUTE]
    assert {(row["queue"], row["succeeded"], row["failed"]) for row in rows} == {("email", 1, 0), ("default", 0, 1)}


def test_what_is_old_goes(database):
    old = {"minute": datetime(2020, 1, 1, tzinfo=UTC), "queue": "email", "created": 1, "succeeded": 1, "failed": 0}
    values = old | {"cancelled": 0, "waits": [], "runs": []}
    database.write(lambda c: c.execute(insert(task_minutes).values(values)))
    TaskMinutes(database).prune(30)
    assert database.read(lambda c: c.execute(select(task_minutes)).all()) == []
