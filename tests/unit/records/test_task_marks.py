"""Marks differ whenever a status does, of tasks, of parents, and of a campaign's members that have no record."""

import pytest
from sqlalchemy import event

from call_rows import Phones
from processors.interfaces import MemberEnd
from records.database import Database
from records.members import MemberRecords
from records.parents import Parents
from records.task_marks import FEW_PARTS, TaskMarks
from records.task_moves import Failure
from records.task_records import Draft
from waiting import until

NUMBERS = [f"+1555777{at:04}" for at in range(1000, 1003)]


class Looks:
    """Looks at marks, and tells whether they differ from the last look."""

    def __init__(self, database: Database, *task_ids: str) -> None:
        self.marks, self.task_ids = TaskMarks(database), task_ids
        self.last = self.marks.of(task_ids)

    def changed(self) -> set[str]:
        before, self.last = self.last, self.marks.of(self.task_ids)
        return {one for one in self.task_ids if before.get(one) != self.last.get(one)}


@pytest.fixture
def phones(emptied_database: Database) -> Phones:
    return Phones(emptied_database)


def parent(database: Database, count: int) -> None:
    """Open a parent of so many members, and two parts."""
    parts = [Draft(f"part{at}", "test.part", "email", "email", parent_id="parent") for at in range(2)]
    draft = Draft("parent", "test.bulk", "email", "email", is_parent=True, members_total=count)
    Parents(database).open(draft, [{}] * count, parts)


def test_each_move_of_a_task_changes_its_mark_and_no_other(phones):
    for task_id in ("one", "other"):
        phones.tasks.open(Draft(task_id, "test.task", "email", "email"))
    looks = Looks(phones.database, "one", "other", "never-was")
    assert set(looks.last) == {"one", "other"}
    run = phones.moves.start("one", 0, "w", "w", None).run
    assert looks.changed() == {"one"}
    phones.moves.report("one", run, 50, "half")
    until(lambda: looks.changed() == {"one"}, what="the report is written")
    phones.moves.fail("one", run, Failure("It broke.", "ValueError"))
    assert looks.changed() == {"one"}
    assert looks.changed() == set()


@pytest.mark.parametrize("count", [2, FEW_PARTS + 1])
def test_a_parent_is_marked_anew_when_a_member_ends_and_when_it_is_paused(phones, count):
    parent(phones.database, count)
    looks = Looks(phones.database, "parent")
    MemberRecords(phones.database).close_all("parent", [MemberEnd(0, "sent", {})])
    assert looks.changed() == {"parent"}
    phones.pauses.pause("parent")
    assert looks.changed() == {"parent"}
    phones.pauses.resume("parent")
    assert looks.changed() == {"parent"}
    assert looks.changed() == set()


def test_a_parent_of_few_parts_is_marked_anew_when_one_of_them_moves(phones):
    parent(phones.database, FEW_PARTS)
    looks = Looks(phones.database, "parent")
    phones.moves.start("part1", 0, "w", "w", None)
    assert looks.changed() == {"parent"}


def test_what_becomes_of_a_campaigns_member_marks_it_and_its_campaign(phones):
    first, second, third = phones.campaign("campaign", NUMBERS)
    looks = Looks(
        phones.database, "campaign", first, second, third, "campaign:3", "campaign:01", "campaign:x", ":", "a:b"
    )
    assert set(looks.last) == {"campaign", first, second, third}
    attempt_id = phones.placed(first, "CA0")
    assert looks.changed() == {"campaign", first}
    phones.tell(attempt_id, "CA0", "in-progress")
    assert looks.changed() == {first}
    phones.tell(attempt_id, "CA0", "completed", duration_seconds=42)
    assert looks.changed() == {"campaign", first}
    assert looks.changed() == set()


def test_the_mark_of_a_large_bulk_reads_none_of_its_members_but_the_last(phones):
    if phones.database.kind != "sqlite":
        pytest.skip("the plan of a small table on PostgreSQL is a scan")
    said = []
    event.listen(phones.database.engine(), "before_cursor_execute", lambda *given: said.append(given[2:4]))
    TaskMarks(phones.database).of(["parent"])
    [(statement, values)] = [one for one in said if "members" in one[0]]
    plan = phones.database.read(lambda c: c.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all())
    steps = [step[3] for step in plan]
    assert "SEARCH members USING COVERING INDEX ix_members_task_id (task_id=?)" in steps
    assert "SEARCH call_attempts USING COVERING INDEX ix_call_attempts_campaign_id (campaign_id=?)" in steps
    assert not [step for step in steps if step.startswith("SCAN") and "CONSTANT ROW" not in step]
