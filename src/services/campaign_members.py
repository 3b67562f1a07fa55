"""A campaign's member as a task: its id is `<campaign>:<position>`, and it has no record of its own."""

from dataclasses import replace
from typing import Any

from records.members import WAITING, place_of
from records.task_records import TaskRecord, TaskState
from services.parent_progress import CAMPAIGN
from services.wiring import parts

STATES = {"done": TaskState.SUCCESS, "cancelled": TaskState.REVOKED, "expired": TaskState.REVOKED}
NOT_BEGUN = "waits for its turn"


def member_record(task_id: str) -> TaskRecord | None:
    """Return the record that a campaign's member would have; None where this is the id of none."""
    found = place_of(task_id)
    if found is None:
        return None
    campaign_id, place = found
    campaign = parts().tasks.read(campaign_id)
    if campaign is None or campaign.name != CAMPAIGN:
        return None
    rows = parts().members.page(campaign_id, place - 1, 1)
    if not rows or rows[0]["position"] != place:
        return None
    return _record(campaign, task_id, rows[0])


def _record(campaign: TaskRecord, task_id: str, member: dict[str, Any]) -> TaskRecord:
    story = parts().calls.story(task_id) or {}
    tries: list[dict[str, Any]] = story.get("tries", [])
    outcome: dict[str, Any] = member["outcome"] or {}
    state = _state(member["state"], story)
    failed = state is TaskState.FAILURE
    return replace(
        campaign,
        id=task_id,
        name="twilio_calls.queue_outbound_call",
        state=state,
        kwargs={"to_number": member["arguments"]["to_number"]},
        is_parent=False,
        members_total=None,
        parent_id=campaign.id,
        due_at=story.get("next_attempt_at") or campaign.due_at,
        started_at=tries[0]["sending_at"] if tries else None,
        finished_at=story.get("ended_at"),
        attempt=max(0, len(tries) - 1),
        progress=0.0,
        progress_text=story.get("reason") or NOT_BEGUN,
        result=_result(task_id, member, tries) if state in STATES.values() or failed else None,
        error=outcome.get("reason") or member["state"] if failed else None,
        error_type="CallNotAnswered" if failed else None,
        traceback=None,
    )


def _state(member: str, story: dict[str, Any]) -> TaskState:
    if member != WAITING:
        return STATES.get(member, TaskState.FAILURE)
    if story.get("state") == "dialing":
        return TaskState.PROGRESS
    return TaskState.RETRY if story.get("attempts") else TaskState.PENDING


def _result(task_id: str, member: dict[str, Any], tries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a single call's result has, and how the call ended."""
    last: dict[str, Any] = tries[-1] if tries else {}
    return {
        "success": member["state"] == "done",
        "task_id": task_id,
        "call_sid": last.get("call_sid"),
        "status": last.get("status") or member["state"],
        "to_number": member["arguments"]["to_number"],
        "from_number": last.get("from_number"),
        "created_at": last["sending_at"].isoformat() if last else None,
        "state": member["state"],
        **(member["outcome"] or {}),
    }
