"""One statement for many rows does what one statement for each would do."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import DataError

from records import task_moves, workers
from records.limited_starts import HOLD
from records.prepared import ROWS_AT_ONCE, _encode, statements
from records.task_moves import FAIL, GIVE_BACK, PUBLISHED, REPORT, START, SUCCEED, TRY_AGAIN, Failure, TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers

VALUES = {
    "of_attempt": 0,
    "of_run": 0,
    "of_holds": 0,
    "granted_at": datetime(2026, 1, 1, tzinfo=UTC),
    "limit_keys": None,
    "scope": "queue:default",
    "turn": 1,
    "worker_id": "w1",
    "worker": "w",
    "time_limit": 60,
    "result": None,
    "delay": 1.0,
    "counted": 1,
    "percent": 1.0,
    "partial": "p",
    "text": "t",
    "error": "e",
    "error_type": "E",
    "error_fingerprint": None,
    "traceback": None,
}
MOVES = {
    "start": START,
    "start limited": task_moves.START_LIMITED,
    "hold": HOLD,
    "succeed": SUCCEED,
    "fail": FAIL,
    "try again": TRY_AGAIN,
    "give back": GIVE_BACK,
    "report": REPORT,
    "published": PUBLISHED,
    "followed": task_moves.FOLLOWED,
}


@pytest.fixture
def records(database):
    Workers(database).start("w1", "io@host", "host", 1, 0)
    return TaskRecords(database)


def draft(task_id: str, **more) -> Draft:
    return Draft(task_id, "x", "x", "default", **more)


def bound(database, prepared, **values):
    found = prepared(**VALUES | values)
    found.bind(database.engine().dialect)
    return found


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("ids", [["a"], ["a", "b"]], ids=["one", "many"])
def test_a_move_finds_its_records_by_their_ids_and_never_by_their_state(database, move, ids):
    [statement] = statements([bound(database, MOVES[move], task_id=one) for one in ids])

    with database.engine().connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.text}", statement.parameters).all()

    steps = [row[3] for row in plan if "task_records" in row[3]]
    assert steps
    assert all("(id=?)" in step for step in steps), json.dumps(steps)


LOOKS = {
    "claim": (lambda moves: moves.claim(10), "ix_task_records_relay_at"),
    "unfollowed": (lambda moves: moves.unfollowed(10), "ix_task_records_relay_at"),
    "expire": (lambda moves: moves.expire(), "ix_task_records_expires_at"),
    "final_before": (lambda moves: moves.final_before(1, 10), "ix_task_records_finished_at"),
    "relay_again": (lambda moves: moves.relay_again(["a", "b"]), "sqlite_autoindex_task_records_1"),
    "unstarted": (lambda moves: list(moves.unstarted(0, 10)), "ix_task_records_state"),
    "runs_of": (lambda moves: moves.runs_of("w1"), "ix_task_records_state"),
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("look", LOOKS)
def test_what_is_asked_every_second_reads_no_more_than_it_finds(database, look):
    said: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, *_):
        said.append((statement, parameters))

    ask, index = LOOKS[look]
    TaskRecords(database).open(draft("due", relay_now=True))
    event.listen(Engine, "before_cursor_execute", note)
    try:
        ask(TaskMoves(database))
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    steps = []
    with database.engine().connect() as connection:
        for statement, parameters in said:
            if statement.startswith(("SELECT", "UPDATE", "WITH")):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                steps += [row[3] for row in plan if "task_records" in row[3]]
    assert any(index in step for step in steps)
    assert [step for step in steps if step.startswith("SCAN")] == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("look", "condition"), [("claim", "(relay_at <="), ("unfollowed", "(relay_at <="), ("expire", "(expires_at <=")]
)
def test_postgresql_searches_an_index_for_what_is_due_and_does_not_look_at_all_that_waits(database, look, condition):
    said: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, *_):
        said.append((statement, parameters))

    TaskRecords(database).open(draft("due", relay_now=True))
    event.listen(Engine, "before_cursor_execute", note)
    try:
        LOOKS[look][0](TaskMoves(database))
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    plans = []
    with database.engine().connect() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in said:
            if statement.startswith(("SELECT", "UPDATE", "WITH")):
                plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars().all()
                plans += [step for step in plan if "Index Cond" in step]
        connection.rollback()
    assert [step for step in plans if condition in step], plans


def test_looking_for_what_has_not_started_goes_page_by_page(database, records):
    records.open_many(records.opening([draft(f"t{number:02}") for number in range(25)]))
    moves = TaskMoves(database)
    moves.published([(f"t{number:02}", 0, 0) for number in range(25)], wait=True)
    moves.start("t07", 0, "w1", "io@host", 60)

    pages = list(moves.unstarted(0, 10))

    assert [len(page) for page in pages] == [10, 10, 4]
    assert sorted(task_id for page in pages for task_id, _ in page) == sorted({f"t{n:02}" for n in range(25)} - {"t07"})


def test_callers_of_one_statement_get_each_its_own_rows(database, records):
    records.open_many(records.opening([draft(one) for one in "abc"]))
    starts = [bound(database, START, task_id=one) for one in ("a", "nobody", "c")]
    [statement] = statements(starts)

    with database.engine().begin() as connection:
        rows = [tuple(row) for row in connection.exec_driver_sql(statement.text, statement.parameters).all()]

    assert [[row[0] for row in share] for share in statement.share(rows)] == [["a"], [], ["c"]]
    assert [records.read(one).state for one in "abc"] == ["STARTED", "PENDING", "STARTED"]


def test_equal_keys_never_meet_in_one_statement(database):
    starts = [bound(database, START, task_id=one) for one in ("a", "b", "a", "c")]

    made = list(statements(starts))

    assert [[one.keys for one in statement.bounds] for statement in made] == [[["a"], ["b"]], [["a"], ["c"]]]


def test_a_statement_takes_so_many_rows_at_most(database):
    many = PUBLISHED.many(
        {"task_id": str(n), "of_attempt": 0, "of_run": 0, "of_holds": 0} for n in range(2 * ROWS_AT_ONCE + 1)
    )
    many.bind(database.engine().dialect)

    assert len(list(statements([many]))) == 3


def test_what_is_too_large_for_one_statement_is_seen_before_all_of_it_is_written(database, records, monkeypatch):
    """The text of all rows of a bulk may need as much memory as the bulk itself."""
    written = list[int]()
    monkeypatch.setattr("records.prepared.BYTES_AT_ONCE", 40_000)
    monkeypatch.setattr("records.prepared._encode", lambda rows: written.append(len(rows)) or _encode(rows))
    records.open_many(records.opening([draft(f"t{number}", kwargs={"n": [number] * 20}) for number in range(3_000)]))

    assert max(written) <= ROWS_AT_ONCE
    assert {record.id: record.kwargs["n"][-1] for record in records.active(5_000)} == {
        f"t{number}": number for number in range(3_000)
    }


@pytest.mark.parametrize("count", [1, 2])
def test_a_text_that_is_too_long_is_refused_and_never_cut_off(database, records, count):
    drafts = [replace(draft(f"t{number}"), queue="x" * 300) for number in range(count)]

    if database.is_sqlite:  # it has no limits of length
        records.open_many(records.opening(drafts))
        assert records.read("t0").queue == "x" * 300
    else:
        with pytest.raises(DataError):
            records.open_many(records.opening(drafts))
        assert records.read("t0") is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_nul_in_a_text_ends_nothing_early(database, records):
    records.open_many(records.opening([draft("a", origin="one\0two"), draft("b")]))

    assert records.read("a").origin == "one\0two"
    assert records.read("b") is not None


@pytest.mark.parametrize("more", [{}, {"tags": ["one", "zwei ü"], "tenant": "Zürich"}], ids=["usual", "rare"])
def test_every_kind_of_value_is_kept_alike_by_one_row_and_by_many(database, records, more):
    rich = {
        "kwargs": {"text": 'ä\ud83d\ude00\0\ud800 "quoted" \\\\', "number": 2**70, "list": [1.5, None, True]},
        "message": {"headers": {}, "embed": {}},
        "priority": "high",
    }
    rich |= more
    records.open(draft("alone", **rich))
    records.open_many(records.opening([draft("first", **rich), draft("second", **rich)]))

    one, first, second = (records.read(task_id) for task_id in ("alone", "first", "second"))
    for name in ("kwargs", "message", "tags", "tenant", "priority", "state", "attempt", "is_parent", "expires_at"):
        assert getattr(first, name) == getattr(one, name) == getattr(second, name)
    assert abs((first.due_at - one.due_at).total_seconds()) < 60


def test_a_text_that_no_database_takes_is_the_error_of_its_own_caller(database, records):
    moves = TaskMoves(database)
    records.open(draft("a"))

    with pytest.raises(UnicodeEncodeError):
        records.open(draft("b", origin="\ud800"))
    assert moves.start("a", 0, "w1", "io@host", 60) is not None
    assert moves.fail("a", 1, Failure("lone \ud800 and \0", "E"))
    assert "\\ud800" in records.read("a").error


def test_processes_that_announce_and_renew_themselves_in_one_statement_are_all_alive(database):
    known = {"name": "io@host", "host": "host", "pid": 1, "parent_pid": 0, "memory_mb": None}
    database.write(workers.START.many([{"worker_id": one} | known for one in ("w1", "w2", "w3")]))
    rows = Workers(database).living()
    assert {row.id: row.lost for row in rows} == {"w1": False, "w2": False, "w3": False}
    Workers(database).stop("w2")
    renewed = database.write(
        workers.RENEW.many([{"worker_id": one, "memory_mb": 7, "overrun": None} for one in ("w1", "w2", "w3", "w4")])
    )
    assert {key for (key,) in renewed} == {"w1", "w3"}
