"""Queues over HTTP: how full each is, and stopping, starting and emptying it."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from api.guards import GuardedRoute, require
from processors.health import QueueStatistics
from services import monitoring
from services.access import Caller
from services.audit import record_act
from services.celery_app import QUEUES
from services.celery_service import celery_service
from services.wiring import parts

Queue = Annotated[str, Path(max_length=64, description="One of the queues.", json_schema_extra={"enum": list(QUEUES)})]
Reader = Annotated[Caller, require("read")]
Operator = Annotated[Caller, require("operate")]

router = APIRouter(prefix="/api/v1/queues", tags=["queues"], route_class=GuardedRoute)


class QueueChanged(BaseModel):
    """What became of a queue."""

    changed: bool = Field(description="False where it was so before.")


class Running(BaseModel):
    """What still runs."""

    running: int = Field(description="The queue's tasks that still run.")


class Purged(BaseModel):
    """What emptying a queue came to."""

    cancelled: int = Field(description="The tasks that were cancelled by it.")


@router.get("", operation_id="list_queues")
def queues(_caller: Reader) -> QueueStatistics:
    """Return each queue's depth, the age of what waits longest, what runs, its pause and its limit.

    The workers are not asked, which takes a second: `consumers` is null.
    """
    return monitoring.queue_statistics(parts())


@router.post("/{queue}/pause", operation_id="pause_queue")
def pause(queue: Queue, caller: Operator) -> QueueChanged:
    """Let nothing of a queue start until it is resumed; what runs goes on."""
    return _changed(queue, caller, "queue.pause", celery_service.pause_queue)


@router.post("/{queue}/resume", operation_id="resume_queue")
def resume(queue: Queue, caller: Operator) -> QueueChanged:
    """Let a paused queue's tasks start again."""
    return _changed(queue, caller, "queue.resume", celery_service.resume_queue)


@router.post("/{queue}/drain", operation_id="drain")
def drain(queue: Queue, caller: Operator) -> Running:
    """Pause a queue, and tell how many of its tasks still run; asked again until that is 0, it tells the end."""
    running = celery_service.drain(queue)
    record_act(caller, "queue.drain", target=("queue", queue))
    return Running(running=running)


@router.post("/{queue_name}/purge", operation_id="purge_queue")
def purge(queue_name: Queue, caller: Operator) -> Purged:
    """Empty a queue: cancel all that waits in it, but not what is scheduled for later."""
    cancelled = celery_service.purge_queue(queue_name)
    record_act(caller, "queue.purge", target=("queue", queue_name), count=cancelled)
    return Purged(cancelled=cancelled)


def _changed(queue: str, caller: Caller, act: str, change: Callable[[str], Any]) -> QueueChanged:
    changed = change(queue)
    if changed:
        record_act(caller, act, target=("queue", queue))
    return QueueChanged(changed=changed)
