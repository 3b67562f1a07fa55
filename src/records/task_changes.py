"""Which tasks changed a moment ago, for who looks on: read from the records by their own indexes, and kept nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, select

from records.columns import Now, instant
from records.database import Database
from records.task_records import RUNNING, TaskState, columns

SEEN = (
    "id",
    "name",
    "category",
    "queue",
    "state",
    "created_at",
    "due_at",
    "started_at",
    "finished_at",
    "attempt",
    "run",
    "progress",
    "progress_text",
    "is_parent",
    "worker",
    "tenant",
    "error",
    "error_type",
)
"""What is read of each: no arguments and no results, which may be large."""


@dataclass(frozen=True, slots=True)
class WantedChanges:
    """Of which tasks; what is empty or None does not matter."""

    states: tuple[str, ...] = ()
    category: str | None = None
    name: str | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class ChangedTask:
    """A task as it was read."""

    id: str
    name: str
    category: str
    queue: str
    state: str
    created_at: datetime
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    run: int
    progress: float
    progress_text: str | None
    is_parent: bool
    worker: str | None
    tenant: str | None
    error: str | None
    error_type: str | None


class TaskChanges:
    """Reads what changed lately."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def now(self) -> datetime:
        """Return the moment by the database's clock."""
        return self.database.read(_now)

    def since(self, moment: datetime, wanted: WantedChanges, limit: int) -> tuple[datetime, list[ChangedTask], bool]:
        """Return what was submitted or has ended since a moment, and what runs now or waits for its next attempt.

        Args:
            moment: by the database's clock.
            wanted: which tasks.
            limit: at most so many of each of these kinds, the newest.

        Returns:
            The moment of this look, the tasks in the order of their ids, and whether there were more.
        """
        queries = [_query(kind, wanted, limit) for kind in _kinds(moment)]

        def work(connection: Connection) -> tuple[datetime, list[Sequence[Row[Any]]]]:
            return _now(connection), [connection.execute(query).all() for query in queries]

        now, found = self.database.read(work)
        rows = {row[0]: ChangedTask(*row) for kind in found for row in kind}
        return now, [rows[one] for one in sorted(rows)], any(len(kind) == limit for kind in found)


def _now(connection: Connection) -> datetime:
    return instant(connection.execute(select(Now())).scalar_one())


def _kinds(moment: datetime) -> list[tuple[ColumnElement[bool], ColumnElement[Any]]]:
    """Return the conditions, and by what the newest are found; each is a range of an index."""
    retried = and_(columns.state == TaskState.RETRY.value, columns.started_at >= moment)
    return [
        (columns.created_at >= moment, columns.created_at),
        (columns.finished_at >= moment, columns.finished_at),
        (columns.state.in_([one.value for one in RUNNING]), columns.created_at),
        (retried, columns.created_at),
    ]


def _query(kind: tuple[ColumnElement[bool], ColumnElement[Any]], wanted: WantedChanges, limit: int) -> Select[Any]:
    condition, order = kind
    query = select(*(columns[name] for name in SEEN)).where(condition, *_conditions(wanted))
    return query.order_by(order.desc(), columns.id.desc()).limit(limit)


def _conditions(wanted: WantedChanges) -> list[ColumnElement[bool]]:
    names = ("category", "name", "queue")
    found = [columns[name] == value for name in names if (value := getattr(wanted, name)) is not None]
    if wanted.states:
        found.append((columns.state + "").in_(wanted.states))  # no column, or SQLite takes the index of states for it
    return found
