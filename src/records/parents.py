"""Parents: records that no worker holds; the rows of their members move them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, exists, func, select, update

from processors.interfaces import EndedPart
from records.database import Database
from records.members import INSERT_ROWS, insert_members, written
from records.task_moves import EXPIRED, Failure, ended
from records.task_records import (
    Draft,
    TaskRecord,
    TaskState,
    columns,
    insert_drafts,
    insertion,
    surely,
    task_records,
    to_record,
)


def insert_parent(
    connection: Connection, parent: Draft, members: Sequence[Mapping[str, Any]], tasks: Sequence[Draft]
) -> None:
    """Insert a parent, its tasks and those members that were not written before inside a caller's transaction.

    Nothing is done where the parent is there already.

    Raises:
        ServiceUnavailable: of the members that were written before, some were removed again.
    """
    if insertion(connection.dialect.name, [parent])(connection):
        first = written(connection, parent.id) if is_large(parent) else 0
        insert_members(connection, parent.id, members, first)
        insert_drafts(connection, tasks)
        if parent.retry_of is not None:
            former = update(task_records).where(columns.id == parent.retry_of)
            connection.execute(former.values(retried_as=parent.id))


def is_large(parent: Draft) -> bool:
    """Tell whether a parent's members are too many for one transaction that all others would wait for."""
    return (parent.members_total or 0) > INSERT_ROWS


class Parents:
    """Opens parents with all their rows in one transaction, and ends them when all their tasks are final."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def open(self, parent: Draft, members: Sequence[Mapping[str, Any]], tasks: Sequence[Draft]) -> None:
        """Write the parent, its members and its tasks, durably: all of it or nothing.

        Raises:
            ServiceUnavailable: nothing was written.
            SubmitUnknown: it is not known whether it was written.
        """
        surely(parent.id, lambda _: self.database.write(lambda c: insert_parent(c, parent, members, tasks)))

    def done(self, limit: int = 100) -> list[TaskRecord]:
        """Return parents that are not final and have no task left that is not, in any order: none hides others."""
        child = task_records.alias("child")
        unfinished = exists().where(child.c.parent_id == columns.id, child.c.finished_at.is_(None))
        query = select(task_records).where(columns.is_parent, columns.state == TaskState.PROGRESS.value, ~unfinished)
        query = query.order_by(func.random()).limit(limit)
        found = self.database.read(lambda c: c.execute(query).mappings().all())
        return [to_record(row) for row in found]

    def is_done(self, parent_id: str) -> bool:
        """Tell whether no task of this parent is left that is not final."""
        query = select(columns.id).where(columns.parent_id == parent_id, columns.finished_at.is_(None)).limit(1)
        return self.database.read(lambda c: c.execute(query).first()) is None

    def unsuccessful(self, parent_id: str) -> list[EndedPart]:
        """Return the tasks of a parent that ended without success."""
        states = [TaskState.FAILURE.value, TaskState.REVOKED.value]
        query = select(columns.kwargs, columns.error, columns.state, columns.error_type).where(
            columns.parent_id == parent_id, columns.state.in_(states)
        )
        rows = self.database.read(lambda c: c.execute(query).all())
        return [EndedPart(given["first"], given["count"], _fate(*end), error or "") for given, error, *end in rows]

    def fates(self, parent_id: str) -> list[tuple[str, str]]:
        """Return how tasks of a parent ended that had no success (`failed`, `expired`, `cancelled`), and why."""
        states = [TaskState.FAILURE.value, TaskState.REVOKED.value]
        query = select(columns.state, columns.error_type, columns.error).where(
            columns.parent_id == parent_id, columns.state.in_(states)
        )
        rows = self.database.read(lambda c: c.execute(query).all())
        return [(_fate(state, error_type), error or "") for state, error_type, error in rows]

    def end(self, parent_id: str, result: Any, failure: Failure | None) -> bool:
        """End a parent; False where it had ended before."""
        state = TaskState.FAILURE if failure else TaskState.SUCCESS
        values = ended(state, failure) | {"result": result, "progress": 100.0}
        statement = self._open(parent_id).values(values).returning(columns.id)
        return self.database.write(lambda c: c.execute(statement).first() is not None, durable=False)

    def keep_cancelled(self, parent_id: str, result: Any) -> None:
        """Keep what became of the members of a parent that was cancelled."""
        own = update(task_records).where(columns.id == parent_id, columns.state == TaskState.REVOKED.value)
        self.database.write(lambda c: c.execute(own.values(result=result)), durable=False)

    def _open(self, parent_id: str) -> Any:
        return update(task_records).where(
            columns.id == parent_id, columns.is_parent, columns.state == TaskState.PROGRESS.value
        )


def _fate(state: str, error_type: str | None) -> Literal["failed", "expired", "cancelled"]:
    if state == TaskState.FAILURE.value:
        return "failed"
    return "expired" if error_type == EXPIRED.error_type else "cancelled"
