"""Pauses of parents: no part starts, none is lost, and all go on in their old distances."""

from datetime import timedelta

import pytest

from processors.interfaces import MemberEnd
from records.database import Database
from records.holds import Holds
from records.leadership import Lead, Leadership
from records.limited_starts import Held
from records.limits import Limits
from records.members import MemberRecords, insert_members
from records.parents import Parents
from records.task_moves import NO_LIMITS, Failure, Started, TaskMoves
from records.task_pauses import TaskPauses
from records.task_records import Draft, TaskRecords, TaskState

WAITED = "pause:task:bulk"


class Bulk:
    """A parent with three parts: one due now, two later."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tasks, self.moves, self.pauses = TaskRecords(database), TaskMoves(database), TaskPauses(database)
        parent = Draft("bulk", "test.bulk", "email", "email", is_parent=True, members_total=3)
        parts = [
            Draft(f"p{at}", "test.part", "email", "email", parent_id="bulk", delay=100.0 * at, relay_now=True)
            for at in range(3)
        ]
        Parents(database).open(parent, [{}, {}, {}], parts)

    def start(self, task_id: str = "p0", attempt: int = 0):
        return self.moves.start(task_id, attempt, "w", "w", None)


@pytest.fixture
def bulk(database: Database) -> Bulk:
    return Bulk(database)


def test_a_part_of_a_paused_parent_is_held_and_starts_after_it(bulk):
    assert bulk.pauses.pause("bulk")
    assert not bulk.pauses.pause("bulk")
    assert bulk.pauses.paused("bulk")
    assert bulk.start() == Held(WAITED)
    assert bulk.tasks.read("p0").held

    assert bulk.pauses.resume("bulk")
    assert not bulk.pauses.resume("bulk")
    assert not bulk.pauses.paused("bulk")
    assert [one.id for one in bulk.moves.claim(10)] == ["p0"], "the relay publishes it, and not those to come"
    assert isinstance(bulk.start(), Started)


def test_parts_to_come_are_as_much_later_as_the_pause_was_long_and_the_one_that_waited_comes_at_once(bulk):
    before = {name: bulk.tasks.read(name).due_at for name in ("p0", "p1", "p2")}
    bulk.pauses.pause("bulk")
    bulk.start()
    bulk.pauses.resume("bulk")
    pause = bulk.pauses.last("bulk")
    length = pause.resumed_at - pause.paused_at
    for name in ("p1", "p2"):
        assert abs(bulk.tasks.read(name).due_at - before[name] - length) < timedelta(milliseconds=2)
    assert bulk.tasks.read("p0").due_at == pause.resumed_at


def test_a_part_that_runs_is_not_touched_by_a_pause_and_its_next_try_waits(bulk):
    started = bulk.start()
    bulk.pauses.pause("bulk")
    assert bulk.moves.try_again("p0", started.run, 0.0, Failure("paused", "Postponed"), counted=False)
    assert bulk.start() == Held(WAITED)
    bulk.pauses.resume("bulk")
    assert isinstance(bulk.start(), Started)


def test_a_part_that_was_put_off_keeps_its_time_over_a_pause(bulk):
    started = bulk.start()
    bulk.moves.try_again("p0", started.run, 3000.0, Failure("later", "Postponed"), counted=False)
    due = bulk.tasks.read("p0").due_at
    bulk.pauses.pause("bulk")
    bulk.pauses.resume("bulk")
    assert bulk.tasks.read("p0").due_at == due


def test_other_tasks_start_while_a_parent_is_paused(bulk):
    bulk.pauses.pause("bulk")
    bulk.tasks.open(Draft("alone", "test.part", "email", "email"))
    bulk.tasks.open(Draft("other", "test.part", "email", "email", parent_id="another"))
    assert isinstance(bulk.start("alone"), Started)
    assert isinstance(bulk.start("other"), Started)


def test_a_part_that_its_queue_holds_waits_for_the_parent_too(bulk):
    limits = Limits(bulk.database, NO_LIMITS)
    limits.pause("email")
    assert bulk.start() == Held("pause:email")
    bulk.pauses.pause("bulk")
    bulk.pauses.resume("bulk")
    assert bulk.tasks.read("p0").held, "the queue is paused still"


def test_the_leader_lets_nothing_of_a_paused_parent_go(bulk):
    bulk.pauses.pause("bulk")
    bulk.start()
    holds = Holds(bulk.database, NO_LIMITS, 100)
    lead = Lead("me", Leadership(bulk.database).take("me", "here", 1) or 0)
    assert holds.let_go(lead).count == 0
    assert bulk.tasks.read("p0").held


def test_a_part_that_was_held_in_the_moment_of_the_resume_is_let_go_by_the_leader(bulk):
    bulk.pauses.pause("bulk")
    bulk.start()
    # The start decided before the resume and wrote after it.
    bulk.database.write(lambda c: c.exec_driver_sql("UPDATE task_pauses SET resumed_at = paused_at"))
    lead = Lead("me", Leadership(bulk.database).take("me", "here", 1) or 0)
    assert Holds(bulk.database, NO_LIMITS, 100).let_go(lead).count == 1
    assert isinstance(bulk.start(), Started)


def test_a_pause_goes_with_its_parents_record(bulk):
    bulk.pauses.pause("bulk", "because")
    assert bulk.pauses.last("bulk").why == "because"
    bulk.moves.revoke("bulk")
    bulk.moves.remove(["bulk"])
    assert bulk.pauses.last("bulk") is None
    assert bulk.tasks.read("p1").state is TaskState.REVOKED


def test_the_last_that_ended_come_first_and_only_those_after_a_moment(database):
    rows = MemberRecords(database)
    database.write(lambda c: insert_members(c, "bulk", [{}] * 5))
    for at, state in enumerate(["sent", "refused", "sent", "unknown"]):
        rows.close_all("bulk", [MemberEnd(at, state, None)])
    assert sorted(rows.last_states("bulk", 10, None)) == ["refused", "sent", "sent", "unknown"]
    assert len(rows.last_states("bulk", 2, None)) == 2
    assert rows.pace("bulk", "sent", 60.0) == 2.0
    assert rows.pace("bulk", "deferred", 60.0) == 0.0
    assert rows.left("bulk") == [(4, None)]
