"""Failures that are alike are one group, with how many they are and what the newest says."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from records import failure_groups
from records.task_moves import Failure, TaskMoves
from records.task_records import Draft, TaskRecords, columns, task_records


@pytest.fixture
def fail(database):
    """Make a task fail, some hours ago."""
    tasks, moves = TaskRecords(database), TaskMoves(database)

    def make(task_id: str, name: str, error: str, kind: str = "E", fingerprint: str | None = "f", hours=0.0, **more):
        tasks.open(Draft(task_id, name, "email", "email"))
        run = moves.start(task_id, 0, f"of-{task_id}"[:36], "w@h", None).run
        assert moves.fail(task_id, run, Failure(error, kind, None, fingerprint))
        values = {"finished_at": datetime.now(UTC) - timedelta(hours=hours)} | more
        database.write(
            lambda c: c.execute(update(task_records).where(columns.id == task_id).values(**values)), durable=False
        )

    return make


def test_the_same_task_with_the_same_error_is_a_group(database, fail):
    mine = "of.groups"
    fail("fg-1", mine, "no 1", hours=3)
    fail("fg-2", mine, "no 2", hours=2, retried_as="fg-x")
    fail("fg-3", mine, "no 3", hours=1)
    fail("fg-4", mine, "else", fingerprint="g")
    fail("fg-5", mine, "type", kind="F")
    fail("fg-6", mine, "none", fingerprint=None)
    fail("fg-7", f"{mine}.other", "no 1")
    fail("fg-8", mine, "old", hours=30)
    TaskRecords(database).open(Draft("fg-9", mine, "email", "email"))
    found, partial = failure_groups.failure_groups(database, 24, 100)
    told = [one for one in found if one.name.startswith(mine)]
    first = told[0]
    assert (first.count, first.open, first.task_id, first.error) == (3, 2, "fg-3", "no 3")
    assert first.last_at - first.first_at == pytest.approx(timedelta(hours=2), abs=timedelta(seconds=10))
    assert {(one.name, one.error_type, one.fingerprint, one.count) for one in told[1:]} == {
        (mine, "E", "g", 1),
        (mine, "F", "f", 1),
        (mine, "E", None, 1),
        (f"{mine}.other", "E", "f", 1),
    }
    assert not partial


def test_of_very_many_failures_the_newest_are_looked_at(database, fail, monkeypatch):
    monkeypatch.setattr(failure_groups, "MOST", 2)
    for number in range(3):
        fail(f"fm-{number}", "of.many", "x", hours=-1 - number)  # newer than what other tests made
    (group,), partial = failure_groups.failure_groups(database, 24, 100)
    assert (group.name, group.count, partial) == ("of.many", 2, True)
    monkeypatch.setattr(failure_groups, "MOST", 1_000)
    assert len(failure_groups.failure_groups(database, 24, 1)[0]) == 1
