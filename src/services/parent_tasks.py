"""Parents: ended when all their tasks are, with what their members' rows add up to."""

from datetime import UTC, datetime
from typing import Any, cast

from config.log_setup import get_logger
from records.task_moves import Failure
from records.task_records import TaskRecord
from services.celery_app import celery_app
from services.wiring import parts

logger = get_logger()


def parent_moved(parent_id: str) -> None:
    """End a parent, after one of its tasks ended, where that was the last."""
    service = parts()
    if service.parents.is_done(parent_id):
        record = service.tasks.read(parent_id)
        if record is not None and not record.final:
            conclude(record)


def conclude(record: TaskRecord) -> None:
    """End a parent whose tasks are all final."""
    service = parts()
    kind = cast("Any", celery_app.tasks[record.name])
    kind.settle(record)
    tally = service.members.tally(record.id)
    seconds = (datetime.now(UTC) - record.created_at).total_seconds()
    result = kind.result_of(record, tally, seconds)
    why = result.failure()
    service.parents.end(record.id, result.as_json(), Failure(why, "WorkFailed") if why else None)
    logger.info("parent_ended", task_id=record.id, task=record.name, state="FAILURE" if why else "SUCCESS", **tally)
