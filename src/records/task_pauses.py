"""Pauses of parents: their tasks that have not begun wait, and one under way stops where it can."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, String, Table, bindparam, or_, select, update

from records.columns import Instant, Now, PlainText, metadata
from records.database import Database
from records.insertion import insert_into
from records.prepared import Prepared
from records.task_records import WAITING, TaskState, columns, task_records

PAUSE = "pause:"
PAUSE_OF_TASK = "task:"
"""Between that and a parent's id in the scope that its tasks are held for; a paused queue has its name there."""

AT_ONCE = 1_000

task_pauses = Table(
    "task_pauses",
    metadata,
    Column("task_id", String(255), primary_key=True),  # the parent
    Column("why", PlainText),  # where it was not asked for
    Column("paused_at", Instant, nullable=False),
    Column("resumed_at", Instant),
)

IN_FORCE = task_pauses.c.resumed_at.is_(None)
TASK_PAUSED = Prepared(
    lambda value: select(task_pauses.c.task_id).where(task_pauses.c.task_id == value("task_id", String()), IN_FORCE),
    "task_id",
)


@dataclass(frozen=True, slots=True)
class TaskPause:
    """The last pause of a parent.

    Attributes:
        why: what it was paused for, where nobody asked for it.
        resumed_at: when it ended; None while it is in force.
    """

    why: str | None
    paused_at: datetime
    resumed_at: datetime | None


class TaskPauses:
    """Fulfils `processors.interfaces.Pauses`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def pause(self, task_id: str, why: str | None = None) -> bool:
        """Let none of a parent's tasks start any more; False where it was paused before."""
        values: dict[str, Any] = {"why": why, "paused_at": Now(), "resumed_at": None}
        fresh = insert_into(task_pauses, self.database.kind).values(task_id=task_id, **values)
        again = fresh.on_conflict_do_update(index_elements=["task_id"], set_=values, where=~IN_FORCE)
        # Who looks for a pause and holds the parent's row until it has acted is waited for.
        parent = select(columns.id).where(columns.id == task_id).with_for_update()

        def work(connection: Connection) -> bool:
            connection.execute(parent)
            return connection.execute(again.returning(task_pauses.c.task_id)).first() is not None

        return self.database.write(work)

    def resume(self, task_id: str) -> bool:
        """End a pause: what was due meanwhile, and what follows it, is due as much later as the pause was long.

        Returns:
            False where there was none.
        """
        paused = update(task_pauses).where(task_pauses.c.task_id == task_id, IN_FORCE).values(resumed_at=Now())
        ended = paused.returning(task_pauses.c.paused_at, task_pauses.c.resumed_at)

        def work(connection: Connection) -> bool:
            row = connection.execute(ended).first()
            if row is not None:
                _move_on(connection, task_id, row.paused_at, row.resumed_at)
            return row is not None

        return self.database.write(work)

    def paused(self, task_id: str) -> bool:
        """Tell whether a parent is paused."""
        return bool(self.database.read(TASK_PAUSED(task_id=task_id)))

    def last(self, task_id: str) -> TaskPause | None:
        """Return the last pause of a parent, in force or over."""
        c = task_pauses.c
        query = select(c.why, c.paused_at, c.resumed_at).where(c.task_id == task_id)
        row = self.database.read(lambda connection: connection.execute(query).first())
        return None if row is None else TaskPause(*row)


def _move_on(connection: Connection, parent_id: str, paused_at: datetime, resumed_at: datetime) -> None:
    """Let a parent's waiting tasks go: one that had begun before at once, the others in their old distances."""
    c = columns
    free = or_(c.hold.is_(None), c.hold == PAUSE + PAUSE_OF_TASK + parent_id)
    query = select(c.id, c.run, c.state, c.due_at, c.held).where(
        c.parent_id == parent_id, c.state.in_([state.value for state in WAITING]), free
    )
    rows = [
        {"task": row.id, "of_run": row.run, "was": row.state, "due": due}
        for row in connection.execute(query.order_by(c.id))  # so that nobody else's rows are locked crosswise
        if (due := _due(row, paused_at, resumed_at)) is not None
    ]
    due = bindparam("due", type_=Instant())
    same = c.id == bindparam("task"), c.run == bindparam("of_run"), c.state == bindparam("was"), free
    moved = update(task_records).where(*same).values(due_at=due, relay_at=due, hold=None, held=False, turn=None)
    for start in range(0, len(rows), AT_ONCE):
        connection.execute(moved, rows[start : start + AT_ONCE])


def _due(task: Any, paused_at: datetime, resumed_at: datetime) -> datetime | None:
    """Return when a task is due after a pause; None where the pause did not concern it."""
    if task.state == TaskState.PENDING.value and task.due_at >= paused_at:
        return task.due_at + (resumed_at - paused_at)
    return resumed_at if task.held else None
