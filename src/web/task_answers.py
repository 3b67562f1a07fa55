"""A task as it is answered over HTTP, to one who may see it."""

from typing import Any

from processors.redaction import redact
from records.task_records import FINAL
from services.access import Caller
from services.acts import seen

FINAL_NAMES = frozenset(state.value for state in FINAL)


def shown_status(task_id: str, caller: Caller) -> dict[str, Any]:
    """Return where a task stands, with secrets masked.

    Raises:
        InvalidArgument: it is no task's id.
        UnknownTask: there is none, or it is another tenant's.
    """
    return redact(seen(task_id, caller))


def is_final(status: dict[str, Any]) -> bool:
    """Tell whether a status is a task's last one."""
    return status["status"] in FINAL_NAMES
