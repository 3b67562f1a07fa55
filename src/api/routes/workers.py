"""Workers over HTTP: who lives, and what Celery itself tells of them."""

from typing import Annotated, Any

from fastapi import APIRouter

from api.answers import Inspected, Items, Worker
from api.guards import GuardedRoute, require
from processors.redaction import redact
from services.access import Caller
from services.celery_service import celery_service
from services.worker_list import living_workers

Reader = Annotated[Caller, require("read")]

router = APIRouter(prefix="/api/v1/workers", tags=["workers"], route_class=GuardedRoute)


@router.get("", operation_id="list_workers", response_model=Items[Worker])
def workers(_caller: Reader) -> Any:
    """List the working processes that live, with what each runs."""
    return {"items": living_workers()}


@router.get("/inspected", operation_id="get_worker_stats", response_model=Inspected)
def inspected(_caller: Reader) -> Any:
    """Ask the workers themselves, by Celery's remote control; that takes a second."""
    return redact(celery_service.get_worker_stats())
