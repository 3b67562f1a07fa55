"""Groups and chords as a whole: how far they are, and finishing what is stuck."""

from collections.abc import Mapping
from typing import Any, cast

from config.log_setup import get_logger
from processors.errors import ServiceUnavailable, UnknownGroup
from records.chords import GroupFigures
from records.task_records import TaskRecord, TaskState
from services.celery_app import celery_app
from services.failures import context_of, error_of
from services.wiring import parts

logger = get_logger()

GROUP = "celery.group"
LISTED = 1_000
STUCK_SECONDS = 30.0
SWEPT_AT_ONCE = 100
RETURNED_AT_ONCE = 1_000


def group_of(group_id: str) -> dict[str, Any]:
    """Return what `get_group` tells.

    Raises:
        UnknownGroup: no group has this id.
    """
    chords = parts().chords
    figures = chords.figures(group_id)
    if not figures.known and figures.size is None:
        raise UnknownGroup(f"No group has the id {group_id!r}: it was never submitted, or its records were removed.")
    members = chords.members(group_id, figures.size, LISTED)
    total = max(figures.size or 0, figures.known)
    return {
        "group_id": group_id,
        "total": total,
        "done": figures.done,
        "failed": figures.failed,
        "progress": round(figures.progress / total, 1) if total else 0.0,
        "members": [dict(zip(("task_id", "name", "status"), member, strict=True)) for member in members],
        "body": _body(group_id, chords.body(group_id)),
    }


def sweep(older_than: float = STUCK_SECONDS) -> int:
    """Publish the body of each chord whose members have all ended, where that was forgotten.

    A process that dies between the end of a record and the return of its part, or between the last part and the body,
    leaves such a chord. The body's id is fixed, so that whoever else publishes it publishes the same.

    Args:
        older_than: seconds since the last member's end, which are its own process's to do so.

    Returns:
        How many were stuck.
    """
    found, last = 0, None
    while stuck := parts().chords.stuck(older_than, SWEPT_AT_ONCE, after=last):
        for group_id in stuck:
            _finish(group_id)
        found, last = found + len(stuck), stuck[-1]
    return found


def _finish(group_id: str) -> None:
    """Return the parts of a stuck chord again; a body that cannot be published must not hold up the other chords."""
    logger.warning("chord_stuck", group=group_id)
    try:
        for record in parts().chords.unreturned(group_id, RETURNED_AT_ONCE):
            _return_part(record)
    except ServiceUnavailable:
        raise
    except Exception as error:
        logger.exception("chord_not_finished", group=group_id, error=str(error))


def _return_part(record: TaskRecord) -> None:
    """Do again what follows a member's end; with the last one's part the body is published."""
    outcome = record.result if record.state is TaskState.SUCCESS else error_of(record)
    cast("Any", celery_app.backend).on_chord_part_return(context_of(record), record.state.value, outcome)


def _body(group_id: str, body: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Tell where the body of a chord stands; where it is a group, where all of its tasks do."""
    if body is None:
        return None
    body_id, name = body.get("options", {}).get("task_id"), body.get("task")
    if name == GROUP:
        return {"task_id": body_id, "name": name, "status": _state_of_all(parts().chords.body_figures(group_id))}
    record = parts().tasks.read(body_id) if body_id else None
    return {"task_id": body_id, "name": name, "status": record.state.value if record else TaskState.PENDING.value}


def _state_of_all(figures: GroupFigures) -> str:
    """Return where a group stands as if it were one task."""
    if not figures.known:
        return TaskState.PENDING.value
    if figures.done < figures.known:
        return TaskState.PROGRESS.value
    return (TaskState.FAILURE if figures.failed else TaskState.SUCCESS).value
