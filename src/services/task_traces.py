"""What a task left beside its record: how its attempts went, the deliveries of its mails, and how its calls went."""

from collections.abc import Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any

from processors.redaction import redact_text, without_numbers
from records.task_records import WAITING, TaskRecord
from services import outbox
from services.wiring import parts

MOST_ATTEMPTS = 200
MOST_DELIVERIES = 200
MOST_EVENTS = 200
TOLD_OF_ATTEMPTS = (
    "number",
    "state",
    "status",
    "from_number",
    "call_sid",
    "placed_at",
    "ended_at",
    "answered_by",
    "duration_seconds",
    "sip_code",
    "error_code",
    "price",
    "price_unit",
    "unsaid",
)


def timeline_of(record: TaskRecord) -> list[dict[str, Any]]:
    """Return what happened to a task, in the order of time: `at`, `run`, `what`, and `more`."""
    notes, deaths = parts().task_logs.noted(record.id, MOST_ATTEMPTS), parts().incidents.of([record.id])[record.id]
    found = [
        _moment(record.created_at, None, "submitted", f"to the queue {record.queue}"),
        *(_moment(line.at, line.run, "failed for now", redact_text(line.text)) for line in notes),
        *(_moment(one.at, one.run, "taken back", f"{one.why}: {one.told()}") for one in deaths),
    ]
    if record.state in WAITING:
        found.append(_moment(record.due_at, None, "due", None))
    elif record.started_at is not None:
        found.append(_moment(record.started_at, record.run, "started", record.worker and f"on {record.worker}"))
    if record.finished_at is not None:
        found.append(_moment(record.finished_at, record.run or None, f"ended: {record.state.value}", record.error_type))
    return sorted(found, key=itemgetter("at"))


def deliveries_of(task_id: str) -> tuple[list[dict[str, Any]], bool]:
    """Return what became of each recipient of a task's mails, and whether there are more of them.

    Returns:
        `position` (which mail of a bulk), `address`, `role`, `state`, `attempts`, `said` (by the server), `at` (of its
        end), `next_at`, and `mail_id` where the mail is in the outbox.
    """
    rows = parts().deliveries.listed(task_id, None, MOST_DELIVERIES + 1, None)
    return [_delivery(row) for row in rows[:MOST_DELIVERIES]], len(rows) > MOST_DELIVERIES


def call_of(task_id: str) -> list[dict[str, Any]]:
    """Return what happened to a call first, as `steps_of` tells it."""
    return steps_of(task_id)[:MOST_EVENTS]


def steps_of(task_id: str) -> list[dict[str, Any]]:
    """Return what happened to a call, in the order of time: `at`, `attempt`, `what`, and `more`."""
    attempts = parts().calls.attempts(task_id)
    found = [step for attempt in attempts for step in _steps(attempt)]
    return sorted(found, key=itemgetter("at"))


def attempts_of(task_id: str) -> list[dict[str, Any]]:
    """Return the attempts of a call, in their order, without the number that was called."""
    return [
        {name: attempt[name] for name in TOLD_OF_ATTEMPTS}
        | {"ordered_at": attempt["sending_at"], "error": _without_secrets(attempt["error"])}
        for attempt in parts().calls.attempts(task_id)
    ]


def _moment(at: datetime, run: int | None, what: str, more: str | None) -> dict[str, Any]:
    return {"at": at, "run": run, "what": what, "more": more}


def _delivery(row: Mapping[str, Any]) -> dict[str, Any]:
    mail_id = f"{row['task_id']}-{row['position']}"
    said = " ".join(str(one) for one in (row["code"], row["enhanced"], row["text"]) if one)
    return {
        "position": row["position"],
        "address": row["address"],
        "role": row["role"],
        "state": row["state"],
        "attempts": row["attempts"],
        "said": redact_text(said),
        "at": row["closed_at"] or row["handed_at"],
        "next_at": row["next_attempt_at"],
        "mail_id": mail_id if outbox.path_of(mail_id) else None,
    }


def _steps(attempt: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what happened at one attempt; its numbers are no part of that."""
    steps = [_step(attempt, attempt["sending_at"], "ordered")]
    if attempt["placed_at"]:
        steps.append(_step(attempt, attempt["placed_at"], "placed", attempt["call_sid"]))
    events = parts().call_events.of_call(attempt["call_sid"]) if attempt["call_sid"] else []
    for event in events:
        what = event["status"] if event["kind"] == "status" and event["status"] else event["kind"]
        told = None if event["applied"] else f"not applied: {event['why_not']}" if event["why_not"] else "not applied"
        steps.append(_step(attempt, event["received_at"], what, told))
    if attempt["ending_at"]:
        steps.append(_step(attempt, attempt["ending_at"], "to be ended", "somebody here asked for it"))
    if attempt["ended_at"]:
        steps.append(
            _step(attempt, attempt["ended_at"], f"over: {attempt['status'] or attempt['state']}", _end(attempt))
        )
    return steps


def _step(attempt: Mapping[str, Any], at: datetime, what: str, more: str | None = None) -> dict[str, Any]:
    return {"at": at, "attempt": attempt["number"], "what": what, "more": _without_secrets(more)}


def _without_secrets(text: str | None) -> str | None:
    return text and without_numbers(redact_text(text))


def _end(attempt: Mapping[str, Any]) -> str:
    seconds, answered_by = attempt["duration_seconds"], attempt["answered_by"]
    told = [
        f"{seconds} s" if seconds is not None else None,
        f"answered by {answered_by}" if answered_by else None,
        f"told nothing: {attempt['unsaid']}" if attempt["unsaid"] else None,
        f"{attempt['price']} {attempt['price_unit'] or ''}".strip() if attempt["price"] else None,
        f"error {attempt['error_code']}" if attempt["error_code"] else None,
        attempt["error"],
    ]
    return ", ".join(one for one in told if one)
