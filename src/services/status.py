"""A record as callers read it: the dictionaries of the interface."""

from __future__ import annotations  # records that only some methods read are imported by those

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from processors.ai_usage import COST_DIGITS, PARTS
from processors.errors import UnknownTask
from processors.redaction import redact
from records.deliveries import SEND_EMAIL
from records.incidents import Incident
from records.task_logs import LogLine
from records.task_moves import EXPIRED
from records.task_records import RUNNING, TaskRecord, TaskState
from services.mail_outcomes import recipients_of
from services.on_first_use import on_first_use
from services.own_tasks import shown_arguments
from services.parent_progress import BULK_EMAILS, CAMPAIGN, NOTIFICATION, cancelled_bulk, progress_of
from services.wiring import parts

if TYPE_CHECKING:
    from records.ai_calls import UsageLine
    from records.inbox import InboxItem
    from services import notifications
else:
    notifications = on_first_use("services", "notifications")

HOLDS = {"pause": "pause", "turn": "queue"}
"""What a held record waits for, where that is no limit."""


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


def story_of(record: TaskRecord, incidents: Sequence[Incident]) -> dict[str, Any]:
    """Return all that is known of a failed task: its status, its arguments, masked, and how its workers died."""
    return status_of(record) | {
        "category": record.category,
        "args": shown_arguments(record.name, record.args),
        "kwargs": redact(record.kwargs),
        "fingerprint": record.error_fingerprint,
        "runs": record.run,
        "incidents": [incident_of(one) for one in incidents],
        "retry_count": record.retry_count,
    }


def incident_of(incident: Incident) -> dict[str, Any]:
    """Return how the worker of one run died."""
    return {
        "run": incident.run,
        "why": incident.why,
        "worker": incident.worker,
        "host": incident.host,
        "pid": incident.pid,
        "exit_code": incident.exit_code,
        "signal": incident.signal,
        "memory_mb": incident.memory_mb,
        "at": _iso(incident.at),
    }


def line_of(line: LogLine) -> dict[str, Any]:
    """Return a line that a task logged."""
    return {"at": _iso(line.at), "level": line.level, "logger": line.logger, "text": line.text, "run": line.run}


def usage_of(line: UsageLine, by: Sequence[str]) -> dict[str, Any]:
    """Return a line of the report of AI calls: the parts that it is by, in their order, and the figures."""
    told = asdict(line) | {"cost": round(line.cost, COST_DIGITS)}
    return {name: told[name] for name in by} | {name: told[name] for name in told if name not in PARTS}


def inbox_of(items: Sequence[InboxItem], counts: tuple[int, int]) -> dict[str, Any]:
    """Return an inbox: its items, and how many are unseen and unread."""
    told = [asdict(item) for item in items]
    moments = ("created_at", "seen_at", "read_at", "archived_at")
    return {
        "items": [one | {name: _iso(one[name]) for name in moments} for one in told],
        "unseen": counts[0],
        "unread": counts[1],
    }


def unknown_status(task_id: str) -> dict[str, Any]:
    """Return what `get_task_status` tells of an id that was never submitted."""
    return {"task_id": task_id, "status": "UNKNOWN", "info": None, "traceback": None}


def unknown_task(task_id: str) -> UnknownTask:
    """Return the error for an id that no task has."""
    return UnknownTask(f"No task has the id {task_id!r}: it was never submitted, or its record was removed.")


def info_of(record: TaskRecord) -> Any:
    """Return `info`: what it waits for, how far it is, its result, or its error."""
    if record.state is TaskState.SUCCESS:
        return record.result
    if record.state is TaskState.FAILURE:
        return {**(record.result or dict[str, Any]()), "error": record.error, "error_type": record.error_type}
    if record.state is TaskState.REVOKED:
        return _left(record) | why_revoked(record)
    if record.state in RUNNING:
        info: dict[str, Any] = {"progress": record.progress, "status": record.progress_text or "started"}
        if record.is_parent:
            channels = {"channels": _channels(record)} if record.name == NOTIFICATION else {}
            return info | progress_of(record) | channels
        return info if record.partial_text is None else info | {"partial_text": record.partial_text}
    return _waiting(record)


def active_task(record: TaskRecord) -> dict[str, Any]:
    """Return an item of `get_active_tasks`."""
    return {
        "task_id": record.id,
        "name": record.name,
        "status": record.state.value,
        "worker": record.worker if record.state in RUNNING else None,
        "queue": record.queue,
        "args": shown_arguments(record.name, record.args),
        "kwargs": redact(record.kwargs),
        "time_start": _iso(record.started_at) if record.state in RUNNING else None,
    }


def _has_begun(record: TaskRecord) -> bool:
    """Tell whether the present attempt was started: a retry is due after the start of the attempt before."""
    return record.started_at is not None and record.started_at >= record.due_at


def _waiting(record: TaskRecord) -> dict[str, Any]:
    later = record.due_at > datetime.now(UTC)
    waits_for = ("retry" if record.state is TaskState.RETRY else "due") if later else "queue"
    due_at = record.due_at
    if record.held:
        waits_for = HOLDS.get((record.hold or "").partition(":")[0], "limit")
        due_at = parts().limits.expected(record) if waits_for == "limit" else None
    info: dict[str, Any] = {"waits_for": waits_for, "due_at": _iso(due_at)}
    if record.state is TaskState.RETRY:
        info |= {"error": record.error, "error_type": record.error_type}
        info |= recipients_of(record) if record.name == SEND_EMAIL else {}
    return info


def why_revoked(record: TaskRecord) -> dict[str, str]:
    """Return why a task will not be done: it expired, or was cancelled, and why it had failed before."""
    if record.error_type == EXPIRED.error_type:
        return {"error": record.error or EXPIRED.error, "error_type": EXPIRED.error_type}
    before = f" Its last attempt had failed: {record.error}" if record.error else ""
    return {"error": f"The task was cancelled.{before}", "error_type": "TaskCancelled"}


def _left(record: TaskRecord) -> dict[str, Any]:
    """Return what there is of a task that was revoked."""
    if record.name == BULK_EMAILS:
        return record.result or cancelled_bulk(record)
    if record.name == CAMPAIGN:
        return record.result or progress_of(record)
    if record.name == NOTIFICATION:
        return {"channels": _channels(record)}
    return recipients_of(record) if record.name == SEND_EMAIL else {}


def _channels(notification: TaskRecord) -> dict[str, Any]:
    """Return what became of each channel of a notification that has not concluded, or what it waits for."""
    channels: list[str] = notification.kwargs["channels"]
    ends = parts().members.ends(notification.id, 0, len(channels))
    return {
        channel: end.outcome or _channel(notifications.channel_id(notification.id, end.position))
        for channel, end in zip(channels, ends, strict=True)
    }


def _channel(task_id: str) -> dict[str, Any] | None:
    """Return `info` of the task of a channel that has no outcome yet; one that was cancelled will have none."""
    record = parts().tasks.read(task_id)
    if record is not None and record.state is TaskState.REVOKED:
        return {"status": "skipped", "reason": "cancelled"}
    return None if record is None else info_of(record)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
