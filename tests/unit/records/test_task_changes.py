"""What changed lately is found by indexes, whole and filtered, and what waits in a queue is counted as it is purged."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine, case, event, update

from records.columns import Now
from records.database import Database
from records.task_changes import TaskChanges, WantedChanges
from records.task_moves import Failure, TaskMoves
from records.task_records import Draft, TaskRecords, columns, task_records
from records.workers import Workers

EVERYTHING = WantedChanges()


class Life:
    """Tasks in a database, and what is told of them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tasks, self.moves, self.changes = TaskRecords(database), TaskMoves(database), TaskChanges(database)
        Workers(database).start("w", "io@here", "here", 1, 0)

    def open(self, task_id: str, **more) -> str:
        self.tasks.open(Draft(task_id, **({"name": "email.send_email", "category": "email", "queue": "email"} | more)))
        return task_id

    def start(self, task_id: str) -> int:
        started = self.moves.start(task_id, 0, "w", "io@here", 60)
        assert started is not None
        return started.run

    def grow_old(self) -> None:
        """Let all that was written be an hour old."""
        moments = (columns.created_at, columns.started_at, columns.finished_at)
        values = {one: case((one.is_not(None), Now(-3_600))) for one in moments}
        self.database.write(lambda c: c.execute(update(task_records).values(values)))

    def found(self, wanted: WantedChanges = EVERYTHING, seconds: float = 60) -> dict[str, str]:
        _, rows, _ = self.changes.since(self.changes.now() - timedelta(seconds=seconds), wanted, 100)
        return {row.id: row.state for row in rows}


@pytest.fixture
def life(database: Database) -> Life:
    return Life(database)


def test_what_was_submitted_ended_runs_or_failed_for_now_is_found_and_nothing_older(life):
    old, ended, runs, again = (life.open(name) for name in ("old", "ended", "runs", "again"))
    life.grow_old()
    assert life.found() == {}
    assert life.moves.revoke(ended)
    life.start(runs)
    run = life.start(again)
    assert life.moves.try_again(again, run, 60, Failure("not yet", "ValueError"))
    new = life.open("new")
    assert life.found() == {ended: "REVOKED", runs: "STARTED", again: "RETRY", new: "PENDING"}
    life.grow_old()
    assert life.found() == {runs: "STARTED"}, "it still runs, which may be news at any moment"
    assert life.found(seconds=4_000)[old] == "PENDING"


def test_changes_are_filtered_by_everything_at_once(life):
    life.open("mail")
    life.open("file", name="files.a", category="file_processing", queue="file_processing")
    life.open("gone", name="files.a", category="file_processing", queue="low_priority")
    life.moves.revoke("gone")
    assert life.found(WantedChanges(category="file_processing")).keys() == {"file", "gone"}
    assert life.found(WantedChanges(name="files.a", queue="low_priority")).keys() == {"gone"}
    assert life.found(WantedChanges(states=("PENDING", "STARTED"))).keys() == {"mail", "file"}
    assert life.found(WantedChanges(("REVOKED",), "email")) == {}
    assert life.found(WantedChanges(name="' OR 1=1 --")) == {}


def test_more_than_are_wanted_at_once_is_told(life):
    for number in range(5):
        life.open(f"t{number}")
    _, rows, more = life.changes.since(life.changes.now() - timedelta(seconds=60), EVERYTHING, 3)
    assert ([row.id for row in rows], more) == (["t2", "t3", "t4"], True)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("wanted", [EVERYTHING, WantedChanges(("SUCCESS",), "email", "email.send_email", "email")])
def test_no_look_reads_all_records(life, wanted):
    said, here = [], threading.get_ident()

    def note(_connection, _cursor, statement, parameters, *_):
        if threading.get_ident() == here:  # another test's threads may ask as well
            said.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        life.found(wanted)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    with life.database.engine().connect() as connection:
        plans = [
            " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all())
            for text, values in said
            if "task_records" in text
        ]
    places = ("created_at", "finished_at", "state", "state")
    assert len(plans) == len(places)
    for plan, place in zip(plans, places, strict=True):
        assert f"SEARCH task_records USING INDEX ix_task_records_{place}" in plan, plan


def test_as_many_are_counted_as_are_cancelled(life):
    for number in range(3):
        life.open(f"waits{number}")
    life.open("later", delay=3_600)
    life.open("elsewhere", queue="low_priority")
    life.start(life.open("runs"))
    run = life.start(life.open("again"))
    assert life.moves.try_again("again", run, 3_600, Failure("not yet", "ValueError"))
    count = life.moves.count_waiting("email")
    assert sorted(life.moves.revoke_waiting("email")) == ["again", "waits0", "waits1", "waits2"]
    assert (count, life.moves.count_waiting("email")) == (4, 0)


def test_the_newest_of_a_name_that_run_are_told_first(life):
    for number in range(3):
        life.open(f"p{number}", name="test.parent", is_parent=True, members_total=1)
    life.open("waits", name="test.parent")
    life.moves.revoke("p1")
    assert [record.id for record in life.tasks.going_on("test.parent", 10)] == ["p2", "p0"]
    assert [record.id for record in life.tasks.going_on("test.parent", 1)] == ["p2"]
