"""One way to the database for every process: reads, grouped writes, and one clock.

One writer thread in each process groups what waits into one transaction (`records.grouped_writes`); who writes alone
may do so without it. Reads use connections of their own, and so does on PostgreSQL a write of several statements. No
connection crosses a fork.
"""

import atexit
import random
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cached_property
from importlib import import_module
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from processors.errors import ServiceUnavailable
from records.engines import Engines
from records.forks import forks
from records.grouped_writes import Commits, CommitUnknown, Job, Writer
from records.prepared import ROWS_AT_ONCE, Bound, Row

Result = TypeVar("Result")

AWAY = (DBAPIError, PoolTimeout)

DEADLOCK_TRIES = 5
DEADLOCK_PAUSE_SECONDS = 1.0
"""The other transaction needs a moment to end; by chance, so that two do not go on getting in each other's way."""


class RowLocked(ServiceUnavailable):
    """Another session kept a row for longer than a write that sets PostgreSQL's `lock_timeout` would wait for it."""


class Database:
    """The record database of one installation.

    Args:
        url: an SQLAlchemy URL, `sqlite:///…` or `postgresql+psycopg://…`.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.kind = self.url.get_backend_name()
        self.is_sqlite = self.kind == "sqlite"
        self.shown = self.url.render_as_string(hide_password=True)
        self._engines: Engines | None = None
        self._writer: Writer | None = None
        self._commits: weakref.WeakSet[Any] = weakref.WeakSet()  # of writers that end, too
        self._for_children: Engines | None = None
        self._left_to_parent: list[object] = []
        self._lock = threading.RLock()  # a signal's handler may read or write, too
        forks.databases.add(self)
        _open_databases.add(self)

    def read(self, query: Callable[[Connection], Result]) -> Result:
        """Run `query` on a connection of its own; it sees what was committed before.

        Raises:
            ServiceUnavailable: the database does not answer.
        """
        try:
            with self.using(), self._reading() as connection:
                return query(connection)
        except DataError:
            raise  # the value's fault: the database answers
        except AWAY as error:
            raise self._unavailable(error) from error

    def write(self, work: Callable[[Connection], Result], *, durable: bool = True, lossy: bool = False) -> Result:
        """Run `work` in a transaction and return once it is committed.

        Args:
            work: changes rows; may run in another thread, and alone or beside other writes.
            durable: on SQLite, whether the commit must survive a power cut (`FULL`) or only a crash (`NORMAL`).
            lossy: on PostgreSQL, whether a crash of its server may undo the last second's such writes, so that none
                waits for its disk.

        Raises:
            ServiceUnavailable: the database does not answer; nothing was written.
            CommitUnknown: the answer to the commit was lost.
        """
        if lossy and not self.is_sqlite:
            return self._write_pooled(self._own.unsynced(work))
        if isinstance(work, Bound) and not work.forms:
            work.bind(self._engine().dialect)
        if not self.is_sqlite and isinstance(work, Bound) and len(work) > ROWS_AT_ONCE:
            return self._write_pooled(lambda connection: self._own.pipelined([work])(connection)[0])
        if not self.is_sqlite and not isinstance(work, Bound):
            return self._write_pooled(work)
        job = Job(work, durable=durable, waits=True)
        # A submit is durable. The starts and ends of a worker are not: they go together, and their threads run tasks.
        if not (durable and self._one_writer().commit_alone(job)):
            self._hand_over(job)
        return job.outcome()

    def write_together(
        self, works: Sequence[Bound], check: Callable[[Sequence[Sequence[Row]]], Result], *, durable: bool = True
    ) -> Result:
        """Run several statements in one transaction, which `check` may undo; returns what that returns.

        Args:
            works: run in this order.
            check: told the rows of each; what it raises undoes them all.
            durable: as for `write`.

        Raises:
            ServiceUnavailable: as `write`.
            CommitUnknown: as `write`.
        """
        if self.is_sqlite:
            return self.write(lambda connection: check([work(connection) for work in works]), durable=durable)
        run = self._own.pipelined(works)
        return self._write_pooled(lambda connection: check(run(connection)))

    def write_later(self, work: Callable[[Connection], object]) -> None:
        """Run `work` soon, beside other writes; dropped where too much waits or the database is away."""
        if isinstance(work, Bound):
            for piece in work.pieces():
                piece.bind(self._engine().dialect)
                self._one_writer().offer(piece)
        elif self.is_sqlite:
            self._one_writer().offer(work)
        else:
            with suppress(ServiceUnavailable):
                self._write_pooled(work)

    def write_then(self, work: Bound, then: Callable[[list[Row], BaseException | None], None]) -> None:
        """Run `work` as `write` does, but return at once.

        Args:
            work: changes rows; its commit need not survive a power cut.
            then: called, in another thread, with the rows or the error that `write` would have raised; must not raise.
        """
        work.bind(self._engine().dialect)
        job = Job(work, durable=False, waits=True, then=lambda done: then(done.result or [], done.error))
        self._hand_over(job)

    def close(self) -> None:
        """End the writer thread after what waits was written, and close all connections."""
        with self._lock:
            writer, self._writer = self._writer, None
        if writer:
            writer.stop()
        if self._engines:
            with self.using():
                self._engines.dispose()

    def disconnect(self) -> None:
        """Close all connections to SQLite before a fork: nobody uses one. PostgreSQL's need not be closed."""
        if self.is_sqlite:
            for commits in list(self._commits):
                commits.disconnect()
            if self._engines:
                self._engines.dispose()

    def using(self) -> AbstractContextManager[None]:
        """Use connections in here: where they are to SQLite, forks wait for it."""
        return forks.using() if self.is_sqlite else nullcontext()

    def engine(self) -> Engine:
        """Return the engine that reads; migrations use it."""
        return self._engine()

    def prepare_children(self) -> None:
        """Do before a fork what each child would do, so that they share what comes of it; leaves nothing open.

        This process and its children get engines of their own, all ready but for the connection.

        Raises:
            ServiceUnavailable: the database does not answer.
        """
        self.close()
        ours, theirs = self._made(), self._own.engines(self.url)
        try:
            with self.using():
                ours.make_ready()
                theirs.make_ready()
        except DBAPIError as error:
            raise self._unavailable(error) from error
        self._for_children = theirs

    def forget_connections(self) -> None:
        """Drop, without closing, what a parent process opened: called in the child right after a fork."""
        self._lock = threading.RLock()
        self._left_to_parent += [*self._commits, self._engines]  # nothing that dies here may close the parent's files
        self._writer, self._commits = None, weakref.WeakSet()
        self._engines, self._for_children = self._for_children, None

    @cached_property
    def _own(self) -> Any:
        """What is this kind of database's own; the other one's driver is not loaded."""
        return import_module(f"records.{self.kind}")

    def _engine(self) -> Engine:
        return self._made().reader

    def _made(self) -> Engines:
        made = self._engines
        if made is None:
            with forks.using(), self._lock:  # a child would have what is imported here by half
                made = self._engines = self._engines or self._own.engines(self.url)
        return made

    def _reading(self) -> Connection:
        """Return a connection for one read; each statement of PostgreSQL sees what was committed before it anyway."""
        connection = self._engine().connect()
        return connection if self.is_sqlite else connection.execution_options(isolation_level="AUTOCOMMIT")

    def _one_writer(self) -> Writer:
        writer = self._writer
        if writer is None:
            with forks.using(), self._lock:
                writer = self._writer = self._writer or Writer(self._new_commits())
        return writer

    def _hand_over(self, job: Job) -> None:
        while not self._one_writer().take(job):  # it was closed by another thread just now
            pass

    def _new_commits(self) -> Commits:
        if self.is_sqlite:
            commits = self._own.SqliteCommits(self._made().writer, self._unavailable)
        else:
            commits = self._own.PostgresqlCommits(self._connected, self._write_pooled, self._unknown)
        self._commits.add(commits)
        return commits

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
            connection.exec_driver_sql(f"SET lock_timeout = '{self._own.LOCK_TIMEOUT_SECONDS}s'")
        except AWAY as error:
            raise self._unavailable(error) from error
        return connection

    def _write_pooled(self, work: Callable[[Connection], Result], tries: int = DEADLOCK_TRIES) -> Result:
        committing = False
        try:
            with self._engine().connect() as connection:
                result = work(connection)
                committing = True
                connection.commit()
                return result
        except (IntegrityError, DataError):
            raise  # the value's fault: trying again cannot help
        except AWAY as error:
            if committing:
                raise self._unknown(error) from error
            if tries > 1 and isinstance(error, DBAPIError) and self._own.is_deadlock(error):
                time.sleep(random.uniform(0, DEADLOCK_PAUSE_SECONDS))  # noqa: S311 - no secret
                return self._write_pooled(work, tries - 1)
            if isinstance(error, DBAPIError) and self._own.is_locked_out(error):
                raise RowLocked(str(self._unavailable(error))) from error
            raise self._unavailable(error) from error

    def _unknown(self, error: Exception) -> CommitUnknown:
        return CommitUnknown(f"The database at {self.shown} was lost during a commit: {_cause(error)}")

    def _unavailable(self, error: Exception) -> ServiceUnavailable:
        cure = "make room on its disk, or see that this user may write it" if self.is_sqlite else "check its server"
        return ServiceUnavailable(
            f"The record database {self.shown} does not answer: {_cause(error)}; {cure}, or set DATABASE_URL."
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


def _close_all() -> None:
    """Write what waits before the process ends: a short program would leave what it published unmarked."""
    for database in list(_open_databases):
        database.close()


atexit.register(_close_all)
