"""What the service does at a look, over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.answers import Overview
from api.guards import GuardedRoute, require
from services.access import Caller
from services.overview import LONGEST_HOURS, overview

Reader = Annotated[Caller, require("read")]

router = APIRouter(prefix="/api/v1/overview", tags=["health"], route_class=GuardedRoute)


@router.get("", operation_id="get_overview", response_model=Overview)
def look(
    _caller: Reader,
    hours: Annotated[float, Query(gt=0, le=LONGEST_HOURS, description="Of the last hours.")] = 1,
) -> Any:
    """Tell how much came and ended, how long it waited and ran (p50 and p95), and how the queues stand now."""
    return overview(hours)
