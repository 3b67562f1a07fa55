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
    """The minute that goes on; the one before it may not be settled yet."""
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
        at = this - MINUTE * rng.randint(2, 6) + timedelta(seconds=rng.choice([0.0, 0.000001, 30, 59.999999]))
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
    assert first <= min(row["minute"] for row in rows) < last < this_minute(database)


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
    ended(database, "a", this - MINUTE * 2, "SUCCESS")
    ended(database, "b", this - MINUTE * 2, "FAILURE", "default")

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
    rows = [row for row in minutes.since(1) if row["minute"] == this - MINUTE * 2]
    assert {(row["queue"], row["succeeded"], row["failed"]) for row in rows} == {("email", 1, 0), ("default", 0, 1)}


def waiting(database, task_id: str, queue: str, seconds: float) -> None:
    """Record a task that has waited for so long."""
    TaskRecords(database).open(Draft(task_id, "email.send_email", "email", queue))
    due = update(task_records).where(columns.id == task_id).values(due_at=Now(-seconds))
    database.write(lambda c: c.execute(due))


def test_what_waited_as_a_minute_began_is_counted_with_it_by_queue_and_in_all(database, monkeypatch):
    minutes, this = TaskMinutes(database), this_minute(database)
    waiting(database, "a", "email", 40)
    waiting(database, "b", "email", 10)
    waiting(database, "c", "default", 90)
    ended(database, "d", this, "SUCCESS", "low_priority")
    minutes.look()
    waiting(database, "late", "email", 500)
    minutes.look()  # in the same minute: it has been looked at
    monkeypatch.setattr("records.task_minutes.settled_until", lambda _: this + MINUTE * 3)
    all_counted(minutes)
    looked = minutes.looks(1)[0]
    assert (looked["depth"], looked["oldest_age_seconds"]) == (3, pytest.approx(95, abs=5))
    found = {
        row["queue"]: (row["depth"], row["oldest_age_seconds"])
        for row in minutes.since(1)
        if row["minute"] == looked["minute"]
    }
    assert found.pop("email") == (2, pytest.approx(45, abs=5))
    assert found.pop("default") == (1, pytest.approx(95, abs=5))
    assert all(one == (0, None) for one in found.values())


def test_of_a_minute_in_which_nobody_looked_it_is_not_known_what_waited(database):
    minutes, this = TaskMinutes(database), this_minute(database)
    ended(database, "a", this - MINUTE * 2, "SUCCESS")
    waiting(database, "b", "email", 600)
    all_counted(minutes)
    assert {(row["depth"], row["oldest_age_seconds"]) for row in minutes.since(1)} == {(None, None)}
    assert minutes.looks(1) == []


def test_minutes_that_were_counted_ahead_of_the_clock_are_counted_when_they_are_over(database, monkeypatch):
    minutes, this = TaskMinutes(database), this_minute(database)
    for ahead in (30, 0, 1, 11):  # it was wrong, is set back, and goes on
        if ahead == 1:
            ended(database, "a", this + MINUTE, "SUCCESS")
            ended(database, "b", this + MINUTE * 10, "SUCCESS")
        monkeypatch.setattr("records.task_minutes.settled_until", lambda _, at=this + MINUTE * ahead: at)
        all_counted(minutes)
    found = [row["minute"] for row in minutes.since(1) if row["succeeded"]]
    assert found == [this + MINUTE, this + MINUTE * 10]
    assert minutes.counted(1)[1] == this + MINUTE * 10


def test_what_was_looked_at_ahead_of_the_clock_is_forgotten(database, monkeypatch):
    minutes, this = TaskMinutes(database), this_minute(database)
    waiting(database, "a", "email", 40)
    for turn, ahead in enumerate((10, 0, 10)):
        monkeypatch.setattr("records.task_minutes._now", lambda _, at=this + MINUTE * ahead: at)
        minutes._look_at = 0.0
        minutes.look()
        waiting(database, f"b{turn}", "email", 10)
    monkeypatch.setattr("records.task_minutes.settled_until", lambda _: this + MINUTE * 11)
    all_counted(minutes)
    assert [(row["minute"], row["depth"]) for row in minutes.looks(1)] == [(this, 2), (this + MINUTE * 10, 3)]


def test_an_idle_service_knows_that_nothing_waited(database, monkeypatch):
    minutes, this = TaskMinutes(database), this_minute(database)
    minutes.look()
    monkeypatch.setattr("records.task_minutes.settled_until", lambda _: this + MINUTE * 3)
    all_counted(minutes)
    assert [(row["depth"], row["oldest_age_seconds"]) for row in minutes.looks(1)] == [(0, None)]
    assert minutes.since(1) == []


def test_what_waited_is_read_without_reading_what_is_older(database):
    said = []

    def note(_connection, _cursor, statement, parameters, *_):
        said.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        TaskMinutes(database).looks(1)
        TaskMinutes(database).look()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    with database.engine().connect() as connection:
        if database.is_sqlite:
            explained = [(f"EXPLAIN QUERY PLAN {statement}", values) for statement, values in said]
            steps = [row[3] for given in explained for row in connection.exec_driver_sql(*given)]
        else:
            connection.exec_driver_sql("SET enable_seqscan = off")
            explained = [(f"EXPLAIN {statement}", values) for statement, values in said if "FROM" in statement]
            steps = [step for given in explained for step in connection.exec_driver_sql(*given).scalars()]
        connection.rollback()
    read = [step for step in steps if "task_" in step]
    assert len(read) >= 2
    assert [step for step in read if step.startswith("SCAN") or "Seq Scan" in step] == []


def test_what_is_old_goes(database):
    old = {"minute": datetime(2020, 1, 1, tzinfo=UTC), "queue": "email", "created": 1, "succeeded": 1, "failed": 0}
    values = old | {"cancelled": 0, "waits": [], "runs": []}
    database.write(lambda c: c.execute(insert(task_minutes).values(values)))
    TaskMinutes(database).prune(30)
    assert database.read(lambda c: c.execute(select(task_minutes)).all()) == []
