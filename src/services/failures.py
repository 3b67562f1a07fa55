"""What follows a failure that no worker reports: a quarantine, a hard time limit, an expiry."""

from typing import Any, cast

from celery.app.task import Context

from processors.errors import PermanentError
from records.task_records import TaskRecord
from services.celery_app import celery_app
from services.wiring import parts


def follow_failure(task_id: str) -> None:
    """Do what Celery does after a failure: fail the chain, return the chord's part, call the error callbacks."""
    record = parts().tasks.read(task_id)
    if record is None or not record.message.get("embed"):
        return
    error = PermanentError(record.error or "The task failed.")
    backend = cast("Any", celery_app.backend)
    backend.mark_as_failure(record.id, error, request=context_of(record), store_result=False)


def context_of(record: TaskRecord) -> Any:
    """Return the request that a worker would have had."""
    embed: dict[str, Any] = record.message.get("embed", {})
    headers: dict[str, Any] = record.message.get("headers", {})
    return Context(
        headers,
        id=record.id,
        task=record.name,
        args=record.args,
        kwargs=record.kwargs,
        callbacks=embed.get("callbacks"),
        errbacks=embed.get("errbacks"),
        chain=embed.get("chain"),
        chord=embed.get("chord"),
        delivery_info={},
    )
