"""Parents: ended when all their tasks are, with what their members' rows add up to."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from config.log_setup import get_logger
from records.task_moves import Failure
from records.task_records import TaskRecord
from services.celery_app import celery_app
from services.parent_progress import BULK_EMAILS, CAMPAIGN, cancelled_bulk
from services.wiring import parts

logger = get_logger()

SETTLE_SECONDS = 1.0
"""How long members are settled at a stretch: whoever leads has other duties."""


def parent_moved(parent_id: str) -> None:
    """End a parent, after one of its tasks ended, where that was the last."""
    service = parts()
    if service.parents.is_done(parent_id):
        record = service.tasks.read(parent_id)
        if record is not None and not record.final:
            conclude(record)


def conclude_all(records: Sequence[TaskRecord], after_each: Callable[[], object]) -> None:
    """End parents whose tasks are all final, for some time; what is left is done at a later call."""
    until = time.monotonic() + SETTLE_SECONDS
    for record in records:
        conclude(record, until)
        after_each()


def conclude(record: TaskRecord, until: float | None = None) -> None:
    """End a parent whose tasks are all final; where its members are many, or not all known yet, at a later call.

    Args:
        record: the parent.
        until: when to leave it for now, by the monotonic clock; None: in a second.
    """
    service = parts()
    kind = cast("Any", celery_app.tasks[record.name])
    if not kind.settle(record, time.monotonic() + SETTLE_SECONDS if until is None else until):
        return
    tally = service.members.tally(record.id)
    seconds = (datetime.now(UTC) - record.created_at).total_seconds()
    result = kind.result_of(record, tally, seconds)
    why = result.failure()
    service.parents.end(record.id, result.as_json(), Failure(why, "WorkFailed", traceback=why) if why else None)
    logger.info("parent_ended", task_id=record.id, task=record.name, state="FAILURE" if why else "SUCCESS", **tally)


def settle_cancelled(records: Sequence[TaskRecord]) -> None:
    """Say of all members of cancelled parents what became of them, for some time; what is left is done soon."""
    service, until = parts(), time.monotonic() + SETTLE_SECONDS
    for record in records:
        if not cast("Any", celery_app.tasks[record.name]).settle(record, until):
            service.moves.follow_again(record.id)
            continue
        if record.name == BULK_EMAILS:
            service.parents.keep_cancelled(record.id, cancelled_bulk(record))
        elif record.name == CAMPAIGN:
            tally, ended_at = service.members.tally(record.id), record.finished_at or datetime.now(UTC)
            seconds = (ended_at - record.created_at).total_seconds()
            result = cast("Any", celery_app.tasks[record.name]).result_of(record, tally, seconds)
            service.parents.keep_cancelled(record.id, result.as_json())
        service.moves.followed(record.id)
