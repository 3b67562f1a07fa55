"""Bulks of mails over HTTP, as a list; each is a task, and its recipients are its deliveries."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.answers import Batch, Page
from api.guards import GuardedRoute, require
from api.list_queries import BulksQuery
from services import batches
from services.access import Caller

router = APIRouter(prefix="/api/v1/batches", tags=["mail"], route_class=GuardedRoute)


@router.get("", operation_id="list_batches", response_model=Page[Batch])
def listed(asked: Annotated[BulksQuery, Query()], caller: Annotated[Caller, require("read", tenants=True)]) -> Any:
    """List bulks of mails, the newest first, with how many of each stand in each state."""
    return batches.bulks(asked.cursor, asked.limit, wall=caller.tenant, **asked.filters())
