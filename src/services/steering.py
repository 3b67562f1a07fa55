"""Steering what runs and waits: cancel, purge, kill, and asking the workers."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

from broker import rabbitmq
from broker.away import AWAY_ERRORS
from broker.waiting_messages import take_all
from config.log_setup import get_logger
from processors.errors import InvalidArgument, ServiceUnavailable
from records.task_records import Draft, TaskRecord, is_task_id
from services.celery_app import QUEUES, celery_app, is_recorded
from services.failures import follow_failure
from services.status import unknown_task
from services.submission import category_of, kept_message, moment, storable
from services.wiring import parts

logger = get_logger()

INSPECT_SECONDS = 1.0
INSPECTED = ("active", "registered", "stats", "revoked")


def cancel(task_id: str) -> bool:
    """Cancel a task and, where it is a parent, all tasks of it; False where nothing was left to do."""
    cancelled = parts().moves.revoke(task_id)
    if cancelled:
        follow_failure(task_id)
    return cancelled


def cancel_unstarted(task_id: str) -> bool:
    """Cancel a task that has not begun; False where it has, or has ended."""
    cancelled = parts().moves.revoke_unstarted(task_id)
    if cancelled:
        follow_failure(task_id)
    return cancelled


def pause_task(task_id: str) -> bool:
    """Let none of a parent's tasks start, and those under way end where they can; False where it was paused before."""
    return not _parent(task_id).final and parts().task_pauses.pause(task_id)


def resume_task(task_id: str) -> bool:
    """Let a paused parent's tasks go on; False where it was not paused."""
    return not _parent(task_id).final and parts().task_pauses.resume(task_id)


def _parent(task_id: str) -> TaskRecord:
    record = parts().tasks.read(task_id)
    if record is None:
        raise unknown_task(task_id)
    if not record.is_parent:
        raise InvalidArgument(
            f"task_id: task {task_id} has no parts to be paused, it is {record.name}; bulks have. See pause_queue."
        )
    return record


def purge(queue: str) -> int:
    """Take every message out of one queue and cancel its waiting records; returns how many tasks that were."""
    strangers = _take_strangers(queue)
    # After the messages: a record whose message was taken must not be left waiting for it.
    cancelled = parts().moves.revoke_waiting(queue)
    for task_id in cancelled:
        follow_failure(task_id)
    return len({*cancelled, *strangers})


def kill_all() -> dict[str, Any]:
    """Cancel all that is not final, and what other programs have sent and no worker has seen yet."""
    strangers = [task_id for queue in QUEUES for task_id in _take_strangers(queue)]
    cancelled = parts().moves.revoke_all()
    for task_id in cancelled:
        follow_failure(task_id)
    return {"killed_count": len({*cancelled, *strangers}), "failed_count": 0, "failed_task_ids": []}


def worker_stats() -> dict[str, Any]:
    """Ask every worker for what it runs, knows, has done and was told to revoke."""
    with ThreadPoolExecutor(len(INSPECTED)) as pool:
        answers = pool.map(_inspect, INSPECTED)
    return dict(zip(INSPECTED, answers, strict=True))


def consumers() -> dict[str, int]:
    """Return how many workers listen to each queue, of those that answer within a second.

    Raises:
        ServiceUnavailable: the broker does not answer.
    """
    answers = _inspect("active_queues").values()
    return Counter(name for listened in answers for name in {rabbitmq.logical_name(one["name"]) for one in listened})


def _inspect(what: str) -> dict[str, Any]:
    # One of Celery's pool may have been cut since it was used last, and RabbitMQ's does not come back by itself.
    try:
        with celery_app.connection_for_write() as connection:
            inspector = cast("Any", celery_app.control).inspect(timeout=INSPECT_SECONDS, connection=connection)
            return getattr(inspector, what)() or {}
    except AWAY_ERRORS as error:
        raise ServiceUnavailable(f"The workers cannot be asked: the broker does not answer: {error}.") from error


def _take_strangers(queue: str) -> list[str]:
    """Take every message out of one queue; returns the ids of those without a record, which are now cancelled."""
    strangers: list[str] = []
    try:
        with celery_app.connection_for_write() as connection:
            for headers, body in take_all(connection, queue):
                if _cancelled(queue, headers, body):
                    strangers.append(headers["id"])
    except AWAY_ERRORS as error:
        logger.warning("broker_away", purging=queue, error=str(error))
    return strangers


def _cancelled(queue: str, headers: dict[str, Any], body: Any) -> bool:
    """Do what `_record_cancelled` does; a message of which no record can be made is dropped, as the log tells."""
    try:
        return _record_cancelled(queue, headers, body)
    except ServiceUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - another program may send anything, which must stop nobody's purge
        logger.warning("message_dropped", queue=queue, task_id=str(headers.get("id")), error=str(error))
        return False


def _record_cancelled(queue: str, headers: dict[str, Any], body: Any) -> bool:
    """Record, as cancelled, a message that came past the facade; False where it had a record or is due later."""
    task_id, name = headers.get("id"), headers.get("task")
    if not is_task_id(task_id) or not isinstance(name, str) or not is_recorded(name):
        return False
    args, kwargs, embed, due = list[Any](), dict[str, Any](), dict[str, Any](), None
    with suppress(InvalidArgument, TypeError, ValueError):  # what no worker can read cannot wait for its time
        args, kwargs, embed = storable(body)
        due = moment(headers.get("eta"))
    draft = Draft(
        id=task_id,
        name=name,
        category=category_of(name),
        queue=queue,
        args=args,
        kwargs=kwargs,
        message=kept_message(name, headers, embed, args, kwargs),
        due_at=due,
        expires_at=moment(headers.get("expires")),
        origin=headers.get("origin"),
    )
    opened = parts().tasks.open(draft)
    return opened and (due is None or due <= datetime.now(UTC)) and parts().moves.revoke(task_id)
