"""A record as callers read it: the dictionaries of the interface."""

from datetime import UTC, datetime
from typing import Any

from processors.redaction import redact
from records.task_records import RUNNING, TaskRecord, TaskState


def status_of(record: TaskRecord) -> dict[str, Any]:
    """Return what `get_task_status` tells of a record."""
    return {
        "task_id": record.id,
        "status": record.state.value,
        "info": info_of(record),
        "traceback": record.traceback if record.state is TaskState.FAILURE else None,
        "name": record.name,
        "queue": record.queue,
        "priority": record.priority,
        "created_at": _iso(record.created_at),
        "due_at": _iso(record.due_at),
        "started_at": _iso(record.started_at),
        "finished_at": _iso(record.finished_at),
        "expires_at": _iso(record.expires_at),
        "attempts": record.attempt + _has_begun(record),
        "worker": record.worker,
        "retry_of": record.retry_of,
        "retried_as": record.retried_as,
        "tenant": record.tenant,
        "tags": record.tags,
    }


def unknown_status(task_id: str) -> dict[str, Any]:
    """Return what `get_task_status` tells of an id that was never submitted."""
    return {"task_id": task_id, "status": "UNKNOWN", "info": None, "traceback": None}


def info_of(record: TaskRecord) -> Any:
    """Return `info`: what it waits for, how far it is, its result, or its error."""
    if record.state is TaskState.SUCCESS:
        return record.result
    if record.state is TaskState.FAILURE:
        return {**(record.result or dict[str, Any]()), "error": record.error, "error_type": record.error_type}
    if record.state is TaskState.REVOKED:
        return {"error": record.error or "The task was cancelled.", "error_type": record.error_type or "TaskCancelled"}
    if record.state in RUNNING:
        return {"progress": record.progress, "status": record.progress_text or "started"}
    return _waiting(record)


def active_task(record: TaskRecord) -> dict[str, Any]:
    """Return an item of `get_active_tasks`."""
    return {
        "task_id": record.id,
        "name": record.name,
        "status": record.state.value,
        "worker": record.worker if record.state in RUNNING else None,
        "queue": record.queue,
        "args": redact(record.args),
        "kwargs": redact(record.kwargs),
        "time_start": _iso(record.started_at) if record.state in RUNNING else None,
    }


def _has_begun(record: TaskRecord) -> bool:
    """Tell whether the present attempt was started: a retry is due after the start of the attempt before."""
    return record.started_at is not None and record.started_at >= record.due_at


def _waiting(record: TaskRecord) -> dict[str, Any]:
    later = record.due_at > datetime.now(UTC)
    waits_for = ("retry" if record.state is TaskState.RETRY else "due") if later else "queue"
    info: dict[str, Any] = {"waits_for": waits_for, "due_at": _iso(record.due_at)}
    if record.state is TaskState.RETRY:
        info |= {"error": record.error, "error_type": record.error_type}
    return info


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
