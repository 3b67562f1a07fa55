import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text, update
from sqlalchemy.exc import DataError

from processors.errors import ConfigurationError, ServiceUnavailable
from records import schema, sqlite, upgrading
from records.chords import Chords, Part
from records.columns import Now, metadata
from records.database import Database, ping
from records.identity import database_id
from records.leadership import QUIET_SECONDS, Leadership
from records.leadership import leadership as leadership_row
from records.prepared import _all
from records.task_records import Draft, TaskRecords


def test_a_schema_is_made_once_by_many_who_come_at_the_same_time(database_url):
    errors = []

    def prepare():
        database = Database(database_url)
        try:
            schema.prepare(database)
        except Exception as error:
            errors.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    database = Database(database_url)
    assert len(database_id(database)) == 36
    database.close()


def test_a_new_database_that_another_process_writes_to_is_waited_for(tmp_path, monkeypatch):
    first = sqlite3.connect(tmp_path / "r.db", isolation_level=None)
    first.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(time, "sleep", lambda _: first.in_transaction and first.execute("ROLLBACK"))
    database = Database(f"sqlite:///{tmp_path}/r.db")
    assert ping(database)
    database.close()
    first.close()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY])
def test_a_database_whose_log_another_process_reads_again_is_waited_for(code, monkeypatch):
    """Whoever is the first to open it does so; after a fork that is often the child."""
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = code
    answers = iter([busy, None])

    class Cursor:
        def execute(self, _statement: str) -> None:
            if error := next(answers):
                raise error

    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    sqlite._use_wal(Cursor())
    assert list(answers) == []


@pytest.mark.parametrize(("found", "cure"), [("0000", "csai db upgrade"), ("9999", "newer program")])
def test_a_schema_of_another_version_is_refused_with_its_cure(database, found, cure):
    database.write(lambda c: c.execute(text(f"UPDATE alembic_version SET version_num = '{found}'")))

    with pytest.raises(ConfigurationError, match=cure) as refused:
        schema.prepare(database)

    assert found in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_schema_that_is_none_of_ours_is_one_line(database):
    database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '0000'")))
    with pytest.raises(ConfigurationError, match=r"cannot be brought to version .*0000.*; is it this service's\?"):
        schema.upgrade(database)
    database.write(lambda c: c.execute(text("DROP TABLE alembic_version")))
    with pytest.raises(ServiceUnavailable, match=r"cannot be written: .*already exists") as refused:
        schema.prepare(database)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("way", [schema.prepare, schema.upgrade])
def test_a_schema_is_made_whole_or_not_at_all(database_url, way):
    database = Database(database_url)
    with database.engine().begin() as connection:
        connection.execute(text("CREATE TABLE stray (expires_at INTEGER)"))
        connection.execute(text("CREATE INDEX ix_task_records_expires_at ON stray (expires_at)"))

    with pytest.raises(ServiceUnavailable):
        way(database)

    assert schema.version(database) is None
    with database.engine().begin() as connection:
        connection.execute(text("DROP TABLE stray"))
    way(database)
    assert schema.version(database) == schema.VERSION
    database.close()


def test_an_older_schema_is_upgraded_and_a_newer_one_left_alone(database):
    assert schema.upgrade(database) == schema.VERSION
    database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(ConfigurationError):
        schema.upgrade(database)


def test_the_migrations_make_what_the_tables_say(database):
    with database.engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        differences = compare_metadata(context, metadata)

    own = ("alembic_version", "task_words'", "task_words_", "name='task_words")  # what no table of ours can say
    assert [d for d in differences if not any(name in str(d).replace("task_words_due", "due") for name in own)] == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_row_seems_wider_than_a_page_to_postgresql_which_would_plan_its_new_table_as_an_empty_one(database):
    with database.engine().connect() as connection:
        plans = {
            table.name: connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) SELECT * FROM {table.name}").scalar_one()
            for table in metadata.sorted_tables
        }

    widths = {name: plan[0]["Plan"]["Plan Width"] for name, plan in plans.items()}
    assert {name: width for name, width in widths.items() if width > 8192 / 2} == {}


def test_the_newest_migration_is_the_version_that_the_program_needs():
    names = [path.name.split("_")[0] for path in (upgrading.MIGRATIONS / "versions").glob("0*.py")]

    assert max(names) == schema.VERSION


def test_a_database_that_cannot_be_reached_is_unavailable_in_one_line(tmp_path):
    for url in (f"sqlite:///{tmp_path}/missing/r.db", f"postgresql+psycopg://u:secret@/x?host={tmp_path}"):
        database = Database(url)
        with pytest.raises(ServiceUnavailable) as refused:
            ping(database)
        database.close()
        assert "\n" not in str(refused.value)
        assert "secret" not in str(refused.value)


def test_a_value_that_a_query_cannot_reckon_with_is_no_database_that_is_away(database):
    cannot = {"sqlite": "SELECT zeroblob(2000000000)", "postgresql": "SELECT 1 / 0"}[database.kind]
    with pytest.raises(DataError):
        database.read(lambda connection: connection.execute(text(cannot)).all())


def test_a_write_that_fails_does_not_undo_its_neighbours(database):
    records = TaskRecords(database)
    gate = threading.Event()
    threading.Thread(target=lambda: database.write(lambda _: gate.wait(10))).start()
    outcome = {}

    def bad():
        try:
            database.write(lambda c: c.execute(text("SELECT nothing FROM nowhere")) and None)
        except Exception as error:
            outcome["bad"] = error

    def good():
        outcome["good"] = records.open(Draft("good", "x", "x", "default"))

    threads = [threading.Thread(target=bad), threading.Thread(target=good)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(20)

    assert outcome["good"] is True
    assert outcome["bad"] is not None
    assert records.read("good") is not None


def test_a_full_disk_refuses_a_submit_and_heals_by_itself(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/r.db")
    schema.prepare(database)
    records = TaskRecords(database)
    database.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count=60"))

    with pytest.raises(ServiceUnavailable, match="full; make room on its disk"):
        for number in range(200):
            records.open(Draft(f"t{number}", "x", "x", "default", kwargs={"text": "x" * 5_000}))
    database.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count=100000"))

    assert records.open(Draft("after", "x", "x", "default"))
    database.close()


def test_what_was_made_ready_for_children_is_open_nowhere_and_serves_parent_and_child(database):
    records = TaskRecords(database)
    records.open(Draft("before", "x", "x", "default"))
    database.prepare_children()
    pools = [engine.pool for engine in (database._engines.reader, database._for_children.reader)]
    assert [pool.checkedin() for pool in pools] == [0, 0]
    assert all(
        database.engine().dialect.driver in prepared._forms
        for prepared in _all
        if prepared.kind in (None, database.kind)
    )
    theirs = database._for_children

    child = os.fork()
    if child == 0:
        try:
            inherited = database.engine() is theirs.reader
            ok = inherited and records.open(Draft("child", "x", "x", "default")) and records.read("before") is not None
            database.close()
        except BaseException:
            os._exit(2)
        os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert records.open(Draft("parent", "x", "x", "default"))
    assert records.read("child") is not None
    assert theirs.reader.pool.checkedin() == 0, "the parent leaves them to its next child"


def test_a_database_that_is_away_is_no_reason_to_fork(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/missing/r.db")
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        database.prepare_children()


def test_what_was_accepted_survives_a_kill_right_after_the_answer(tmp_path):
    url = f"sqlite:///{tmp_path}/r.db"
    code = (
        "import os,sys,signal;from records.database import Database;from records import schema;"
        "from records.task_records import *;d=Database(sys.argv[1]);schema.prepare(d);"
        "TaskRecords(d).open(Draft('kept','x','x','default'));os.kill(os.getpid(),signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, url], check=False)

    database = Database(url)
    assert TaskRecords(database).read("kept") is not None
    database.close()


def test_one_leads_and_another_takes_over_only_when_the_first_gave_up(database):
    leadership = Leadership(database)

    assert leadership.take("a", "host", 1) == 1
    assert leadership.take("b", "host", 2) is None
    assert leadership.take("a", "host", 1) == 1
    assert leadership.current().holder == "a"
    leadership.give_up("a")
    assert leadership.current() is None
    assert leadership.take("b", "host", 2) == 2


def test_a_leader_that_does_not_reach_the_broker_leads_until_one_that_does_takes_over(database):
    leadership = Leadership(database)
    assert leadership.take("a", "host", 1, reaches_broker=False) == 1
    assert leadership.current().yields

    assert leadership.take("b", "host", 2, reaches_broker=False) is None
    assert leadership.take("a", "host", 1, reaches_broker=False) == 1
    assert leadership.take("b", "host", 2) == 2
    assert not leadership.current().yields
    assert leadership.take("a", "host", 1) is None


def test_a_leader_that_is_quiet_is_no_longer_heard_while_its_lease_lasts(database):
    leadership = Leadership(database)
    assert leadership.take("a", "host", 1) == 1
    assert leadership.heard().holder == "a"
    quiet = update(leadership_row).values(renewed_at=Now(-QUIET_SECONDS))
    database.write(lambda connection: connection.execute(quiet))

    assert leadership.heard() is None
    assert leadership.current().holder == "a"
    assert leadership.take("b", "host", 2) is None


def test_a_lease_that_ran_out_is_a_new_term_for_the_same_leader_too(database):
    leadership = Leadership(database)
    assert leadership.take("a", "host", 1) == 1
    leadership.give_up("a")

    assert leadership.take("a", "host", 1) == 2


def test_who_was_frozen_in_the_middle_of_a_renewal_holds_up_the_next_leader_for_some_seconds_only(database):
    if database.is_sqlite:
        pytest.skip("whoever is frozen in a commit holds SQLite's lock")
    leadership = Leadership(database)
    assert leadership.take("frozen", "host", 1) == 1
    leadership.give_up("frozen")
    with database.engine().connect() as frozen:
        frozen.execute(update(leadership_row).values(pid=2))

        assert leadership.take("awake", "host", 3) == 2
        frozen.invalidate()


def test_a_chord_is_complete_once_whatever_returns_twice(database):
    chords = Chords(database)

    assert not chords.part_returned("g", 0, Part("a", "SUCCESS", 1))
    chords.set_size("g", 2)
    assert not chords.part_returned("g", 0, Part("a", "SUCCESS", 1))
    assert chords.part_returned("g", 1, Part("b", "SUCCESS", 2))
    assert chords.part_returned("g", 1, Part("b", "SUCCESS", 2)), "until the body was published it may be asked again"
    chords.fired("g")
    assert not chords.part_returned("g", 1, Part("b", "SUCCESS", 2))
    assert [part.result for part in chords.parts("g")] == [1, 2]


def test_a_chord_that_grew_waits_for_what_joined(database):
    chords = Chords(database)
    chords.set_size("g", 1)
    chords.add("g")

    assert not chords.part_returned("g", 0, Part("a", "SUCCESS", 1))
    assert chords.part_returned("g", 1, Part("b", "SUCCESS", 2))
