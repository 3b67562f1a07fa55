"""A worker's death is kept as evidence with the run that it ended."""

import pytest
from sqlalchemy import update

from records.columns import Now
from records.database import Database
from records.incidents import Death, Incidents
from records.leadership import Lead, Leadership
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords, columns, task_records
from records.workers import Workers, workers


@pytest.fixture
def tasks(database: Database) -> TaskRecords:
    return TaskRecords(database)


@pytest.fixture
def moves(database: Database) -> TaskMoves:
    return TaskMoves(database)


def start(database: Database, worker_id: str, pid: int = 11, memory_mb: int | None = None) -> None:
    """Let a run of the task begin in a worker of its own."""
    Workers(database).start(worker_id, "io@here", "here", pid, 10, memory_mb)
    assert TaskMoves(database).start("t", 0, worker_id, "io@here", 60)


def die(database: Database, worker_id: str) -> None:
    """Let a worker fall silent, and be found dead."""
    silent = update(workers).where(workers.c.id == worker_id).values(seen_at=Now(-60))
    late = update(task_records).where(columns.worker_id == worker_id).values(deadline_at=Now(60))
    database.write(lambda c: (c.execute(silent), c.execute(late)))
    lead = Lead("leader", Leadership(database).take("leader", "here", 1))
    assert Workers(database).bury(lead) == [worker_id]


def the_incidents(database: Database):
    return Incidents(database).of(["t"])["t"]


def test_a_run_whose_worker_died_leaves_who_it_was_and_how_it_ended(database, tasks, moves):
    tasks.open(Draft("t", "x", "x", "default"))
    start(database, "w1", memory_mb=20)
    Workers(database).renew("w1", 312)
    Workers(database).note_exit("io@here", "here", 10, 11, -9)
    die(database, "w1")

    assert moves.reap() == (["t"], [])

    [incident] = the_incidents(database)
    assert (incident.run, incident.why, incident.worker, incident.worker_id) == (1, "died", "io@here", "w1")
    assert (incident.host, incident.pid, incident.exit_code, incident.signal) == ("here", 11, None, "SIGKILL")
    assert incident.memory_mb == 312
    assert incident.at.tzinfo is not None


def test_a_worker_that_fell_silent_unseen_is_lost_and_one_that_left_by_itself_tells_its_exit_code(
    database, tasks, moves
):
    tasks.open(Draft("t", "x", "x", "default"))
    start(database, "w1", pid=11)
    die(database, "w1")
    moves.reap()
    start(database, "w2", pid=12)
    Workers(database).note_exit("io@here", "here", 10, 12, 3)
    die(database, "w2")
    moves.reap()

    assert [(one.run, one.why, one.exit_code, one.signal) for one in the_incidents(database)] == [
        (1, "lost", None, None),
        (2, "died", 3, None),
    ]


def test_quarantine_names_the_last_worker_its_signal_and_its_memory(database, tasks, moves):
    tasks.open(Draft("t", "x", "x", "default"))
    for number in range(3):
        start(database, f"w{number}", pid=number + 1, memory_mb=100 + number)
        Workers(database).note_exit("io@here", "here", 10, number + 1, -9)
        die(database, f"w{number}")
        moves.reap()

    record = tasks.read("t")
    assert record.error_type == "Quarantined"
    assert (
        "at last io@here (process 3 on here) was killed by SIGKILL; it had held up to 102 MB of memory." in record.error
    )
    assert [one.run for one in the_incidents(database)] == [1, 2, 3]


def test_a_goodbye_is_no_incident_and_a_time_limit_is_one(database, tasks, moves):
    tasks.open(Draft("t", "x", "x", "default"))
    start(database, "w1")
    Workers(database).stop("w1")
    moves.reap()
    assert the_incidents(database) == []

    start(database, "w2")
    overdue = update(task_records).where(columns.id == "t").values(deadline_at=Now(-60))
    database.write(lambda c: c.execute(overdue))
    Workers(database).stop("w2")
    assert moves.reap() == ([], ["t"])

    assert [(one.run, one.why) for one in the_incidents(database)] == [(2, "time_limit")]


def test_how_a_process_ended_is_noted_once_and_not_of_one_that_said_goodbye(database):
    rows = Workers(database)
    for pid, worker_id in ((1, "w1"), (2, "w2"), (3, "w3")):
        rows.start(worker_id, "io@here", "here", pid, 10)
    rows.stop("w2")

    for pid in (1, 2):
        rows.note_exit("io@here", "here", 10, pid, -9)
    rows.note_exit("io@here", "here", 10, 1, 0)
    rows.note_exit("io@here", "elsewhere", 10, 1, 0)
    rows.note_exit("heavy@here", "here", 10, 3, 0)

    with database.engine().connect() as connection:
        seen = dict(connection.execute(workers.select().with_only_columns(workers.c.id, workers.c.exit_code)).all())
    assert seen == {"w1": -9, "w2": None, "w3": None}


def test_incidents_go_with_their_record_and_stay_with_others(database, tasks, moves):
    tasks.open(Draft("t", "x", "x", "default"))
    start(database, "w1")
    die(database, "w1")
    moves.reap()
    assert moves.remove(["t"]) == 0
    assert len(the_incidents(database)) == 1

    moves.revoke("t")
    assert moves.remove(["t"]) == 1
    assert the_incidents(database) == []


@pytest.mark.parametrize(
    ("exit_code", "told"),
    [
        (-11, "was killed by SIGSEGV"),
        (-200, "was killed by signal 200"),
        (0, "ended with exit code 0"),
        (None, "fell silent, so that nobody knows how it ended"),
    ],
)
def test_a_death_is_told_in_words(exit_code, told):
    death = Death("died", None, None, None, None, exit_code, None)

    assert death.told() == f"a worker (process ? on ?) {told}"


@pytest.mark.parametrize("goodbye", [False, True])
def test_what_ends_a_process_shortly_before_the_hard_limit_is_not_taken_for_the_limit(database, tasks, moves, goodbye):
    tasks.open(Draft("t", "x", "x", "default"))
    Workers(database).start("w1", "io@here", "here", 11, 10)
    assert moves.start("t", 0, "w1", "io@here", 2)
    if goodbye:
        Workers(database).stop("w1")
    else:
        ended = update(workers).values(stopped_at=Now(), lost=True, exit_code=-9)
        database.write(lambda c: c.execute(ended))

    assert moves.reap() == (["t"], [])
    assert [one.why for one in Incidents(database).of(["t"]).get("t", [])] == ([] if goodbye else ["died"])
