"""Queues over HTTP: how full each is, and stopping, starting and emptying it."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from api.documents import problems
from api.guards import GuardedRoute, require
from api.idempotency import TWICE_IS_ONCE
from api.routes.tasks import Confirmed
from processors.health import QueueStatistics
from services import acts, monitoring
from services.access import Caller
from services.celery_app import QUEUES
from services.wiring import parts

Queue = Annotated[str, Path(max_length=64, description="One of the queues.", json_schema_extra={"enum": list(QUEUES)})]
Reader = Annotated[Caller, require("read")]
Operator = Annotated[Caller, require("operate")]

router = APIRouter(prefix="/api/v1/queues", tags=["queues"], route_class=GuardedRoute)


class QueueChanged(BaseModel):
    """What became of a queue."""

    changed: bool = Field(description="False where it was so before.", examples=[True])


class Running(BaseModel):
    """What still runs."""

    running: int = Field(description="The queue's tasks that still run.", examples=[4])


class Waiting(BaseModel):
    """What emptying a queue would come to."""

    count: int = Field(description="The tasks that wait for a worker, a limit or another attempt.", examples=[12])


class Purged(BaseModel):
    """What emptying a queue came to."""

    cancelled: int = Field(description="The tasks that were cancelled by it.", examples=[12])


@router.get("", operation_id="list_queues")
def queues(_caller: Reader) -> QueueStatistics:
    """Return each queue's depth, the age of what waits longest, what runs, its rates, its pause and its limit.

    The workers are not asked, which takes a second: `consumers` is null. The rates are of the last ten minutes, but the
    last one or two, and null where nothing counts them.
    """
    return monitoring.queue_statistics(parts())


@router.post("/{queue}/pause", operation_id="pause_queue", openapi_extra=TWICE_IS_ONCE)
def pause(queue: Queue, caller: Operator) -> QueueChanged:
    """Let nothing of a queue start until it is resumed; what runs goes on."""
    return QueueChanged(changed=acts.pause_queue(caller, queue))


@router.post("/{queue}/resume", operation_id="resume_queue", openapi_extra=TWICE_IS_ONCE)
def resume(queue: Queue, caller: Operator) -> QueueChanged:
    """Let a paused queue's tasks start again."""
    return QueueChanged(changed=acts.resume_queue(caller, queue))


@router.post("/{queue}/drain", operation_id="drain", openapi_extra=TWICE_IS_ONCE)
def drain(queue: Queue, caller: Operator) -> Running:
    """Pause a queue, and tell how many of its tasks still run; asked again until that is 0, it tells the end."""
    return Running(running=acts.drain_queue(caller, queue))


@router.post("/{queue_name}/purge/count", operation_id="count_purge", openapi_extra=TWICE_IS_ONCE)
def count(queue_name: Queue, _caller: Operator) -> Waiting:
    """Count the tasks that emptying a queue would cancel now."""
    return Waiting(count=acts.count_purge(queue_name))


@router.post("/{queue_name}/purge", operation_id="purge_queue", responses=problems(HTTPStatus.CONFLICT))
def purge(queue_name: Queue, caller: Operator, body: Confirmed) -> Purged:
    """Empty a queue: cancel all that waits in it, but not what is scheduled for later; a 409 where more wait by now."""
    return Purged(cancelled=acts.purge_queue(caller, queue_name, body.count))
