"""What failed lately, by the like of it: the same task with the same error."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from records.columns import Now
from records.database import Database
from records.task_records import FAILED, columns

MOST = 10_000
"""So many of the newest failures are looked at; of more, the figures are of these."""


@dataclass(slots=True)
class FailureGroup:
    """Failures that are alike.

    Attributes:
        open: how many of them were not submitted again.
        error: what the newest of them says.
        task_id: that one.
    """

    name: str
    error_type: str | None
    fingerprint: str | None
    count: int
    open: int
    first_at: datetime
    last_at: datetime
    task_id: str
    error: str | None = None


def failure_groups(database: Database, hours: float, most: int) -> tuple[Sequence[FailureGroup], bool]:
    """Return the groups of so many hours, the largest first, and whether there were more failures than are looked at.

    Args:
        database: where the records are.
        hours: how far back.
        most: at most so many groups.
    """
    newest = (
        select(
            columns.id,
            columns.name,
            columns.error_type,
            columns.error_fingerprint,
            columns.retried_as,
            columns.finished_at,
        )
        .where(FAILED, columns.finished_at > Now(-hours * 3600))
        .order_by(columns.finished_at.desc(), columns.id.desc())
        .limit(MOST + 1)
    )

    def read(connection: Connection) -> tuple[Sequence[FailureGroup], bool]:
        groups: dict[tuple[str, str | None, str | None], FailureGroup] = {}
        rows = connection.execute(newest).all()
        for row in rows[:MOST]:
            key = row.name, row.error_type, row.error_fingerprint
            group = groups.get(key)
            if group is None:
                group = groups[key] = FailureGroup(*key, 0, 0, row.finished_at, row.finished_at, row.id)
            group.count += 1
            group.open += row.retried_as is None
            group.first_at = row.finished_at
        found = sorted(groups.values(), key=lambda one: (-one.count, -one.last_at.timestamp()))[:most]
        told = select(columns.id, columns.error).where(columns.id.in_([one.task_id for one in found]))
        errors = {row.id: row.error for row in connection.execute(told)}
        for one in found:
            one.error = errors.get(one.task_id)
        return found, len(rows) > MOST

    return database.read(read)
