"""PostgreSQL: its connections, and group commit: one pipeline, which the server takes as one transaction."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import psycopg
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError

from records.engines import Engines
from records.grouped_writes import CommitUnknown, Job, Work
from records.prepared import Bound, Row, shared, statements

Result = TypeVar("Result")

POOL_SIZE = 4
"""Connections of a process, its writer's among them: a server has a hundred for all, and each is had for moments."""

CONNECT_TIMEOUT_SECONDS = 3
STATEMENT_TIMEOUT_SECONDS = 60
FROZEN_SECONDS = 5
"""How long the server keeps a transaction, and its locks, of a process that says nothing in the middle of it."""

PATIENCE_SECONDS = STATEMENT_TIMEOUT_SECONDS + 5.0
"""How long a statement may go without its end: a server that works has given it up by itself before."""

PING_SECONDS = 3.0
IDLE_SECONDS = 1.0
"""A connection that was used in so short a time before is taken for alive: to ask would be one more round trip."""

USED = "used"
"""Under this name the pool keeps when a connection was used last."""

LOCK_TIMEOUT_SECONDS = 1
"""How long a group may wait for a row that another session has locked, before each of it is written by itself."""


class PatientConnection(psycopg.Connection[Row]):
    """A connection that waits for its server, but not for ever: one may be frozen while its kernel keeps the line.

    Attributes:
        patience: how long it waits for one answer, in seconds.
    """

    patience = PATIENCE_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer as psycopg does; where none comes in time the connection is lost.

        Raises:
            psycopg.OperationalError: none came.
        """
        until = time.monotonic() + self.patience
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if timeout is not None or time.monotonic() < until:
                raise
            self.pgconn.finish()  # what was asked may be answered at any time, and nobody listens any more
            raise psycopg.OperationalError(f"the server did not answer within {self.patience:.0f} s") from error


def engines(url: Any) -> Engines:
    """Make the engine of a server; it has a pool of connections for all."""
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s -c timezone=UTC"
            f" -c idle_in_transaction_session_timeout={FROZEN_SECONDS}s"
            " -c plan_cache_mode=force_custom_plan",  # a plan made for a small table outlives its smallness
        },
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "checkin", _rest)
    event.listen(engine, "checkout", _wake)
    return Engines(engine, engine)


def unsynced(work: Callable[[Connection], Result]) -> Callable[[Connection], Result]:
    """Return work whose commit does not wait for the server's disk, which has it within a second."""

    def begin(connection: Connection) -> Result:
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
        return work(connection)

    return begin


def _connect(_dialect: Any, _record: Any, given: Any, named: Any) -> PatientConnection:
    return PatientConnection.connect(*given, **named)


def _rest(_connection: object, record: Any) -> None:
    record.info[USED] = time.monotonic()


def _wake(connection: PatientConnection, record: Any, _proxy: object) -> None:
    """See whether the server is still there, where a connection was not used just now."""
    if time.monotonic() - record.info.get(USED, math.inf) > IDLE_SECONDS and not _answers(connection):
        raise InvalidatePoolError  # all others are as old: the pool opens a new one


def _answers(connection: PatientConnection) -> bool:
    """Ask the server for nothing; an answer is worth a short wait only."""
    connection.patience = PING_SECONDS
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error:
        return False
    finally:
        connection.patience = PATIENCE_SECONDS
    return True


class PostgresqlCommits:
    """Commits groups over one connection: their statements go out together, as one transaction.

    Args:
        connect: returns a connection whose statements commit by themselves.
        alone: commits one work in a transaction of its own.
        unavailable: makes the error of a database that does not answer.
        unknown: makes the error of a commit whose answer was lost.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        alone: Callable[[Work], Any],
        unknown: Callable[[Exception], CommitUnknown],
    ) -> None:
        self._connect = connect
        self._alone = alone
        self._unknown = unknown
        self._connection: Connection | None = None
        self._used = 0.0

    def commit(self, group: Sequence[Job]) -> None:
        """Commit these in one transaction; where one fails, each by itself."""
        raw = self._ready()
        try:
            results = _run(raw, group)
        except psycopg.Error as error:
            if raw.broken:
                self.close()
                raise self._unknown(error) from error
            if raw.closed:
                self.close()
            self._each_alone(group)
        except BaseException:  # such as Ctrl-C: what was sent is unanswered
            self.close()
            raise
        else:
            for job, result in zip(group, results, strict=True):
                job.result = result
        self._used = time.monotonic()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _ready(self) -> PatientConnection:
        """Return the connection, a new one where a server that went away has cut the old one meanwhile."""
        idle = time.monotonic() - self._used > IDLE_SECONDS
        if self._connection is not None and idle and not _answers(_driver(self._connection)):
            self.close()
        if self._connection is None:
            self._connection = self._connect()
        return _driver(self._connection)

    def _each_alone(self, group: Sequence[Job]) -> None:
        for job in group:
            try:
                job.result = self._alone(partial(_waiting_briefly, job.work))
            except Exception as error:  # noqa: BLE001 - handed to the caller who waits for this job
                job.error = error


def is_deadlock(error: DBAPIError) -> bool:
    """Tell whether a transaction was ended so that another one could go on."""
    return isinstance(error.orig, psycopg.errors.DeadlockDetected)


def is_locked_out(error: DBAPIError) -> bool:
    """Tell whether a statement was ended because another session kept what it needs for longer than it would wait."""
    return isinstance(error.orig, psycopg.errors.LockNotAvailable)


def _waiting_briefly(work: Work, connection: Connection) -> Any:
    """Do this, and wait for nobody else's lock for long: whoever comes after it in the group waits as well."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
    return work(connection)


def pipelined(bounds: Sequence[Bound]) -> Callable[[Connection], list[list[Row]]]:
    """Return what runs these in one go: none waits for the answer to the one before.

    It returns the rows of each.
    """

    def work(connection: Connection) -> list[list[Row]]:
        for bound in bounds:
            if bound.forms is None:
                bound.bind(connection.dialect)
        connection.begin()  # what goes past SQLAlchemy begins nothing that it could commit
        raw, sent = _driver(connection), list(statements(bounds))
        try:
            with raw.pipeline():
                cursors = [raw.execute(cast("Any", one.text), one.parameters) for one in sent]
        except psycopg.Error as error:
            raise DBAPIError.instance(None, None, error, psycopg.Error, dialect=connection.dialect) from error
        return shared(bounds, sent, [cursor.fetchall() if cursor.description else [] for cursor in cursors])

    return work


def _driver(connection: Connection) -> PatientConnection:
    return cast("PatientConnection", connection.connection.driver_connection)


def _run(raw: PatientConnection, group: Sequence[Job]) -> list[list[Row]]:
    """Send all statements in one go: up to the pipeline's end they are one transaction of the server's own.

    Where one cannot be sent the connection is closed: the pipeline's end would commit those before it.
    """
    bounds = [cast("Bound", job.work) for job in group]
    sent = list(statements(bounds))
    if len(sent) == 1:
        cursors = [raw.execute(cast("Any", sent[0].text), sent[0].parameters)]
    else:
        with raw.pipeline():
            try:
                cursors = [raw.execute(cast("Any", one.text), one.parameters) for one in sent]
            except BaseException:
                raw.close()
                raise
    return shared(bounds, sent, [cursor.fetchall() if cursor.description else [] for cursor in cursors])
