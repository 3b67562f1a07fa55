"""The rows of working processes: who lives, who is dead, by the database's clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    FromClause,
    Index,
    Integer,
    String,
    Table,
    and_,
    delete,
    false,
    insert,
    or_,
    select,
    update,
)

from records.columns import Instant, Now, metadata
from records.database import Database
from records.leadership import Lead, leads
from records.prepared import Given, GivenRows, Prepared

RENEW_SECONDS = 2
DEAD_SECONDS = 8
KEEP_SECONDS = 24 * 3600

workers = Table(
    "workers",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255), nullable=False),  # Celery's node name
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("parent_pid", Integer, nullable=False),  # the worker whose child it is
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("stopped_at", Instant),
    Column("lost", Boolean, nullable=False),  # it fell silent instead of saying goodbye
    Column("memory_mb", Integer),  # the most that it had held when it was last seen
    Column("exit_code", Integer),  # as its parent saw it; below 0: the signal that ended it
    Column("overrun", String(255)),  # a task that was given up and goes on in it
)

Index("ix_workers_stopped_at", workers.c.stopped_at, workers.c.seen_at)


def _values(value: Given) -> dict[str, Any]:
    return {
        "id": value("worker_id", String()),
        "name": value("name", String()),
        "host": value("host", String()),
        "pid": value("pid", Integer()),
        "parent_pid": value("parent_pid", Integer()),
        "memory_mb": value("memory_mb", Integer()),
        "lost": false(),
        "started_at": Now(),
        "seen_at": Now(),
    }


def _start_many(rows: GivenRows) -> Any:
    values = _values(rows)
    return insert(workers).from_select(list(values), select(*values.values()).select_from(rows.source))


START = Prepared(lambda value: insert(workers).values(_values(value)), "worker_id", _start_many)
RENEW = Prepared(
    lambda value: (
        update(workers)
        .where(workers.c.id == value("worker_id", String()), workers.c.stopped_at.is_(None))
        .values(seen_at=Now(), memory_mb=value("memory_mb", Integer()), overrun=value("overrun", String()))
        .returning(workers.c.id)
    ),
    "worker_id",
)


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A working process as it was read."""

    id: str
    name: str
    host: str
    pid: int
    parent_pid: int
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None
    lost: bool
    memory_mb: int | None
    exit_code: int | None
    overrun: str | None


def alive(table: FromClause = workers) -> ColumnElement[bool]:
    """Tell in SQL whether a row of `workers` (or of an alias of it) is that of a living process."""
    return and_(table.c.stopped_at.is_(None), table.c.seen_at > Now(-DEAD_SECONDS))


class Workers:
    """Keeps the rows of working processes."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def start(
        self, worker_id: str, name: str, host: str, pid: int, parent_pid: int, memory_mb: int | None = None
    ) -> None:
        """Announce a working process, before it claims anything."""
        start = START(worker_id=worker_id, name=name, host=host, pid=pid, parent_pid=parent_pid, memory_mb=memory_mb)
        self.database.write(start, durable=False)

    def renew(self, worker_id: str, memory_mb: int | None = None, overrun: str | None = None) -> bool:
        """Say that the process lives; False when it had been declared dead and must take a new id.

        Args:
            worker_id: its row.
            memory_mb: the most memory that it has held, in MB.
            overrun: a task that was given up and goes on in it.
        """
        renewal = RENEW(worker_id=worker_id, memory_mb=memory_mb, overrun=overrun)
        return bool(self.database.write(renewal, durable=False))

    def stop(self, worker_id: str) -> None:
        """Say goodbye: what it left is taken back at once."""
        statement = update(workers).where(workers.c.id == worker_id, workers.c.stopped_at.is_(None))
        self.database.write(lambda c: c.execute(statement.values(stopped_at=Now())), durable=False)

    def stop_children(self, name: str, host: str, parent_pid: int) -> None:
        """Say goodbye for all children of a worker that has ended its pool.

        Its node name tells it from another one: in containers with one host name each is process 1.
        """
        c = workers.c
        statement = update(workers).where(
            c.name == name, c.host == host, c.parent_pid == parent_pid, c.stopped_at.is_(None)
        )
        self.database.write(lambda c: c.execute(statement.values(stopped_at=Now())), durable=False)

    def note_exit(self, name: str, host: str, parent_pid: int, pid: int, exit_code: int) -> None:
        """Note how a process ended that said no goodbye: evidence for what it ran.

        Args:
            name: its worker's node name, as for `stop_children`.
            host: its machine.
            parent_pid: the worker whose child it was.
            pid: its process.
            exit_code: as Python tells it: below 0 it is the signal that ended it.
        """
        c = workers.c
        child = and_(c.name == name, c.host == host, c.parent_pid == parent_pid, c.pid == pid)
        unsaid = and_(c.exit_code.is_(None), or_(c.stopped_at.is_(None), c.lost))
        statement = update(workers).where(child, unsaid).values(exit_code=exit_code)
        self.database.write(lambda c: c.execute(statement), durable=False)

    def bury(self, lead: Lead) -> list[str]:
        """Declare dead who has been silent too long, if this lead is held; returns their ids."""
        statement = (
            update(workers)
            .where(leads(*lead), workers.c.stopped_at.is_(None), workers.c.seen_at <= Now(-DEAD_SECONDS))
            .values(stopped_at=Now(), lost=True)
            .returning(workers.c.id)
        )
        return list(self.database.write(lambda c: c.execute(statement).scalars().all(), durable=False))

    def living(self) -> Sequence[WorkerRow]:
        """Return the processes that live."""
        query = select(workers).where(alive()).order_by(workers.c.name, workers.c.pid)
        return [WorkerRow(**dict(row)) for row in self.database.read(lambda c: c.execute(query).mappings().all())]

    def died(self, limit: int) -> Sequence[WorkerRow]:
        """Return the processes that said no goodbye, as far back as rows are kept, the newest first."""
        c = workers.c
        died = and_(c.stopped_at.is_not(None), or_(c.lost, c.exit_code.is_not(None)))
        query = select(workers).where(died).order_by(c.stopped_at.desc(), c.id).limit(limit)
        return [WorkerRow(**dict(row)) for row in self.database.read(lambda c: c.execute(query).mappings().all())]

    def prune(self) -> int:
        """Remove the rows of processes that ended over a day ago."""
        statement = delete(workers).where(workers.c.stopped_at < Now(-KEEP_SECONDS)).returning(workers.c.id)
        return len(self.database.write(lambda c: c.execute(statement).scalars().all(), durable=False))
