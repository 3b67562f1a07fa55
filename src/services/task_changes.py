"""Tasks as they change, one look after the other, for who looks on."""

from datetime import datetime, timedelta
from typing import Any

from processors.redaction import redact_text
from records.task_changes import ChangedTask, TaskChanges, WantedChanges
from records.task_records import FINAL, RUNNING, WAITING, TaskState
from services.wiring import parts

OVERLAP_SECONDS = 5.0
"""So far back each look reaches behind the one before: what was written then may have been committed later."""

MOST = 1_000
"""Of each kind in one look."""

STATES = tuple(one.value for one in (*WAITING, *RUNNING, *FINAL))


class ChangedTasks:
    """Tells at each look which tasks have changed since the one before.

    Args:
        wanted: of which tasks.
        seconds: so long ago the first look begins.
    """

    def __init__(self, wanted: WantedChanges, seconds: float = 0) -> None:
        self._wanted = wanted
        self._records = TaskChanges(parts().database)
        self._began = self._records.now() - timedelta(seconds=seconds)
        self._since = self._began
        self._seen: dict[str, tuple[Any, ...]] | None = None
        self.left_out = False

    def look(self) -> list[dict[str, Any]]:
        """Return what has changed, the oldest change first; `left_out` is true where there were too many to tell.

        Raises:
            ServiceUnavailable: the database does not answer; a later look tells what this one could not.
        """
        now, rows, self.left_out = self._records.since(self._since, self._wanted, MOST)
        marks = {row.id: _mark(row) for row in rows}
        if self._seen is None:  # what went on before is no change
            changed = [(row, _moment(row) or self._began) for row in rows]
            changed = [(row, at) for row, at in changed if at > self._began]
        else:
            changed = [(row, self._at(row, now)) for row in rows if self._seen.get(row.id) != marks[row.id]]
        # All that is within reach of the next look is in this one.
        self._seen = marks
        self._since = max(self._began, now - timedelta(seconds=OVERLAP_SECONDS))
        return [_told(row, at) for row, at in sorted(changed, key=lambda one: (one[1], one[0].id))]

    def _at(self, row: ChangedTask, now: datetime) -> datetime:
        """Return when a change was; of progress only the look is known at which it was there."""
        before = (self._seen or {}).get(row.id)
        is_new = before is None or before[0] != row.state
        return (_moment(row) if is_new else None) or now


def _mark(row: ChangedTask) -> tuple[Any, ...]:
    return row.state, row.attempt, row.run, row.progress, row.progress_text


def _moment(row: ChangedTask) -> datetime | None:
    """Return when a task came into its state, where its record says so."""
    if row.state == TaskState.PENDING:
        return row.created_at if row.run == 0 else None
    return row.finished_at or row.started_at


def _told(row: ChangedTask, at: datetime) -> dict[str, Any]:
    ran = None if row.started_at is None or row.finished_at is None else row.finished_at - row.started_at
    return {
        "at": at.isoformat(),
        "task_id": row.id,
        "status": row.state,
        "name": row.name,
        "category": row.category,
        "queue": row.queue,
        "attempts": row.attempt + (row.started_at is not None and row.started_at >= row.due_at),
        "progress": None if row.is_parent else row.progress,
        "progress_text": row.progress_text and redact_text(row.progress_text),
        "worker": row.worker,
        "tenant": row.tenant,
        "seconds": None if ran is None else round(ran.total_seconds(), 3),
        "error": row.error and redact_text(row.error),
        "error_type": row.error_type,
    }
