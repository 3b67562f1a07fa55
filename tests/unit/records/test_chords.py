"""Groups and chords in the records: who is a member, how far all are, and which chord was forgotten."""

import pytest
from sqlalchemy import Engine, event, update

from records.chords import Chords, Part, chords
from records.columns import Now
from records.database import Database
from records.task_moves import Failure, TaskMoves
from records.task_records import Draft, TaskRecords, TaskState, columns, task_records
from records.workers import Workers

GROUP = "group-1"
BODY = {"task": "test.total", "options": {"task_id": "body"}}
IN_CHORD = {"embed": {"chord": BODY}}


class Members:
    """The members of one chord, and what may become of them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tasks, self.moves, self.chords = TaskRecords(database), TaskMoves(database), Chords(database)
        Workers(database).start("w1", "io@host", "host", 1, 0)

    def open(self, task_id: str, message: dict | None = None) -> None:
        """Open a record whose arguments look like a chord to who reads carelessly."""
        kept = {"argsrepr": '{"chord":{"', **(IN_CHORD if message is None else message)}
        self.tasks.open(Draft(task_id, "test.add", "test", "default", message=kept, group_id=GROUP))

    def succeed(self, *task_ids: str) -> None:
        for task_id in task_ids:
            run = self.moves.start(task_id, 0, "w1", "io@host", None).run
            assert self.moves.succeed(task_id, run, task_id)

    def returned(self, *task_ids: str) -> None:
        for task_id in task_ids:
            self.chords.part_returned(GROUP, 0, Part(task_id, "SUCCESS", task_id))

    def age(self, seconds: float = 60) -> None:
        def work(connection):
            connection.execute(update(chords).values(created_at=Now(-seconds)))
            ended = columns.finished_at.is_not(None)
            connection.execute(update(task_records).where(ended).values(finished_at=Now(-seconds)))

        self.database.write(work)

    def stuck(self) -> list[str]:
        return self.chords.stuck(30, 10)


@pytest.fixture
def members(database: Database) -> Members:
    found = Members(database)
    for task_id in ("a", "b", "c"):
        found.open(task_id)
    found.chords.set_size(GROUP, 3)
    return found


def test_the_body_of_a_chord_is_none_of_its_members_though_it_has_their_groups_id(members: Members):
    members.open("body", {})
    assert members.chords.body_figures(GROUP).known == 1
    figures = members.chords.figures(GROUP)
    assert (figures.size, figures.known) == (3, 3)
    assert members.chords.members(GROUP, 3, 10) == [(one, "test.add", "PENDING") for one in ("a", "b", "c")]
    assert members.chords.body(GROUP) == BODY
    assert len(members.chords.members(GROUP, 3, 2)) == 2


def test_all_of_a_group_without_a_chord_are_its_members(members: Members):
    members.chords.forget(GROUP)
    members.open("body", {})
    assert members.chords.figures(GROUP).known == 4
    assert members.chords.body("nothing") is None


def test_the_figures_of_a_group_are_sums_over_its_members(members: Members):
    members.succeed("a")
    members.moves.fail_waiting("b", Failure("no", "PermanentError"))
    run = members.moves.start("c", 0, "w1", "io@host", None).run
    members.database.write(
        lambda c: c.execute(update(task_records).where(columns.id == "c", columns.run == run).values(progress=50.0))
    )
    figures = members.chords.figures(GROUP)
    assert (figures.known, figures.done, figures.failed, figures.progress) == (3, 2, 1, 250.0)
    unknown = members.chords.figures("nothing")
    assert (unknown.size, unknown.known, unknown.progress) == (None, 0, 0.0)


@pytest.mark.parametrize("returned", [(), ("a",), ("a", "b", "c")])
def test_a_chord_is_stuck_when_all_members_ended_long_ago_and_its_body_was_not_published(members: Members, returned):
    members.succeed("a", "b", "c")
    members.returned(*returned)
    assert members.stuck() == [], "its own processes may be at it"
    members.age()
    assert members.stuck() == [GROUP]
    missing = {"a", "b", "c"} - set(returned) or {"a"}
    assert {record.id for record in members.chords.unreturned(GROUP, 10)} == missing
    members.chords.fired(GROUP)
    assert members.stuck() == []


def test_a_chord_is_not_stuck_while_a_member_goes_on(members: Members):
    members.succeed("a", "b")
    members.age()
    assert members.stuck() == []
    members.moves.start("c", 0, "w1", "io@host", None)
    assert members.stuck() == []


def test_a_chord_whose_header_is_not_whole_is_not_stuck(members: Members):
    members.succeed("a", "b", "c")
    members.chords.set_size(GROUP, 4)
    members.age()
    assert members.stuck() == [], "a member is missing: it was never published, or its first link failed"
    members.chords.set_size(GROUP, 3)
    members.chords.add(GROUP)
    members.age()
    assert members.stuck() == []
    members.returned("a", "b", "c", "d")
    assert members.stuck() == [GROUP]


def test_stuck_chords_are_told_page_by_page_the_newest_first_so_that_hopeless_ones_hide_none(members: Members):
    members.succeed("a", "b", "c")
    for number in range(3):
        group_id, task_id = f"late-{number}", f"of-late-{number}"
        members.tasks.open(Draft(task_id, "test.add", "test", "default", message=IN_CHORD, group_id=group_id))
        members.chords.set_size(group_id, 1)
        members.succeed(task_id)
    members.age()
    for seconds, group_id in ((50, "late-0"), (40, "late-2"), (45, "late-1")):
        aged = update(chords).where(chords.c.group_id == group_id).values(created_at=Now(-seconds))
        members.database.write(lambda c, aged=aged: c.execute(aged))
    assert members.chords.stuck(30, 2) == ["late-2", "late-1"]
    assert members.chords.stuck(30, 2, after="late-1") == ["late-0", GROUP]
    assert members.chords.stuck(30, 2, after=GROUP) == []
    assert members.chords.stuck(30, 10) == ["late-2", "late-1", "late-0", GROUP]


def test_a_members_failure_counts_as_its_end(members: Members):
    members.succeed("a", "b")
    members.moves.fail_waiting("c", Failure("no", "PermanentError"), TaskState.REVOKED)
    members.age()
    assert members.stuck() == [GROUP]


def test_a_chord_of_which_no_record_is_left_is_left_alone(members: Members):
    members.succeed("a", "b", "c")
    members.returned("a", "b", "c")
    members.age()
    assert members.moves.remove(["a", "b", "c"]) == 3
    assert members.stuck() == []


LOOKS = {
    "stuck": (lambda found: found.stuck(30, 10), ["ix_chords_fired_at", "ix_task_records_group_id"]),
    "more stuck": (lambda found: found.stuck(30, 10, after=GROUP), ["ix_chords_fired_at", "ix_task_records_group_id"]),
    "figures": (lambda found: found.figures(GROUP), ["ix_task_records_group_id"]),
    "body": (lambda found: found.body(GROUP), ["ix_task_records_group_id"]),
    "unreturned": (lambda found: found.unreturned(GROUP, 10), ["ix_task_records_group_id"]),
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("look", LOOKS)
def test_what_is_asked_of_chords_reads_no_more_than_it_finds(database: Database, look: str):
    said: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, *_):
        said.append((statement, parameters))

    ask, indexes = LOOKS[look]
    event.listen(Engine, "before_cursor_execute", note)
    try:
        ask(Chords(database))
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    steps = []
    with database.engine().connect() as connection:
        for statement, parameters in said:
            if statement.startswith("SELECT"):
                steps += [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert all(any(index in step for step in steps) for index in indexes)
    assert [step for step in steps if step.startswith("SCAN") and "CONSTANT" not in step] == []
