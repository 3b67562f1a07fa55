"""Tasks over HTTP."""

from typing import Any

from fastapi import APIRouter, Depends

from api.guards import require_key
from processors.redaction import redact
from services.celery_service import celery_service
from services.status import unknown_task

router = APIRouter(prefix="/api/v1/tasks", dependencies=[Depends(require_key)])


@router.get("/{task_id}")
def task(task_id: str) -> Any:
    """Return where a task stands, as `get_task_status` does."""
    status = celery_service.get_task_status(task_id)
    if status["status"] == "UNKNOWN":
        raise unknown_task(task_id)
    return redact(status)
