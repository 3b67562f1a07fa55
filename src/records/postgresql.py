"""PostgreSQL: its connections, and group commit: one pipeline, which the server takes as one transaction."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import psycopg
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError

from records.engines import Engines
from records.grouped_writes import CommitUnknown, Job, Work
from records.prepared import Bound, Row, shared, statements

CONNECT_TIMEOUT_SECONDS = 3
STATEMENT_TIMEOUT_SECONDS = 60
FROZEN_SECONDS = 5
"""How long the server keeps a transaction, and its locks, of a process that says nothing in the middle of it."""

IDLE_SECONDS = 1.0
LOCK_TIMEOUT_SECONDS = 1
"""How long a group may wait for a row that another session has locked, before each of it is written by itself."""


def engines(url: Any) -> Engines:
    """Make the engine of a server; it has a pool of connections for all."""
    engine = create_engine(
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
            f" -c idle_in_transaction_session_timeout={FROZEN_SECONDS}s"
            " -c plan_cache_mode=force_custom_plan",  # a plan made for a small table outlives its smallness
        },
    )
    return Engines(engine, engine)


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

    def _ready(self) -> psycopg.Connection[Row]:
        """Return the connection, a new one where a server that went away has cut the old one meanwhile."""
        if self._connection is not None and time.monotonic() - self._used > IDLE_SECONDS:
            try:
                _driver(self._connection).execute("SELECT 1")
            except psycopg.Error:
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


def _waiting_briefly(work: Work, connection: Connection) -> Any:
    """Do this, and wait for nobody else's lock for long: whoever comes after it in the group waits as well."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
    return work(connection)


def pipelined(bound: Bound) -> Callable[[Connection], list[Row]]:
    """Return what runs a statement of many rows: the server works on some while the next are made ready."""

    def work(connection: Connection) -> list[Row]:
        connection.begin()  # what goes past SQLAlchemy begins nothing that it could commit
        raw = _driver(connection)
        try:
            with raw.pipeline():
                cursors = [raw.execute(cast("Any", one.text), one.parameters) for one in statements([bound])]
        except psycopg.Error as error:
            raise DBAPIError.instance(None, None, error, psycopg.Error, dialect=connection.dialect) from error
        return [row for cursor in cursors if cursor.description for row in cursor.fetchall()]

    return work


def _driver(connection: Connection) -> psycopg.Connection[Row]:
    return cast("psycopg.Connection[Row]", connection.connection.driver_connection)


def _run(raw: psycopg.Connection[Row], group: Sequence[Job]) -> list[list[Row]]:
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
