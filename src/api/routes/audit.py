"""Who did what, over HTTP, for admins."""

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.guards import GuardedRoute, require
from records.audit import WantedActs
from services import audit, cursors
from services.access import Caller

MOST_ROWS = 500
USUAL_ROWS = 100

Text = Annotated[str | None, Query(min_length=1, max_length=500)]
Word = Annotated[str | None, Query(pattern=r"^[a-z][a-z_.]{0,63}$")]

router = APIRouter(prefix="/api/v1/audit", route_class=GuardedRoute)


@router.get("", operation_id="list_audit")
def acts(
    _caller: Annotated[Caller, require("admin")],
    actor: Text = None,
    act: Word = None,
    target_kind: Word = None,
    target_id: Text = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = USUAL_ROWS,
    cursor: Text = None,
) -> Any:
    """List what was done, the newest first; `next_cursor` leads to the next page, and is null on the last one."""
    wanted = WantedActs(actor, act, target_kind, target_id)
    of = json.dumps(["audit", actor, act, target_kind, target_id])
    after = None
    if cursor is not None:
        at, row_id = cursors.opened(cursor, of)
        after = datetime.fromisoformat(at), row_id
    rows = audit.acts(wanted, limit + 1, after)
    last = rows[limit - 1] if len(rows) > limit else None
    following = None if last is None else cursors.sealed([last.at.isoformat(), last.id], of)
    return {"items": [audit.shown(row) for row in rows[:limit]], "next_cursor": following}
