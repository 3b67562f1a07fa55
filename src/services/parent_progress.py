"""How far parents are, and what there is of one that was cancelled: read from the rows of their members."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from processors.interfaces import MemberEnd
from records.members import WAITING
from records.task_pauses import TaskPause
from records.task_records import TaskRecord
from services.on_first_use import on_first_use
from services.wiring import parts

if TYPE_CHECKING:
    from processors import bulk_emails
else:
    bulk_emails = on_first_use("processors", "bulk_emails")

BULK_EMAILS, NOTIFICATION = "email.send_bulk_emails", "notification.send_notification"
CAMPAIGN = "twilio_calls.queue_bulk_calls"
MAIL_BATCH, CHANNEL = "email.send_batch", "notification.send_channel"
"""The parts of these."""

PACE_SECONDS = 60.0
PENDING = "pending"
"""What a campaign calls a member that is not final."""


def progress_of(parent: TaskRecord) -> dict[str, Any]:
    """Return what `info` tells of a parent that is not done, beside `progress` and `status`."""
    service = parts()
    tally = service.members.tally(parent.id)
    total = sum(tally.values())
    told: dict[str, Any] = {"done": total - tally.get(WAITING, 0), "total": total}
    if parent.name == BULK_EMAILS:
        pace = service.members.pace(parent.id, "sent", PACE_SECONDS)
        told = bulk_emails.bulk_progress(tally, service.deliveries.put_off(parent.id), pace)
    if parent.name == CAMPAIGN:
        told |= {"counts": counts_of(parent.id), "live_calls": len(service.calls.live_of(parent.id))}
    if total:
        told |= {"progress": round(100 * told["done"] / total, 1), "status": f"{told['done']} of {total} done"}
    if (pause := pause_of(parent.id)) is not None:
        why = f": {pause.why}" if pause.why else ""
        told |= {"waits_for": "pause", "status": f"paused{why}", "paused_at": pause.paused_at.isoformat()}
    return told


def pause_of(parent_id: str) -> TaskPause | None:
    """Return the pause of a parent that is in force, or None."""
    last = parts().task_pauses.last(parent_id)
    return None if last is None or last.resumed_at is not None else last


def counts_of(parent_id: str) -> dict[str, int]:
    """Return how many members of a bulk or a campaign stand in each state, in the words of a campaign's members."""
    tally = parts().members.tally(parent_id)
    return {PENDING if state == WAITING else state: count for state, count in tally.items()}


def cancelled_bulk(parent: TaskRecord) -> dict[str, Any]:
    """Return what became of the mails of a bulk that was cancelled; those that a run has in hand are `unknown`."""
    members = parts().members
    in_doubt = members.in_doubt(parent.id, bulk_emails.LISTED_FAILURES)
    by_code = bulk_emails.counted_by_code(
        [
            *members.ended_in(parent.id, bulk_emails.LISTED_STATES),
            *(MemberEnd(one["position"], one["state"], None) for one in in_doubt),
        ]
    )
    result = bulk_emails.conclude_bulk(
        tally=members.cancelled_tally(parent.id),
        by_code=by_code,
        failures=[
            *members.outcomes(parent.id, bulk_emails.LISTED_STATES, bulk_emails.LISTED_FAILURES),
            *in_doubt,
        ],
        seconds=((parent.finished_at or datetime.now(UTC)) - parent.created_at).total_seconds(),
        bulk_id=parent.id,
        batch_size=parent.kwargs["batch_size"],
        cancelled=True,
    )
    return result.as_json()
