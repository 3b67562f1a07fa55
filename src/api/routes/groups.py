"""Groups of tasks over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from api.answers import Group
from api.guards import GuardedRoute, require
from records.task_records import LONGEST_ID
from services.access import Caller
from services.celery_service import celery_service

Reader = Annotated[Caller, require("read")]
GroupId = Annotated[str, Path(min_length=1, max_length=LONGEST_ID, description="The group's id.")]

router = APIRouter(prefix="/api/v1/groups", tags=["tasks"], route_class=GuardedRoute)


@router.get("/{group_id}", operation_id="get_group", response_model=Group)
def group(group_id: GroupId, _caller: Reader) -> Any:
    """Tell how far a group, or the header of a chord, is."""
    return celery_service.get_group(group_id)
