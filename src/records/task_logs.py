"""What tasks logged while they ran: a row per line, kept with the record and removed with it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    cast,
    exists,
    func,
    insert,
    select,
    tuple_,
)

from records.columns import Instant, Now, PlainText, metadata
from records.database import Database
from records.prepared import Given, GivenRows, Prepared
from records.task_records import columns

ROW_BYTES = 100
"""What a line takes beside its text; without it a million empty lines would be nothing."""

task_logs = Table(
    "task_logs",
    metadata,
    Column("task_id", String(255), primary_key=True),
    Column("run", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", Instant, nullable=False),  # by the worker's clock
    Column("level", PlainText, nullable=False),
    Column("logger", PlainText, nullable=False),
    Column("text", PlainText, nullable=False),
)

Index("ix_task_logs_at", task_logs.c.at)

NOTED = "attempts"
"""The logger of what the service itself notes of a task's attempts."""

RUN_PLACES = 1 << 32
"""Places that the lines of one run take; see `LogLine.place`."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line as it was read."""

    task_id: str
    run: int
    number: int
    at: datetime
    level: str
    logger: str
    text: str

    @property
    def place(self) -> int:
        """Where it is among its task's lines: a later one has a higher place."""
        return self.run * RUN_PLACES + self.number


def _insertion(value: Given, rows: GivenRows | None = None) -> Any:
    """Return what writes a line, if its record is there still: it may have been removed while the line waited."""
    values = {column.name: value(column.name, column.type) for column in task_logs.c}
    lines = select(*values.values()).where(exists().where(columns.id == values["task_id"]))
    return insert(task_logs).from_select(list(values), lines if rows is None else lines.select_from(rows.source))


KEEP = Prepared(_insertion, build_for_rows=lambda rows: _insertion(rows, rows), in_key_order=False)


class TaskLogs:
    """Keeps and finds what tasks logged."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def keep(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write these lines soon; dropped where too much waits or the database is away.

        Args:
            lines: the columns' values of each.
        """
        self.database.write_later(KEEP.many(lines))

    def kept_bytes(self, task_id: str) -> int:
        """Return what the lines of a task take."""
        text = task_logs.c.text
        size: ColumnElement[int] = (
            func.length(cast(text, LargeBinary)) if self.database.is_sqlite else func.octet_length(text)
        )
        query = select(func.coalesce(func.sum(size + ROW_BYTES), 0)).where(task_logs.c.task_id == task_id)
        return int(self.database.read(lambda c: c.execute(query).scalar_one()))

    def last_places(self, task_ids: Collection[str]) -> dict[str, int]:
        """Return the place of the last line of each of these tasks that has one."""
        c = task_logs.c
        place = select(cast(c.run, BigInteger) * RUN_PLACES + c.number).where(c.task_id == columns.id)
        last = place.order_by(c.run.desc(), c.number.desc()).limit(1).scalar_subquery()
        query = select(columns.id, last).where(columns.id.in_(task_ids))
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return {task_id: found for task_id, found in rows if found}

    def of(
        self,
        task_id: str,
        limit: int,
        search: str | None = None,
        levels: Collection[str] | None = None,
        after: int = 0,
    ) -> list[LogLine]:
        """Return the last lines of a task, in their order.

        Args:
            task_id: whose.
            limit: at most so many.
            search: of those alone that contain this text, in whatever case.
            levels: of these levels alone.
            after: of those alone that are behind this place.
        """
        c = task_logs.c
        query = select(task_logs).where(c.task_id == task_id)
        if after:
            query = query.where(tuple_(c.run, c.number) > tuple_(*divmod(after, RUN_PLACES)))
        if search:
            query = query.where(c.text.icontains(search, autoescape=True))
        if levels is not None:
            query = query.where(c.level.in_(list(levels)))
        return self._lines(query.order_by(c.run.desc(), c.number.desc()).limit(limit))[::-1]

    def noted(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the last lines that the service noted of a task's attempts, in their order."""
        c = task_logs.c
        query = select(task_logs).where(c.task_id == task_id, c.logger == NOTED)
        return self._lines(query.order_by(c.run.desc(), c.number.desc()).limit(limit))[::-1]

    def search(self, search: str, max_age_hours: float, limit: int) -> list[LogLine]:
        """Return lines of all tasks that contain this text, in whatever case, the newest first."""
        c = task_logs.c
        query = (
            select(task_logs)
            .where(c.at > Now(-max_age_hours * 3600), c.text.icontains(search, autoescape=True))
            .order_by(c.at.desc(), c.task_id, c.number.desc())
            .limit(limit)
        )
        return self._lines(query)

    def _lines(self, query: Any) -> list[LogLine]:
        rows = self.database.read(lambda c: c.execute(query).mappings().all())
        return [LogLine(**dict(row)) for row in rows]
