"""What AI calls used and cost, over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.answers import Items, UsageLine
from api.guards import GuardedRoute, require
from services.access import Caller
from services.celery_service import celery_service

DEFAULT_PARTS = ("day", "provider", "model")

Reader = Annotated[Caller, require("read")]

router = APIRouter(prefix="/api/v1/usage", tags=["AI"], route_class=GuardedRoute)


@router.get("", operation_id="get_ai_usage", response_model=Items[UsageLine], response_model_exclude_unset=True)
def usage(
    _caller: Reader,
    days: Annotated[int, Query(ge=1, le=4_000, description="Of the last days.")] = 1,
    by: Annotated[list[str] | None, Query(max_length=10, description="What the report is by.")] = None,
    task_id: Annotated[str | None, Query(max_length=255, description="Of this task alone.")] = None,
) -> Any:
    """Report what AI calls used and cost."""
    return {"items": celery_service.get_ai_usage(days, by or DEFAULT_PARTS, task_id)}
