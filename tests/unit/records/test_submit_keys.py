"""An idempotency key and its task are written together, once, whoever submits, dies or loses an answer."""

import itertools
import os
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from processors.errors import IdempotencyConflict, InvalidArgument, ServiceUnavailable, SubmitUnknown
from records import schema, submit_keys, upgrading
from records.columns import Now
from records.database import Database
from records.grouped_writes import CommitUnknown
from records.members import members
from records.submit_keys import SubmitKeys, digest_of
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords, columns, task_records
from waiting import until

PROCESSES = 16
THREADS = 4
KEYS = [f"k{number}" for number in range(8)]
STEPS = ("begun", "key", "record", "committed")


@pytest.fixture
def keys(database: Database) -> SubmitKeys:
    return SubmitKeys(database)


@pytest.fixture
def tasks(database: Database) -> TaskRecords:
    return TaskRecords(database)


def draft(task_id: str = "t", key: str | None = "k", **values) -> Draft:
    return Draft(
        task_id,
        **{"name": "email.send_email", "category": "email", "queue": "email"} | values | {"idempotency_key": key},
    )


def count(database: Database, table, *conditions) -> int:
    return database.read(lambda c: c.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one())


def let_expire(database: Database) -> None:
    database.write(lambda c: c.execute(update(submit_keys.submit_keys).values(expires_at=Now())))


# --- Keys -------------------------------------------------------------------------------------------------------


def test_the_same_key_and_arguments_give_the_same_id_and_one_record(database, keys):
    assert keys.open(draft("a", kwargs={"n": 1, "m": {"x": 2, "y": 3}})) == "a"
    assert keys.open(draft("b", kwargs={"m": {"y": 3, "x": 2}, "n": 1}, priority="high", tags=["x"], delay=60)) == "a"
    assert count(database, task_records) == 1


@pytest.mark.parametrize(
    "other",
    [{"kwargs": {"n": 2}}, {"kwargs": {"n": "1"}}, {"kwargs": {}}, {"args": [1]}, {"name": "email.send_batch"}],
    ids=str,
)
def test_other_arguments_are_an_error_that_names_the_key_and_its_task(database, keys, other):
    keys.open(draft("a", kwargs={"n": 1}))

    with pytest.raises(IdempotencyConflict, match="'k' was given to task a with another method or other") as error:
        keys.open(draft("b", **{"kwargs": {"n": 1}} | other))

    assert error.value.task_id == "a"
    assert isinstance(error.value, ValueError)
    assert count(database, task_records) == 1
    assert keys.open(draft("c", kwargs={"n": 1})) == "a"


def test_each_tenant_has_keys_of_its_own(keys):
    ids = [keys.open(draft(name, tenant=tenant)) for name, tenant in (("a", None), ("b", "x"), ("c", "y"), ("d", "x"))]
    assert ids == ["a", "b", "c", "b"]


def test_a_key_is_free_again_after_its_time_for_any_arguments(database, keys, tasks):
    keys.open(draft("a", kwargs={"n": 1}))
    expires_at = database.read(lambda c: c.execute(select(submit_keys.keys.expires_at)).scalar_one())
    assert timedelta(days=6, hours=23) < expires_at - datetime.now(UTC) < timedelta(days=7, hours=1)

    let_expire(database)

    assert keys.open(draft("b", kwargs={"n": 2})) == "b"
    assert keys.open(draft("c", kwargs={"n": 2})) == "b"
    assert tasks.read("a").idempotency_key == tasks.read("b").idempotency_key == "k"


def test_a_key_outlives_the_record_of_its_task(database, keys, tasks):
    keys.open(draft("a"))
    TaskMoves(database).revoke("a")
    assert TaskMoves(database).remove(["a"]) == 1

    assert keys.open(draft("b")) == "a"
    assert tasks.read("b") is None


def test_pruning_forgets_what_is_free_again_and_nothing_else(database, keys, monkeypatch):
    monkeypatch.setattr(submit_keys, "PRUNE_ROWS", 3)
    for number in range(8):
        keys.open(draft(f"old-{number}", key=f"old-{number}"))
    let_expire(database)
    keys.open(draft("young", key="young"))
    keys.open(draft("again", key="old-0"))

    assert until(keys.prune, 5) == 7
    assert keys.prune() == 0
    assert [keys.open(draft("x", key=key)) for key in ("young", "old-0", "old-1")] == ["young", "again", "x"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_pruning_leaves_a_key_that_is_given_out_again_while_it_waits_for_it(database, keys, engine):
    keys.open(draft("a"))
    let_expire(database)
    with Session(engine) as session:
        assert keys.open(draft("b"), session) == "b"
        pruning = threading.Thread(target=keys.prune)
        pruning.start()
        waits = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        until(lambda: database.read(lambda c: c.execute(waits).scalar_one()), 20, "the pruning waits")
        session.commit()
        pruning.join(20)

    assert keys.open(draft("c")) == "b"


def test_a_record_that_cannot_be_written_leaves_no_key(database, keys):
    with pytest.raises(IntegrityError):
        keys.open(draft("a", name=None))

    assert count(database, submit_keys.submit_keys) == 0
    assert keys.open(draft("b")) == "b"


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
@pytest.mark.parametrize("parent", [True, False], ids=["parent", "task"])
def test_a_commit_whose_answer_was_lost_is_repeated_and_finds_its_own_id(database, keys, monkeypatch, kept, parent):
    write, answers = Database.write, iter([True, False])

    def lose_the_first(self, work, **more):
        lost = next(answers)
        done = write(self, work, **more) if kept or not lost else None
        if lost:
            raise CommitUnknown("the connection was lost")
        return done

    monkeypatch.setattr(Database, "write", lose_the_first)
    if parent:
        found = keys.open_parent(draft("a", is_parent=True), [{"n": 1}, {"n": 2}], [draft("c", None, parent_id="a")])
    else:
        found = keys.open(draft("a"))

    assert found == "a"
    assert count(database, task_records, columns.id == "a") == 1
    assert count(database, members) == (2 if parent else 0)


def test_where_nobody_knows_what_was_kept_the_error_carries_the_id(keys, monkeypatch):
    def lose(*_, **__):
        raise CommitUnknown("the connection was lost")

    monkeypatch.setattr(Database, "write", lose)
    with pytest.raises(SubmitUnknown, match="not known whether task a was recorded") as error:
        keys.open(draft("a"))
    assert error.value.task_id == "a"


def test_a_bulk_is_written_once_under_its_key_and_other_items_are_an_error(database, keys):
    def submit(name: str, items: list[dict[str, int]]) -> str:
        parent = draft(name, is_parent=True, members_total=len(items))
        return keys.open_parent(parent, items, [draft(f"{name}-1", None, parent_id=name, relay_now=True)])

    assert [submit("a", [{"n": 1, "m": 2}]), submit("b", [{"m": 2, "n": 1}])] == ["a", "a"]
    with pytest.raises(IdempotencyConflict, match="task a"):
        submit("c", [{"n": 1, "m": 3}])
    with pytest.raises(IdempotencyConflict, match="task a"):
        submit("d", [{"n": 1, "m": 2}, {"n": 1, "m": 2}])
    assert (count(database, task_records), count(database, members)) == (2, 1)


def test_a_digest_is_the_same_for_the_same_json():
    one = draft(kwargs={"a": {1: [1.0, None], 10: "ü", 9: True}})
    other = draft(kwargs={"a": {"9": True, "10": "ü", "1": [1.0, None]}}, args=())
    assert digest_of(one, ()) == digest_of(other, ())
    assert digest_of(draft(kwargs={"a": "\ud800"}), ())


def test_many_at_once_get_one_id(database, keys):
    found: list[object] = []

    def submit(number: int) -> None:
        try:
            found.append(keys.open(draft(f"t{number}")))
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(found) == 25
    assert len(set(found)) == 1, found
    assert count(database, task_records) == 1


def test_however_many_are_killed_while_they_submit_a_key_it_has_one_task_and_is_never_stuck(database, database_url):
    seed = random.randrange(10**9)
    print("seed", seed)  # noqa: T201 - a failing run shows it
    reader, writer = os.pipe()
    children = [_fork(database_url, f"{seed}-{number}", writer) for number in range(PROCESSES)]
    os.close(writer)
    with os.fdopen(reader) as answers:
        told = [tuple(line.split()) for line in answers if line.endswith("\n")]
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    keys = SubmitKeys(database)
    last = {key: keys.open(draft(f"last-{key}", key)) for key in KEYS}

    print("told", len(told), "killed", ends.count(-signal.SIGKILL), "of", PROCESSES)  # noqa: T201 - its figures
    assert set(ends) <= {0, -signal.SIGKILL}
    assert set(told) <= set(last.items())
    found = database.read(lambda c: c.execute(select(columns.idempotency_key, columns.id)).all())
    assert sorted(map(tuple, found)) == sorted(last.items())


def _fork(url: str, seed: str, out: int) -> int:
    """Start a process that submits all keys from several threads; most die at one step."""
    child = os.fork()
    if child:
        return child
    try:
        _submit_until_killed(Database(url), random.Random(seed), seed, out)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _submit_until_killed(database: Database, chance: random.Random, seed: str, out: int) -> None:
    last = chance.choice(STEPS) if chance.random() < 0.8 else None
    passes = itertools.count(-chance.randrange(1 if last == "record" else THREADS * len(KEYS)))

    def after(step: str, do):
        def doing(*arguments, **more):
            done = do(*arguments, **more)
            if step == last and next(passes) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return doing

    submit_keys.digest_of = after("begun", submit_keys.digest_of)
    submit_keys._holder = after("key", submit_keys._holder)
    submit_keys.insert_drafts = after("record", submit_keys.insert_drafts)
    database.write = after("committed", database.write)
    keys = SubmitKeys(database)

    def submit(thread: int) -> None:
        try:
            for key in KEYS:
                task_id = keys.open(draft(f"{seed}-{thread}-{key}", key))
                os.write(out, f"{key} {task_id}\n".encode())
        except BaseException:
            os._exit(1)

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- Sessions of callers ----------------------------------------------------------------------------------------


@pytest.fixture
def engine(database: Database, database_url: str) -> Iterator[Engine]:
    """The application's own engine of the same database, with a table of its own."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (number INTEGER)"))
    yield engine
    engine.dispose()


ORDER = text("INSERT INTO orders VALUES (1)")


def orders(database: Database) -> int:
    return database.read(lambda c: c.execute(text("SELECT count(*) FROM orders")).scalar_one())


@pytest.mark.parametrize("key", ["k", None], ids=["key", "no key"])
def test_a_task_and_the_callers_rows_are_committed_together_or_not_at_all(database, keys, tasks, engine, key):
    with Session(engine) as session:
        session.execute(ORDER)
        assert keys.open(draft("a", key, relay_now=True), session) == "a"
        assert tasks.read("a") is None, "nothing is committed for the caller"
        session.rollback()
    assert (orders(database), count(database, submit_keys.submit_keys), tasks.read("a")) == (0, 0, None)

    with Session(engine) as session, session.begin():
        session.execute(ORDER)
        keys.open(draft("b", key, relay_now=True, kwargs={"text": "NUL \0"}, tags=["x"]), session)
    assert orders(database) == 1
    assert tasks.read("b").kwargs == {"text": "NUL \0"}
    assert [due.id for due in TaskMoves(database).claim(10)] == ["b"]


def test_a_bulk_goes_through_a_session_whole(database, keys, engine):
    parent, batches = draft("p", is_parent=True), [draft(f"c{number}", None, parent_id="p") for number in range(3)]
    with engine.connect() as connection:
        assert keys.open_parent(parent, [{"n": 1}, {"n": 2}], batches, connection) == "p"
        connection.rollback()
        assert (count(database, task_records), count(database, members)) == (0, 0)
        keys.open_parent(parent, [{"n": 1}, {"n": 2}], batches, connection)
        connection.commit()
    assert (count(database, task_records), count(database, members)) == (4, 2)


@pytest.mark.parametrize("make", [Session, lambda engine: scoped_session(sessionmaker(engine)), Engine.connect])
def test_a_key_that_another_task_has_leaves_the_callers_transaction_as_it_was(database, keys, engine, make):
    keys.open(draft("a", kwargs={"n": 1}))
    session = make(engine)
    session.execute(ORDER)

    assert keys.open(draft("b", kwargs={"n": 1}), session) == "a"
    with pytest.raises(IdempotencyConflict, match="task a"):
        keys.open(draft("c", kwargs={"n": 2}), session)
    assert keys.open(draft("d", "other"), session) == keys.open(draft("e", "other"), session) == "d"

    session.commit()
    session.close()
    assert orders(database) == 1
    assert count(database, task_records) == 2


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_who_comes_while_a_callers_transaction_holds_the_key_waits_for_its_end(keys, engine):
    for end in (Session.rollback, Session.commit):
        key, found = end.__name__, []
        with Session(engine) as session:
            keys.open(draft(f"{key}-a", key), session)
            waiting = threading.Thread(
                target=lambda key=key, found=found: found.append(keys.open(draft(f"{key}-b", key)))
            )
            waiting.start()
            waiting.join(0.2)
            assert waiting.is_alive()
            end(session)
            waiting.join(20)
        assert found == [f"{key}-b" if end is Session.rollback else f"{key}-a"]


def blocked(engine: Engine) -> int:
    """Return how many sessions of this database wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with engine.connect() as connection:
        return connection.execute(text(query)).scalar_one()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_many_who_wait_for_a_callers_transaction_keep_nobody_else_of_their_process_from_the_database(
    tasks, keys, engine
):
    with Session(engine) as session, ThreadPoolExecutor(8) as pool:
        keys.open(draft("first", "k"), session)
        waiting = [pool.submit(keys.open, draft(f"n{number}", "k")) for number in range(8)]
        until(lambda: blocked(engine) >= 3)
        for _ in range(20):
            assert tasks.read("unknown") is None
        assert not any(one.done() for one in waiting)
        session.commit()
        assert {one.result(20) for one in waiting} == {"first"}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_transaction_that_holds_a_key_too_long_is_named_as_the_cause(keys, engine, monkeypatch):
    monkeypatch.setattr(submit_keys, "PATIENCE_SECONDS", 0)
    with Session(engine) as session:
        keys.open(draft("first", "k"), session)
        with pytest.raises(ServiceUnavailable, match="'k' was given to a task in a transaction that has not ended"):
            keys.open(draft("second", "k"))


def stranger(tmp_path, database_url: str, *, with_schema: bool) -> Engine:
    other = Database(f"sqlite:///{tmp_path}/other.db")
    if with_schema:
        upgrading.upgrade(other, schema.VERSION)
    other.close()
    return create_engine(other.url)


@pytest.mark.parametrize("with_schema", [True, False], ids=["another service's", "an application's"])
def test_a_session_of_another_database_is_refused_and_stays_usable(tmp_path, database_url, keys, with_schema):
    engine = stranger(tmp_path, database_url, with_schema=with_schema)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE orders (number INTEGER)"))
        connection.execute(ORDER)
        with pytest.raises(InvalidArgument, match=r"session: must be one of the record database .*; got one of sqlite"):
            keys.open(draft("a"), connection)
        connection.commit()
        assert connection.execute(text("SELECT count(*) FROM orders")).scalar_one() == 1
    engine.dispose()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_session_of_another_database_of_the_server_is_refused_and_its_transaction_goes_on(postgresql, keys):
    engine = create_engine(postgresql.fresh_database())
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE orders (number INTEGER)"))
        with pytest.raises(InvalidArgument, match="session: must be one of the record database"):
            keys.open(draft("a"), connection)
        connection.execute(ORDER)
        connection.commit()
    engine.dispose()


@pytest.mark.parametrize("given", ["session", 5, object()], ids=["text", "number", "object"])
def test_what_is_no_session_is_refused(keys, given):
    with pytest.raises(InvalidArgument, match="session: must be an SQLAlchemy Session or Connection; got"):
        keys.open(draft("a"), given)


def test_a_connection_that_commits_every_statement_by_itself_is_refused(database, database_url, keys):
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection, pytest.raises(InvalidArgument, match="session: must have a transaction"):
        keys.open(draft("a"), connection)
    engine.dispose()
    assert count(database, submit_keys.submit_keys) == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_application_that_begins_its_own_transactions_on_sqlite_is_served(database_url, tasks, keys):
    engine = create_engine(database_url, isolation_level=None)

    @event.listens_for(engine, "connect")
    def _leave_it_to_us(connection, _):
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection):
        connection.exec_driver_sql("BEGIN")

    with engine.connect() as connection:
        keys.open(draft("a"), connection)
        connection.rollback()
        assert tasks.read("a") is None
        keys.open(draft("b"), connection)
        connection.commit()
    engine.dispose()
    assert tasks.read("b") is not None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_database_that_is_away_is_an_error_and_writes_no_key(tmp_path, keys, monkeypatch):
    def away(*_, **__):
        raise ServiceUnavailable("gone")

    monkeypatch.setattr(Database, "write", away)
    with pytest.raises(ServiceUnavailable, match="gone"):
        keys.open(draft("a"))


# --- Due times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "past", [datetime(1, 1, 1, tzinfo=UTC), datetime(999, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)]
)
def test_a_due_time_that_has_passed_means_now(database, tasks, past):
    tasks.open(draft("a", None, due_at=past))
    tasks.open(draft("b", None))

    assert abs((tasks.read("a").due_at - tasks.read("b").due_at).total_seconds()) < 60
    [due] = TaskMoves(database).claim(10)
    assert (due.id, due.relay_at >= due.created_at) == ("a", True), "it takes no place before what waits already"


def test_a_due_time_ahead_is_kept_as_it_is_and_nothing_is_published_before(database, tasks):
    due_at = datetime(2099, 1, 31, 9, 0, 0, 123456, tzinfo=UTC)
    opening = tasks.opening([draft(name, None, due_at=due_at) for name in ("a", "b")])
    tasks.open_many(opening)
    tasks.open(draft("c", None, delay=90 * 24 * 3600.0))
    tasks.open(draft("d", None, delay=1e-7))

    assert [tasks.read(name).due_at for name in ("a", "b")] == [due_at, due_at]
    assert tasks.read("c").due_at - tasks.read("c").created_at > timedelta(days=89, hours=23)
    assert [due.id for due in until(lambda: TaskMoves(database).claim(10), 5)] == ["d"]
