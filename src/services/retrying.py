"""Retrying by hand: a failed task is submitted again as a new one, linked both ways."""

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from processors.interfaces import Report
from processors.scheduling import FailedRetried, RetryFailedTasks, SkippedTask
from records.task_records import Draft, TaskRecord
from services.submission import submit
from services.wiring import parts


def retry_failed(request: RetryFailedTasks, report: Report) -> FailedRetried:
    """Submit again each task that failed within the given hours; tells which were skipped and why."""
    failed = parts().tasks.failed(request.max_age_hours, request.task_types)
    retried: list[str] = []
    skipped: list[SkippedTask] = []
    for index, record in enumerate(failed):
        report(100 * index / len(failed), f"{index} of {len(failed)}")
        why = reason_to_skip(record, request.max_retries)
        new_id = None if why else retry(record)
        if new_id:
            retried.append(new_id)
        else:
            skipped.append(SkippedTask(task_id=record.id, why=why or "it was retried by somebody else just now"))
    return FailedRetried(retried=retried, skipped=skipped)


def reason_to_skip(record: TaskRecord, max_retries: int) -> str | None:
    """Tell in a few words why a failed task is not retried, or None."""
    if record.error_type == "Quarantined":
        return "it is quarantined: it killed its worker too often"
    if record.retry_count >= max_retries:
        return f"it was retried {record.retry_count} times already"
    if record.is_parent:
        return "it is a parent: its members are retried by themselves"
    if doubt := _doubt(record):
        return doubt
    if record.message.get("embed") or record.run == 0:  # a run of 0: it failed because what it was to follow did
        return "it is part of a workflow that has failed as a whole"
    return None


def retry(record: TaskRecord, arguments: Mapping[str, Any] | None = None) -> str | None:
    """Submit a failed task again under an id made from its own, so that two who retry it submit one task.

    Returns:
        The new task's id, or None where somebody else was first.
    """
    new_id = str(uuid5(NAMESPACE_OID, f"{record.id}:retry"))
    parts().deliveries.carry_over(record.id, new_id)
    parts().effects.carry_over(record.id, new_id)
    submit(
        Draft(
            id=new_id,
            name=record.name,
            category=record.category,
            queue=record.queue,
            priority=record.priority,
            args=record.args,
            kwargs=dict(arguments or record.kwargs),
            message=record.message,
            retry_of=record.id,
            retry_count=record.retry_count + 1,
            origin="retry",
            tenant=record.tenant,
            tags=record.tags,
        )
    )
    return new_id if parts().moves.linked_retry(record.id, new_id) else None


def _doubt(record: TaskRecord) -> str | None:
    """Tell in a few words what nobody knows of a task, or None: a retry could do it twice."""
    if parts().deliveries.in_doubt(record.id):
        return "it is in doubt whether its mail arrived"
    if parts().effects.in_doubt(record.id):
        return "it is in doubt whether an effect of it happened: see get_effects_in_doubt"
    return None
