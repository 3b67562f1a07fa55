"""One way to the database for every process: reads, grouped writes, and one clock.

One writer thread in each process groups what waits into one transaction (`records.grouped_writes`); reads use
connections of their own, and so does on PostgreSQL a write of several statements. No connection crosses a fork.
"""

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool

from processors.errors import ServiceUnavailable
from records.grouped_writes import Commits, CommitUnknown, Job, SqliteCommits, Writer
from records.prepared import ROWS_AT_ONCE, Bound, Row

Result = TypeVar("Result")

BUSY_TIMEOUT_SECONDS = 10
BUSY_PAUSE_SECONDS = 0.02
CONNECT_TIMEOUT_SECONDS = 3
STATEMENT_TIMEOUT_SECONDS = 60


class Database:
    """The record database of one installation.

    Args:
        url: an SQLAlchemy URL, `sqlite:///…` or `postgresql+psycopg://…`.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.shown = self.url.render_as_string(hide_password=True)
        self._reader: Engine | None = None
        self._writer: Writer | None = None
        self._left_to_parent: list[object] = []
        self._lock = threading.Lock()
        _open_databases.add(self)

    def read(self, query: Callable[[Connection], Result]) -> Result:
        """Run `query` on a connection of its own; it sees what was committed before.

        Raises:
            ServiceUnavailable: the database does not answer.
        """
        try:
            with self._reading() as connection:
                return query(connection)
        except DBAPIError as error:
            raise self._unavailable(error) from error

    def write(self, work: Callable[[Connection], Result], *, durable: bool = True) -> Result:
        """Run `work` in a transaction and return once it is committed.

        Args:
            work: changes rows; may run in another thread, and alone or beside other writes.
            durable: on SQLite, whether the commit must survive a power cut (`FULL`) or only a crash (`NORMAL`).

        Raises:
            ServiceUnavailable: the database does not answer; nothing was written.
            CommitUnknown: the answer to the commit was lost.
        """
        if isinstance(work, Bound) and not work.forms:
            work.bind(self._engine().dialect)
        if not self.is_sqlite and (not isinstance(work, Bound) or len(work) > ROWS_AT_ONCE):
            return self._write_pooled(cast("Callable[[Connection], Result]", work))
        job = Job(work, durable=durable, waits=True)
        while not self._one_writer().take(job):  # it was closed by another thread just now
            pass
        return job.outcome()

    def write_later(self, work: Callable[[Connection], object]) -> None:
        """Run `work` soon, beside other writes; dropped where too much waits or the database is away."""
        if isinstance(work, Bound):
            work.bind(self._engine().dialect)
        if not self.is_sqlite and (not isinstance(work, Bound) or len(work) > ROWS_AT_ONCE):
            with suppress(ServiceUnavailable):
                self._write_pooled(work)
            return
        self._one_writer().offer(work)

    def write_then(self, work: Bound, then: Callable[[list[Row], BaseException | None], None]) -> None:
        """Run `work` as `write` does, but return at once.

        Args:
            work: changes rows; its commit need not survive a power cut.
            then: called, in another thread, with the rows or the error that `write` would have raised; must not raise.
        """
        work.bind(self._engine().dialect)
        job = Job(work, durable=False, waits=True, then=lambda done: then(done.result or [], done.error))
        while not self._one_writer().take(job):  # it was closed by another thread just now
            pass

    def close(self) -> None:
        """End the writer thread after what waits was written, and close all connections."""
        with self._lock:
            writer, self._writer = self._writer, None
            reader, self._reader = self._reader, None
        if writer:
            writer.stop()
        if reader:
            reader.dispose()

    def writer(self) -> Writer | None:
        """Return the writer, if there is one; a fork waits for it."""
        return self._writer

    def engine(self) -> Engine:
        """Return the engine that reads; migrations use it."""
        return self._engine()

    def forget_connections(self) -> None:
        """Drop, without closing, what a parent process opened: called in the child right after a fork."""
        self._lock = threading.Lock()
        self._left_to_parent += [self._writer, self._reader]  # nothing that dies here may close the parent's files
        self._writer, self._reader = None, None

    def _engine(self) -> Engine:
        with self._lock:
            if self._reader is None:
                self._reader = _sqlite_engine(self.url) if self.is_sqlite else _postgresql_engine(self.url)
            return self._reader

    def _reading(self) -> Connection:
        """Return a connection for one read; each statement of PostgreSQL sees what was committed before it anyway."""
        connection = self._engine().connect()
        return connection if self.is_sqlite else connection.execution_options(isolation_level="AUTOCOMMIT")

    def _one_writer(self) -> Writer:
        with self._lock:
            if self._writer is None:
                self._writer = Writer(self._commits())
            return self._writer

    def _commits(self) -> Commits:
        if self.is_sqlite:
            return SqliteCommits(_sqlite_engine(self.url, immediate=True), self._unavailable)
        from records.postgresql_commits import PostgresqlCommits  # noqa: PLC0415 - SQLite needs no driver of PostgreSQL

        return PostgresqlCommits(self._connected, self._write_pooled, self._unknown)

    def _connected(self) -> Connection:
        """Return a connection for the writer.

        Raises:
            ServiceUnavailable: the database does not answer.
        """
        try:
            connection = self._reading()
            connection.exec_driver_sql("SET plan_cache_mode = auto")
            # All it runs finds its rows by their id. A plan made while the table was small would read it whole, until
            # the server looks at the table again: a minute later, or ten thousand records.
            connection.exec_driver_sql("SET enable_seqscan = off")
        except DBAPIError as error:
            raise self._unavailable(error) from error
        return connection

    def _write_pooled(self, work: Callable[[Connection], Result]) -> Result:
        committing = False
        try:
            with self._engine().connect() as connection:
                result = work(connection)
                committing = True
                connection.commit()
                return result
        except (IntegrityError, DataError):
            raise  # the value's fault: trying again cannot help
        except DBAPIError as error:
            if committing:
                raise self._unknown(error) from error
            raise self._unavailable(error) from error

    def _unknown(self, error: Exception) -> CommitUnknown:
        return CommitUnknown(f"The database at {self.shown} was lost during a commit: {_cause(error)}")

    def _unavailable(self, error: Exception) -> ServiceUnavailable:
        cure = "make room on its disk, or see that this user may write it" if self.is_sqlite else "check its server"
        return ServiceUnavailable(
            f"The record database {self.shown} does not answer: {_cause(error)}; {cure}, or set DATABASE_URL."
        )


def _sqlite_engine(url: Any, *, immediate: bool = False) -> Engine:
    """Make an engine whose transactions are begun by us, not by the driver."""
    engine = create_engine(
        url,
        connect_args={"timeout": 0 if immediate else BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        isolation_level="AUTOCOMMIT" if immediate else None,
        **({"poolclass": NullPool} if url.database in (None, "", ":memory:") else {}),
    )

    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        _use_wal(cursor)
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA journal_size_limit=67108864")
        cursor.execute("PRAGMA wal_autocheckpoint=4000")  # pages, 16 MB: a page that changes often is copied back less
        cursor.close()

    event.listen(engine, "connect", prepare)
    if not immediate:
        event.listen(engine, "begin", _begin_deferred)
    return engine


def _use_wal(cursor: Any) -> None:
    """Change to WAL; where somebody else makes the database now, SQLite's own time-out does not wait for that."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(BUSY_PAUSE_SECONDS)
        else:
            return


def _begin_deferred(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _postgresql_engine(url: Any) -> Engine:
    return create_engine(
        url,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=20,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s -c timezone=UTC"
            " -c plan_cache_mode=force_custom_plan",  # a plan made for a small table outlives its smallness
        },
    )


def _cause(error: Exception) -> str:
    return " ".join(str(error.orig if isinstance(error, DBAPIError) and error.orig else error).split())


def ping(database: Database) -> str:
    """Ask the database for one row; returns its version.

    Raises:
        ServiceUnavailable: it does not answer.
    """
    query = "SELECT 'SQLite ' || sqlite_version()" if database.is_sqlite else "SELECT version()"
    return str(database.read(lambda connection: connection.execute(text(query)).scalar_one()))


_open_databases: "weakref.WeakSet[Database]" = weakref.WeakSet()


_paused: list[Writer] = []


def _before_fork() -> None:
    """Let commits that run end first: SQLite's lock, copied into a child while it is held, is held there for ever."""
    _paused.extend(writer for database in list(_open_databases) if (writer := database.writer()) and writer.pause())


def _after_fork() -> None:
    while _paused:
        _paused.pop().resume()


def _after_fork_in_child() -> None:
    _paused.clear()
    for database in list(_open_databases):
        database.forget_connections()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
