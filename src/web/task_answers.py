"""A task as it is answered over HTTP, to one who may see it."""

from typing import Any

from processors.redaction import redact
from records.task_records import FINAL
from services.access import Caller
from services.celery_service import celery_service
from services.status import unknown_task

FINAL_NAMES = frozenset(state.value for state in FINAL)


def shown_status(task_id: str, caller: Caller) -> dict[str, Any]:
    """Return where a task stands, with secrets masked.

    Raises:
        InvalidArgument: it is no task's id.
        UnknownTask: there is none, or it is another tenant's.
    """
    status = celery_service.get_task_status(task_id)
    if status["status"] == "UNKNOWN" or not caller.sees(status["tenant"]):
        raise unknown_task(task_id)
    return redact(status)


def is_final(status: dict[str, Any]) -> bool:
    """Tell whether a status is a task's last one."""
    return status["status"] in FINAL_NAMES
