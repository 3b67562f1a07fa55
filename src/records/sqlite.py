"""SQLite: its connections, and group commit over the one that writes."""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from processors.errors import ServiceUnavailable
from records.engines import Engines
from records.forks import forks
from records.grouped_writes import Job
from records.prepared import RUN, Bound, Row, Statement, statements

CONNECT_BUSY_SECONDS = 10
CONNECT_PAUSE_SECONDS = 0.02
BUSY_SECONDS = 10.0
BUSY_PAUSE_SECONDS = 0.0003
LONGEST_BUSY_PAUSE_SECONDS = 0.004
BUSY_PAUSE_GROWTH = 1.2
"""Between two who write nothing is lost by asking often; twenty would do little else."""


class LastingPool(QueuePool):
    """Stays when it is emptied: a connection that is in use then comes back to it, and the next fork sees it."""

    def recreate(self) -> Self:
        """Return the pool that an engine is to have from now on."""
        return self


def engines(url: Any) -> Engines:
    """Make the engines of a file."""
    return Engines(_engine(url), _engine(url, immediate=True))


def _engine(url: Any, *, immediate: bool = False) -> Engine:
    """Make an engine whose transactions are begun by us, not by the driver."""
    made = create_engine(
        url,
        connect_args={"timeout": 0 if immediate else CONNECT_BUSY_SECONDS, "check_same_thread": False},
        isolation_level="AUTOCOMMIT" if immediate else None,
        poolclass=NullPool if url.database in (None, "", ":memory:") else LastingPool,
    )

    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        _use_wal(cursor)
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA journal_size_limit=67108864")
        cursor.execute("PRAGMA wal_autocheckpoint=4000")  # pages, 16 MB: a page that changes often is copied back less
        cursor.close()

    event.listen(made, "connect", prepare)
    if not immediate:
        event.listen(made, "begin", _begin_deferred)
    return made


def _use_wal(cursor: Any) -> None:
    """Change to WAL; where somebody else makes the database now, SQLite's own time-out does not wait for that."""
    deadline = time.monotonic() + CONNECT_BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(CONNECT_PAUSE_SECONDS)
        else:
            return


def _begin_deferred(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


class SqliteCommits:
    """Commits groups over SQLite's one writing connection of this process.

    Args:
        engine: makes connections that begin no transaction by themselves and do not wait for SQLite's lock.
        unavailable: makes the error of a database that does not answer.
    """

    def __init__(self, engine: Engine, unavailable: Callable[[Exception], ServiceUnavailable]) -> None:
        self._engine = engine
        self._unavailable = unavailable
        self._connection: Connection | None = None
        self._durable: bool | None = None
        self._lock = threading.RLock()  # a fork that came too late closes nothing under a commit

    def commit(self, group: Sequence[Job]) -> None:
        """Commit these in one transaction; one that fails leaves no trace in it."""
        with forks.using(), self._lock:
            try:
                connection = self._connection = self._connection or self._connect()
                raw = cast("sqlite3.Connection", connection.connection.driver_connection)
                self._begin(raw, durable=any(job.durable for job in group))
                for job in _left_by_statements(raw, group):
                    self._attempt(connection, raw, job)
                raw.execute("COMMIT")
            except (DBAPIError, sqlite3.Error) as error:
                self.close()
                raise self._unavailable(error) from error
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the connection; what it had begun is rolled back."""
        with forks.using():
            self.disconnect()

    def disconnect(self) -> None:
        """Do the same in the middle of a fork."""
        with self._lock:
            connection, self._connection, self._durable = self._connection, None, None
            if connection is not None:
                connection.invalidate()
                connection.close()

    def _connect(self) -> Connection:
        connection = self._engine.connect()
        connection.info[RUN] = _run
        return connection

    def _begin(self, raw: sqlite3.Connection, *, durable: bool) -> None:
        """Take SQLite's lock: it is no queue, and its own pauses grow until the busy starve the patient."""
        if durable is not self._durable:
            raw.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        deadline, pause = time.monotonic() + BUSY_SECONDS, BUSY_PAUSE_SECONDS
        while True:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(pause)
                pause = min(pause * BUSY_PAUSE_GROWTH, LONGEST_BUSY_PAUSE_SECONDS)
            else:
                return

    def _attempt(self, connection: Connection, raw: sqlite3.Connection, job: Job) -> None:
        raw.execute("SAVEPOINT job")
        try:
            job.result = job.work(connection)
        except Exception as error:  # noqa: BLE001 - handed to the caller who waits for this job
            raw.execute("ROLLBACK TO job")
            job.error = self._unavailable(error) if _is_operational(error) else error
        raw.execute("RELEASE job")


def _left_by_statements(raw: sqlite3.Connection, group: Sequence[Job]) -> list[Job]:
    """Run what is prepared for one row in as few statements as can be; returns the jobs that go by themselves.

    They are more than that, or their statement failed: such a one is undone by itself.
    """
    left = {id(job.work): job for job in group}
    for statement in statements(job.work for job in group if isinstance(job.work, Bound) and len(job.work) == 1):
        try:
            rows = raw.execute(statement.text, statement.parameters).fetchall()
        except sqlite3.Error:
            if not raw.in_transaction:
                raise
            continue
        for bound, own in zip(statement.bounds, statement.share(rows), strict=True):
            left.pop(id(bound)).result = own
    return list(left.values())


def _run(connection: Connection, statement: Statement) -> list[Row]:
    """Run a statement as the driver takes it: SQLite needs less time for it than SQLAlchemy."""
    raw = cast("sqlite3.Connection", connection.connection.driver_connection)
    try:
        return raw.execute(statement.text, statement.parameters).fetchall()
    except sqlite3.Error as error:
        raise DBAPIError.instance(statement.text, None, error, sqlite3.Error, dialect=connection.dialect) from error


def _is_operational(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.OperationalError)
