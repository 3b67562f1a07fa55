"""A row for each minute and queue: how many tasks came and ended in it, how long they waited and ran, and what waited.

A minute is counted once, from the records by their own indexes, when nothing of it can come late any more. So no task
pays for it, and what is counted twice is the same row. What waits no record tells later: whoever counts looks at it as
each minute begins, and where nobody looked, that is not known.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Float, Integer, RowMapping, String, Table, delete, func, literal, select

from processors import task_figures
from records.columns import Instant, Json, Now, metadata
from records.database import Database
from records.insertion import insert_into
from records.leadership import Lead
from records.task_following import check_lead, settled_until
from records.task_records import TaskRecords, TaskState, columns

MINUTE = timedelta(minutes=1)
FIRST_MINUTES = 60
"""So far back a new table begins: what was before is in the records."""

task_minutes = Table(
    "task_minutes",
    metadata,
    Column("minute", Instant, primary_key=True),
    Column("queue", String(255), primary_key=True),
    Column("created", Integer, nullable=False),
    Column("succeeded", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("cancelled", Integer, nullable=False),
    Column("waits", Json, nullable=False),  # counts by `processors.task_figures.STEPS`
    Column("runs", Json, nullable=False),
    Column("depth", Integer),
    Column("oldest_age_seconds", Float),
)
minutes = task_minutes.c

NOBODY = ""
"""The queue of the row that says that a minute was counted, also where nothing was in it, and what waited in all."""

Waiting = Mapping[str, Mapping[str, Any]]
"""By queue `depth` and `oldest_age_seconds`, as `TaskRecords.queue_figures` has them."""

ENDS = {TaskState.SUCCESS: "succeeded", TaskState.FAILURE: "failed", TaskState.REVOKED: "cancelled"}


@dataclass
class Figures:
    """What was counted of one minute and queue."""

    created: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    waits: list[int] = field(default_factory=task_figures.none)
    runs: list[int] = field(default_factory=task_figures.none)
    depth: int | None = None
    oldest_age_seconds: float | None = None

    def end(self, row: Any) -> None:
        """Count a task that ended."""
        name = ENDS[TaskState(row.state)]
        setattr(self, name, getattr(self, name) + 1)
        if row.started_at is not None and not row.is_parent:
            task_figures.count(self.runs, (row.finished_at - row.started_at).total_seconds())
            if row.started_at >= row.due_at:
                task_figures.count(self.waits, (row.started_at - row.due_at).total_seconds())


class TaskMinutes:
    """Counts minutes, and tells them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._looks: dict[datetime, Waiting] = {}
        self._look_at = 0.0

    def look(self) -> None:
        """Look at what waits, once in each minute; it is kept until the minute is counted."""
        if time.monotonic() < self._look_at:
            return
        now, waiting = self.database.read(_now), TaskRecords(self.database).queue_figures()
        minute = _minute_of(now)
        self._looks = {at: look for at, look in self._looks.items() if at <= minute < at + MINUTE * FIRST_MINUTES}
        self._looks.setdefault(minute, waiting)
        self._look_at = time.monotonic() + (minute + MINUTE - now).total_seconds()

    def count_next(self, lead: Lead | None = None) -> bool:
        """Count the oldest minute that was not counted yet and is over; False where there is none."""
        last, over = self.database.read(_last_and_over)
        if last is not None and last >= over + MINUTE:  # the clock was set back: these are counted when they are over
            self._write(delete(task_minutes).where(minutes.minute >= literal(over + MINUTE, minutes.minute.type)), lead)
            return True
        first = _minute_of(over) - MINUTE * FIRST_MINUTES
        found = first if last is None else max(first, last + MINUTE)
        if found + MINUTE > over:
            return False
        counted = self.database.read(lambda connection: _counted(connection, found))
        rows = _with_waiting(counted, self._looks.get(found))
        given = insert_into(task_minutes, self.database.kind).on_conflict_do_nothing()
        self._write(given, lead, [{"minute": found, "queue": queue, **vars(one)} for queue, one in rows.items()])
        return True

    def since(self, hours: float) -> Sequence[RowMapping]:
        """Return the rows of so many hours, the oldest first."""
        query = (
            select(task_minutes)
            .where(minutes.minute > Now(-hours * 3600), minutes.queue != NOBODY)
            .order_by(minutes.minute, minutes.queue)
        )
        return self.database.read(lambda c: c.execute(query).mappings().all())

    def looks(self, hours: float) -> Sequence[RowMapping]:
        """Return what waited in all, in each minute of so many hours in which somebody looked, the oldest first."""
        looked = minutes.minute > Now(-hours * 3600), minutes.queue == NOBODY, minutes.depth.is_not(None)
        query = (
            select(minutes.minute, minutes.depth, minutes.oldest_age_seconds).where(*looked).order_by(minutes.minute)
        )
        return self.database.read(lambda c: c.execute(query).mappings().all())

    def counted(self, hours: float) -> tuple[datetime, datetime] | None:
        """Return the first and the last minute of so many hours that were counted; None where none was."""
        query = select(func.min(minutes.minute), func.max(minutes.minute)).where(minutes.minute > Now(-hours * 3600))
        first, last = self.database.read(lambda c: c.execute(query).one())
        return None if first is None else (first, last)

    def prune(self, days: float) -> None:
        """Remove what is older than so many days."""
        old = delete(task_minutes).where(minutes.minute < Now(-days * 86_400))
        self.database.write(lambda c: c.execute(old), durable=False)

    def _write(self, statement: Any, lead: Lead | None, values: Sequence[Any] = ()) -> None:
        def work(connection: Connection) -> None:
            check_lead(connection, lead)
            connection.execute(statement, values or None)

        self.database.write(work, durable=False, lossy=True)


def _now(connection: Connection) -> datetime:
    return connection.execute(select(Now())).scalar_one()


def _last_and_over(connection: Connection) -> tuple[datetime | None, datetime]:
    """Return the last minute that was counted, and the moment until which all is over."""
    return connection.execute(select(func.max(minutes.minute))).scalar(), settled_until(connection)


def _minute_of(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _counted(connection: Connection, minute: datetime) -> defaultdict[str, Figures]:
    found: defaultdict[str, Figures] = defaultdict(Figures)
    found[NOBODY] = Figures()
    created = select(columns.queue, func.count()).where(*_in(columns.created_at, minute)).group_by(columns.queue)
    for queue, some in connection.execute(created):
        found[queue].created = some
    ended = select(
        columns.queue, columns.state, columns.due_at, columns.started_at, columns.finished_at, columns.is_parent
    ).where(*_in(columns.finished_at, minute))
    for row in connection.execute(ended):
        found[row.queue].end(row)
    return found


def _with_waiting(found: defaultdict[str, Figures], waiting: Waiting | None) -> Mapping[str, Figures]:
    """Add what waited in each queue and in all; nothing where nobody looked."""
    if waiting is None:
        return found
    for queue, one in waiting.items():
        if one["depth"]:
            found[queue].depth, found[queue].oldest_age_seconds = one["depth"], one["oldest_age_seconds"]
    for figures in found.values():
        figures.depth = figures.depth or 0
    ages = [one.oldest_age_seconds for one in found.values() if one.oldest_age_seconds is not None]
    found[NOBODY].depth = sum(one.depth or 0 for one in found.values())
    found[NOBODY].oldest_age_seconds = max(ages, default=None)
    return found


def _in(column: Any, minute: datetime) -> tuple[Any, Any]:
    return column >= literal(minute, column.type), column < literal(minute + MINUTE, column.type)
