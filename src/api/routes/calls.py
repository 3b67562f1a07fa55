"""Calls over HTTP: how often each was tried, and what happened; a call is a task, or a campaign's member."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from api.answers import CallAttempt, CallEvent, Page
from api.guards import GuardedRoute, require
from records.task_records import LONGEST_ID
from services import cursors, task_traces
from services.access import Caller
from web.task_answers import shown_status

CallId = Annotated[
    str, Path(min_length=1, max_length=LONGEST_ID, description="The task's id; of a member `<campaign>:<position>`.")
]
Cursor = Annotated[str | None, Query(max_length=cursors.LONGEST, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=1_000, description="At most so many.")]
Reader = Annotated[Caller, require("read", tenants=True)]

router = APIRouter(prefix="/api/v1/calls", tags=["calls"], route_class=GuardedRoute)


@router.get("/{call_id}/attempts", operation_id="list_call_attempts", response_model=Page[CallAttempt])
def attempts(call_id: CallId, caller: Reader, cursor: Cursor = None, limit: Limit = 100) -> Any:
    """List the attempts of a call, the first one first; what is no call, or was not tried yet, has none."""
    shown_status(call_id, caller)
    return cursors.page_of(task_traces.attempts_of(call_id), cursor, limit, f"attempts of {call_id}")


@router.get("/{call_id}/events", operation_id="list_call_events", response_model=Page[CallEvent])
def events(call_id: CallId, caller: Reader, cursor: Cursor = None, limit: Limit = 100) -> Any:
    """List what happened to a call, in the order of time, all of its attempts together."""
    shown_status(call_id, caller)
    return cursors.page_of(task_traces.steps_of(call_id), cursor, limit, f"events of {call_id}")
