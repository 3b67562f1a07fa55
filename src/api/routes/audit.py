"""Who did what, over HTTP, for admins."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.answers import AuditedAct, Page
from api.guards import GuardedRoute, require
from records.audit import WantedActs
from services import audit
from services.access import Caller
from services.task_filters import Moment

MOST_ROWS = 500
USUAL_ROWS = 100

Text = Annotated[str | None, Query(min_length=1, max_length=500)]
Word = Annotated[str | None, Query(pattern=r"^[a-z][a-z_.]{0,63}$")]

router = APIRouter(prefix="/api/v1/audit", tags=["audit"], route_class=GuardedRoute)


@router.get("", operation_id="list_audit", response_model=Page[AuditedAct])
def acts(
    _caller: Annotated[Caller, require("admin")],
    actor: Annotated[Text, Query(description="Of this key's or user's alone.")] = None,
    act: Annotated[Word, Query(description="Of this act alone, such as `queue.purge`.")] = None,
    target_kind: Annotated[Word, Query(description="To what is of this kind alone, such as `queue`.")] = None,
    target_id: Annotated[Text, Query(description="To what has this id alone.")] = None,
    at_from: Annotated[
        Moment | None, Query(description="Done at this moment or later; ISO 8601 with an offset.")
    ] = None,
    at_before: Annotated[Moment | None, Query(description="Done before it; ISO 8601 with an offset.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS, description="At most so many.")] = USUAL_ROWS,
    cursor: Annotated[Text, Query(description="`next_cursor` of the page before.")] = None,
) -> Any:
    """List what was done, the newest first; `next_cursor` leads to the next page, and is null on the last one."""
    return audit.page(WantedActs(actor, act, target_kind, target_id, at_from, at_before), limit, cursor)
