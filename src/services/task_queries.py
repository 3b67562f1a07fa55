"""Finding tasks: a page of them as everybody who asks is told it, with secrets masked."""

from datetime import datetime
from typing import Any

from processors.errors import InvalidArgument
from processors.redaction import redact, redact_text
from records.task_lists import Place, Row, TaskLists
from records.task_records import TaskState
from services.own_tasks import shown_arguments
from services.task_filters import TaskFilter, cursor_of, place_of
from services.wiring import parts

MOST = 1_000
ERROR_CHARACTERS = 300


def find_tasks(
    asked: TaskFilter,
    cursor: str | None = None,
    limit: int = 50,
    *,
    wall: str | None = None,
    whole: bool = False,
) -> dict[str, Any]:
    """Return a page of tasks, the newest first: `items`, and `next_cursor`, which leads to the page behind it, or None.

    Args:
        asked: which.
        cursor: `next_cursor` of the page before, with the same filter.
        limit: at most so many, up to 1 000.
        wall: the only tenant whose tasks the caller may see.
        whole: with arguments, result and traceback, secrets masked; a page of such ends early where they are large.

    Raises:
        InvalidArgument: the cursor is none of this filter, or the limit is not acceptable.
    """
    if not 1 <= limit <= MOST:
        raise InvalidArgument(f"limit: must be between 1 and {MOST}; got {limit}.")
    service = parts()
    after = None if cursor is None else place_of(cursor, asked)
    wanted = asked.wanted(wall)
    if wanted is None:
        return {"items": [], "next_cursor": None}
    rows = TaskLists(service.database).page(wanted, limit + 1, after, heavy=whole)
    page = [row for row in rows[:limit] if not whole or "kwargs" in row]
    more = len(rows) > len(page)
    last = Place(page[-1]["created_at"], page[-1]["id"]) if more else None
    return {
        "items": [told(row, whole=whole) for row in page],
        "next_cursor": None if last is None else cursor_of(last, asked),
    }


def told(row: Row, *, whole: bool) -> dict[str, Any]:
    """Return a row of a page as callers read it."""
    error = row["error"] and redact_text(row["error"])
    light = {
        "task_id": row["id"],
        "name": row["name"],
        "category": row["category"],
        "queue": row["queue"],
        "priority": row["priority"],
        "status": row["state"],
        "created_at": _iso(row["created_at"]),
        "due_at": _iso(row["due_at"]),
        "started_at": _iso(row["started_at"]),
        "finished_at": _iso(row["finished_at"]),
        "expires_at": _iso(row["expires_at"]),
        "attempts": row["attempt"] + _has_begun(row),
        "runs": row["run"],
        "worker": row["worker"],
        "progress": row["progress"],
        "progress_text": row["progress_text"] and redact_text(row["progress_text"]),
        "error": error and error[: None if whole else ERROR_CHARACTERS],
        "error_type": row["error_type"],
        "fingerprint": row["error_fingerprint"],
        "is_parent": bool(row["is_parent"]),
        "members_total": row["members_total"],
        "parent_id": row["parent_id"],
        "retry_of": row["retry_of"],
        "retried_as": row["retried_as"],
        "held": bool(row["held"]),
        "tenant": row["tenant"],
        "tags": row["tags"],
    }
    if not whole:
        return light
    failed = row["state"] == TaskState.FAILURE.value
    return light | {
        "args": shown_arguments(row["name"], row["args"]),
        "kwargs": redact(row["kwargs"]),
        "result": redact(row["result"]),
        "traceback": redact_text(row["traceback"]) if failed and row["traceback"] else None,
    }


def _has_begun(row: Row) -> bool:
    """Tell whether the present attempt was started: a retry is due after the start of the attempt before."""
    return row["started_at"] is not None and row["started_at"] >= row["due_at"]


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
