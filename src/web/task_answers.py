"""A task as it is answered over HTTP, to one who may see it."""

from typing import Any

from processors.errors import UnknownTask
from processors.redaction import redact
from records.task_records import FINAL
from services.access import Caller
from services.acts import seen
from services.own_tasks import shown_arguments
from services.task_traces import timeline_of
from services.wiring import parts

FINAL_NAMES = frozenset(state.value for state in FINAL)


def shown_status(task_id: str, caller: Caller) -> dict[str, Any]:
    """Return where a task stands, with secrets masked.

    Raises:
        InvalidArgument: it is no task's id.
        UnknownTask: there is none, or it is another tenant's.
    """
    return redact(seen(task_id, caller))


def whole_task(task_id: str, caller: Caller) -> dict[str, Any]:
    """Return where a task stands, what it was given and how its attempts went, with secrets masked.

    Raises:
        InvalidArgument: it is no task's id.
        UnknownTask: there is none, or it is another tenant's, or a campaign's member.
    """
    status = shown_status(task_id, caller)
    record = parts().tasks.read(task_id)
    if record is None:
        raise UnknownTask(
            f"{task_id!r} is no task with a record of its own; /calls/…/attempts tells of a member's calls."
        )
    return status | {
        "category": record.category,
        "args": shown_arguments(record.name, record.args),
        "kwargs": redact(record.kwargs),
        "fingerprint": record.error_fingerprint,
        "runs": record.run,
        "timeline": timeline_of(record),
    }


def is_final(status: dict[str, Any]) -> bool:
    """Tell whether a status is a task's last one."""
    return status["status"] in FINAL_NAMES
