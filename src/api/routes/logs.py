"""What tasks logged, over HTTP; the lines of one task are with the task."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.answers import FoundLine, Items
from api.guards import GuardedRoute, require
from services.access import Caller
from services.celery_service import celery_service

Reader = Annotated[Caller, require("read")]

router = APIRouter(prefix="/api/v1/logs", tags=["tasks"], route_class=GuardedRoute)


@router.get("", operation_id="search_task_logs", response_model=Items[FoundLine])
def logs(
    _caller: Reader,
    search: Annotated[str, Query(min_length=1, max_length=1_000, description="What the lines have.")],
    max_age_hours: Annotated[float, Query(gt=0, le=880_000, description="Since they were logged, at most.")] = 24,
    limit: Annotated[int, Query(ge=1, le=1_000, description="At most so many.")] = 100,
) -> Any:
    """Find lines that any task logged and that have this text, the newest first."""
    return {"items": celery_service.search_task_logs(search, max_age_hours, limit)}
