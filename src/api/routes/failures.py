"""Failures over HTTP, by the like of them; `/acts` submits all of a group again, by its filter."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.answers import FailureGroups
from api.guards import GuardedRoute, require
from services.access import Caller
from services.failure_groups import LONGEST_HOURS, failure_groups

router = APIRouter(prefix="/api/v1/failures", tags=["tasks"], route_class=GuardedRoute)


@router.get("", operation_id="list_failure_groups", response_model=FailureGroups)
def groups(
    _caller: Annotated[Caller, require("read")],
    hours: Annotated[float, Query(gt=0, le=LONGEST_HOURS, description="Of the last hours.")] = 24,
) -> Any:
    """List what failed, by the same task with the same error, the largest group first, at most 100."""
    return failure_groups(hours)
