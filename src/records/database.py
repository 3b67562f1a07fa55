"""One way to the database for every process: reads, grouped writes, and one clock.

SQLite: one writer thread in each process groups what waits into one transaction, because its lock is no queue;
reads use connections of their own. PostgreSQL: a pool. No connection crosses a fork.
"""

import os
import queue
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from processors.errors import ServiceUnavailable

Result = TypeVar("Result")

BUSY_TIMEOUT_SECONDS = 10
BUSY_PAUSE_SECONDS = 0.02
CONNECT_TIMEOUT_SECONDS = 3
STATEMENT_TIMEOUT_SECONDS = 60
GROUP_SIZE = 500
WAITING_LIMIT = 20_000


class CommitUnknown(ServiceUnavailable):
    """The connection was lost while a commit was under way: it may or may not have been kept."""


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
        self._writer: _Writer | None = None
        self._lock = threading.Lock()
        _open_databases.add(self)

    def read(self, query: Callable[[Connection], Result]) -> Result:
        """Run `query` on a connection of its own; it sees what was committed before.

        Raises:
            ServiceUnavailable: the database does not answer.
        """
        try:
            with self._engine().connect() as connection:
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
        if self.is_sqlite:
            return self._sqlite_writer().submit(work, durable=durable).result()
        return self._write_pooled(work)

    def write_later(self, work: Callable[[Connection], object]) -> None:
        """Run `work` soon, beside other writes; dropped where too much waits or the database is away."""
        if self.is_sqlite:
            self._sqlite_writer().offer(work)
            return
        with suppress(ServiceUnavailable):
            self._write_pooled(work)

    def close(self) -> None:
        """End the writer thread after what waits was written, and close all connections."""
        writer, self._writer = self._writer, None
        if writer:
            writer.stop()
        reader, self._reader = self._reader, None
        if reader:
            reader.dispose()

    def engine(self) -> Engine:
        """Return the engine that reads; migrations use it."""
        return self._engine()

    def forget_connections(self) -> None:
        """Drop, without closing, what a parent process opened: called in the child right after a fork."""
        self._lock = threading.Lock()
        self._writer = None
        reader, self._reader = self._reader, None
        if reader:
            reader.dispose(close=False)

    def _engine(self) -> Engine:
        with self._lock:
            if self._reader is None:
                self._reader = _sqlite_engine(self.url) if self.is_sqlite else _postgresql_engine(self.url)
            return self._reader

    def _sqlite_writer(self) -> "_Writer":
        with self._lock:
            if self._writer is None:
                self._writer = _Writer(_sqlite_engine(self.url, immediate=True), self._unavailable)
            return self._writer

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
                raise CommitUnknown(
                    f"The database at {self.shown} was lost during a commit: {_cause(error)}"
                ) from error
            raise self._unavailable(error) from error

    def _unavailable(self, error: DBAPIError) -> ServiceUnavailable:
        cure = "make room on its disk, or see that this user may write it" if self.is_sqlite else "check its server"
        return ServiceUnavailable(
            f"The record database {self.shown} does not answer: {_cause(error)}; {cure}, or set DATABASE_URL."
        )


class _Writer:
    """The thread that owns SQLite's one writing connection."""

    def __init__(self, engine: Engine, unavailable: Callable[[DBAPIError], ServiceUnavailable]) -> None:
        self._engine = engine
        self._unavailable = unavailable
        self._jobs: queue.SimpleQueue[tuple[Callable[[Connection], Any], bool, Future[Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="records-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], Result], *, durable: bool) -> Future[Result]:
        future: Future[Result] = Future()
        self._jobs.put((work, durable, future))
        return future

    def offer(self, work: Callable[[Connection], object]) -> None:
        if self._jobs.qsize() < WAITING_LIMIT:
            self._jobs.put((work, False, Future()))

    def stop(self) -> None:
        self._jobs.put(None)
        self._thread.join(BUSY_TIMEOUT_SECONDS)
        self._engine.dispose()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            group = [job]
            ended = False
            with suppress(queue.Empty):
                while len(group) < GROUP_SIZE:
                    waiting = self._jobs.get_nowait()
                    if waiting is None:
                        ended = True
                        break
                    group.append(waiting)
            self._commit(group)
            if ended:
                return

    def _commit(self, group: list[tuple[Callable[[Connection], Any], bool, Future[Any]]]) -> None:
        done: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            with self._engine.connect() as connection:
                durable = any(durable for _, durable, _ in group)
                connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                done = [(future, *_attempt(connection, work)) for work, _, future in group]
                connection.exec_driver_sql("COMMIT")
        except (SQLAlchemyError, OSError) as error:
            failure = self._unavailable(error) if isinstance(error, DBAPIError) else error
            for _, _, future in group:
                future.set_exception(failure)
            return
        for future, result, problem in done:
            if problem is None:
                future.set_result(result)
            else:
                future.set_exception(self._unavailable(problem) if isinstance(problem, OperationalError) else problem)


def _attempt(connection: Connection, work: Callable[[Connection], Any]) -> tuple[Any, BaseException | None]:
    """Run one job of a group so that its failure does not undo its neighbours."""
    connection.exec_driver_sql("SAVEPOINT job")
    try:
        result = work(connection)
    except Exception as error:  # noqa: BLE001 - handed to the caller who waits for this job
        connection.exec_driver_sql("ROLLBACK TO job")
        connection.exec_driver_sql("RELEASE job")
        return None, error
    connection.exec_driver_sql("RELEASE job")
    return result, None


def _sqlite_engine(url: Any, *, immediate: bool = False) -> Engine:
    """Make an engine whose transactions are begun by us, not by the driver."""
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        isolation_level="AUTOCOMMIT" if immediate else None,
        **({"poolclass": NullPool} if url.database in (None, "", ":memory:") else {}),
    )

    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        _use_wal(cursor)
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA journal_size_limit=67108864")
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
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s -c timezone=UTC",
        },
    )


def _cause(error: DBAPIError) -> str:
    return " ".join(str(error.orig or error).split())


def ping(database: Database) -> str:
    """Ask the database for one row; returns its version.

    Raises:
        ServiceUnavailable: it does not answer.
    """
    query = "SELECT 'SQLite ' || sqlite_version()" if database.is_sqlite else "SELECT version()"
    return str(database.read(lambda connection: connection.execute(text(query)).scalar_one()))


_open_databases: "weakref.WeakSet[Database]" = weakref.WeakSet()


def _after_fork() -> None:
    for database in list(_open_databases):
        database.forget_connections()


os.register_at_fork(after_in_child=_after_fork)
