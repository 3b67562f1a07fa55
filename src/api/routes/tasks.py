"""Tasks over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter

from api.guards import GuardedRoute, require
from processors.redaction import redact
from services.access import Caller
from services.celery_service import celery_service
from services.status import unknown_task

router = APIRouter(prefix="/api/v1/tasks", route_class=GuardedRoute)


@router.get("/{task_id}")
def task(task_id: str, caller: Annotated[Caller, require("read", tenants=True)]) -> Any:
    """Return where a task stands, as `get_task_status` does."""
    status = celery_service.get_task_status(task_id)
    if status["status"] == "UNKNOWN" or not caller.sees(status["tenant"]):
        raise unknown_task(task_id)
    return redact(status)
