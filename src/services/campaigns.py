"""Campaigns: recorded whole, moved by one step, and what there is of them at any moment."""

import csv
import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from celery.utils import uuid

from config.settings import settings
from processors.call_interfaces import CallNotFound, CallSeen
from processors.call_questions import LONGEST_CALL_SECONDS
from processors.call_states import ENDS
from processors.campaigns import (
    LISTED,
    NOT_REACHED,
    REACHED,
    CampaignEnded,
    EndCampaign,
    QueueBulkCalls,
    check_numbers,
    conclude_campaign,
)
from processors.dialing import POLL_SECONDS, hang_up_seconds
from processors.errors import InvalidArgument, Postponed, TransientError
from processors.interfaces import MemberEnd, Report
from records.members import WAITING
from records.task_moves import EXPIRED
from records.task_records import TaskRecord, TaskState
from services import steering
from services.bulk import open_parent, parent_of, part_of
from services.parent_progress import CAMPAIGN, PENDING, counts_of
from services.status import info_of, unknown_task
from services.submission import draft_by_name, submit
from services.submit_options import Options
from services.wiring import parts

STEP, END = "twilio_calls.run_campaign", "twilio_calls.end_campaign"
WHY_LEFT = {
    "cancelled": "the campaign was cancelled",
    "expired": "the campaign expired",
    "failed": "the campaign ended before",
}
ANSWERED = "in-progress"
UNKNOWN_SECONDS = 15.0
CLOSED_AT_ONCE = 1_000
MEMBERS_AT_ONCE = 1_000
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula, in full width, too (OWASP: CSV injection)."""

COLUMNS = ("position", "phone_number", "state", "outcome", "attempts", "answered_by", "heard", "reason", "task_id")


def submit_campaign(phone_numbers: Any, request: QueueBulkCalls, queue: str, options: Options) -> str:
    """Record a campaign with all its members.

    Returns:
        Its id, or that of the campaign which was submitted with this idempotency key before.

    Raises:
        InvalidArgument: an item is bad, or the session; nothing was recorded.
        IdempotencyConflict: the key was given to other numbers, or other figures.
        ServiceUnavailable: nothing was recorded.
    """
    items = list(check_numbers(phone_numbers))
    parent = parent_of(CAMPAIGN, request, len(items), queue, options)
    step = replace(part_of(parent, STEP, 0, len(items)), kwargs={"campaign_id": parent.id})
    return open_parent(parent, items, [step], options.session)


def cancel_campaign(campaign_id: str, *, hang_up: bool) -> bool:
    """Cancel a campaign: nobody is called any more, and what rings or waits at the provider is ended."""
    record = campaign_record(campaign_id)
    cancelled = not record.final and steering.cancel(campaign_id)
    if hang_up and (cancelled or record.state is TaskState.REVOKED):
        _end_calls_later(record, uuid(), hang_up=True)
    return cancelled


def _end_calls_later(record: TaskRecord, task_id: str, *, hang_up: bool) -> None:
    arguments = {"campaign_id": record.id, "hang_up": hang_up}
    submit(draft_by_name(END, arguments, queue=record.queue, origin="facade", task_id=task_id))


def end_calls(request: EndCampaign, report: Report) -> dict[str, Any]:
    """End the calls of a cancelled campaign that ring or wait, and on request those that somebody answered.

    Raises:
        TransientError: some could not be ended now.
        Postponed: of some it is not known yet whether there is a call.
    """
    service, ended, failed, unknown = parts(), 0, list[str](), 0
    for attempt in service.calls.live_of(request.campaign_id):
        report(0, "ends calls")
        if attempt.call_sid is None:
            unknown += 1
            continue
        try:
            call = _ended_by_us(attempt.id, attempt.call_sid, hang_up=request.hang_up)
        except (TransientError, CallNotFound) as error:
            failed.append(str(error))
            continue
        service.calls.seen(attempt.id, call, POLL_SECONDS, hang_up_seconds(0, LONGEST_CALL_SECONDS))
        ended += call.status != ANSWERED
    if failed:
        raise TransientError(f"{len(failed)} calls were not ended: {failed[0]}")
    if unknown:
        raise Postponed(f"It is not known yet whether {unknown} calls were made, which are to end.", UNKNOWN_SECONDS)
    return {"campaign_id": request.campaign_id, "ended": ended}


def _ended_by_us(attempt_id: str, call_sid: str, *, hang_up: bool) -> CallSeen:
    """End a call, unless somebody talks and may go on to."""
    service = parts()
    if not hang_up:  # what was told last may be old by now
        call = service.voice.fetch_call(call_sid)
        if call.status == ANSWERED or call.status in ENDS:
            return call
    service.calls.ask_to_end(attempt_id)
    return service.voice.end_call(call_sid)


def settle(record: TaskRecord, until: float) -> bool:
    """Say of each member that nobody will call any more how it ended; False where something is left, or still live."""
    service = parts()
    state, reason = _why_left(record)
    while service.calls.close_campaign(record.id, state, reason, CLOSED_AT_ONCE):
        if time.monotonic() >= until:
            return False
    if record.state is TaskState.REVOKED and not record.result:
        _end_ringing(record)
    if service.calls.live_of(record.id):
        return False
    last = -1
    while page := service.members.left(record.id, last, CLOSED_AT_ONCE):
        if time.monotonic() >= until:
            return False
        service.members.close_left(record.id, [MemberEnd(at, state, {"reason": reason}) for at, _ in page])
        last = page[-1][0]
    return True


def _end_ringing(record: TaskRecord) -> None:
    """Let the calls of a cancelled campaign that ring or wait be ended, once."""
    task_id = f"{record.id}:end"
    if parts().tasks.read(task_id) is None and parts().calls.live_of(record.id):
        _end_calls_later(record, task_id, hang_up=False)


def _why_left(record: TaskRecord) -> tuple[str, str]:
    """Return how the members end that nobody has called, and why."""
    expired = record.error_type == EXPIRED.error_type
    fates = [("cancelled", "")] if record.state is TaskState.REVOKED and not expired else []
    fates += [("expired", "")] if expired else parts().parents.fates(record.id)
    fate, error = fates[0] if fates else ("failed", "")
    return fate, (error if fate == "failed" else "") or WHY_LEFT[fate]


def result_of(record: TaskRecord, tally: Mapping[str, int], seconds: float) -> CampaignEnded:
    """Return what a campaign's rows add up to."""
    members = parts().members
    return conclude_campaign(
        record.id,
        tally,
        members.outcomes(record.id, REACHED, LISTED),
        members.outcomes(record.id, NOT_REACHED, LISTED),
        created_at=record.created_at,
        seconds=seconds,
        cancelled=record.state is TaskState.REVOKED,
    )


def get_campaign(campaign_id: str, after: int, limit: int, state: str | None = None) -> dict[str, Any]:
    """Return how a campaign stands, with a page of its members, of one state or all."""
    record = campaign_record(campaign_id)
    tally = counts_of(campaign_id)
    rows = parts().members.page(campaign_id, after, limit, WAITING if state == PENDING else state)
    return {
        "campaign_id": campaign_id,
        "status": record.state.value,
        "info": info_of(record),
        "created_at": record.created_at.isoformat(),
        "total": sum(tally.values()),
        "counts": tally,
        "live_calls": len(parts().calls.live_of(campaign_id)),
        "members": [_member(campaign_id, row) for row in rows],
    }


def export_campaign(campaign_id: str) -> str:
    """Return a campaign's members as CSV (RFC 4180), with a line of names first."""
    campaign_record(campaign_id)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in _members(campaign_id):
        writer.writerow([_cell(row.get(name)) for name in COLUMNS])
    return text.getvalue()


def campaign_record(campaign_id: str) -> TaskRecord:
    """Return a campaign's record.

    Raises:
        UnknownTask: no task has this id.
        InvalidArgument: it is no campaign.
    """
    record = parts().tasks.read(campaign_id)
    if record is None:
        raise unknown_task(campaign_id)
    if record.name != CAMPAIGN:
        raise InvalidArgument(f"campaign_id: task {campaign_id} is no campaign, it is {record.name}.")
    return record


def let_through(campaign_id: str) -> None:
    """Let calls through again that were held because calls to their country were refused."""
    campaign_record(campaign_id)
    if settings.twilio_account_sid:
        parts().call_gates.open_halted(settings.twilio_account_sid)


def _members(campaign_id: str) -> Iterator[dict[str, Any]]:
    after = -1
    while page := parts().members.page(campaign_id, after, MEMBERS_AT_ONCE):
        for row in page:
            yield _member(campaign_id, row)
        after = page[-1]["position"]


def _member(campaign_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    outcome: Mapping[str, Any] = row["outcome"] or {}
    return {
        "position": row["position"],
        "phone_number": row["arguments"]["to_number"],
        "state": PENDING if row["state"] == WAITING else row["state"],
        "outcome": outcome.get("outcome"),
        "attempts": outcome.get("attempts", 0),
        "answered_by": outcome.get("answered_by"),
        "heard": outcome.get("heard"),
        "reason": outcome.get("reason"),
        "task_id": f"{campaign_id}:{row['position']}",
    }


def _cell(value: Any) -> Any:
    """Return what stands in a cell: what a spreadsheet would take for a formula is a text there."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value if isinstance(value, int) else str(value)
    return f"'{value}" if value.startswith(FORMULA) else value
