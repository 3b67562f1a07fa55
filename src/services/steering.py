"""Steering what runs and waits: cancel, purge, kill, and asking the workers."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from broker.away import AWAY_ERRORS
from broker.waiting_messages import take_all
from config.log_setup import get_logger
from records.task_records import Draft
from services.celery_app import celery_app, is_recorded
from services.failures import follow_failure
from services.submission import category_of, kept_message
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


def purge(queue: str) -> int:
    """Take every message out of one queue and cancel its waiting records; returns how many tasks that were."""
    cancelled = set(parts().moves.revoke_waiting(queue))
    strangers: set[str] = set()
    try:
        with celery_app.connection_for_write() as connection:
            taken = take_all(connection, queue)
    except AWAY_ERRORS as error:
        logger.warning("broker_away", purging=queue, error=str(error))
        taken = []
    for headers, body in taken:
        if _record_cancelled(queue, headers, body):
            strangers.add(headers["id"])
    for task_id in cancelled:
        follow_failure(task_id)
    return len(cancelled | strangers)


def kill_all() -> dict[str, Any]:
    """Cancel all that is not final."""
    cancelled = parts().moves.revoke_all()
    return {"killed_count": len(cancelled), "failed_count": 0, "failed_task_ids": []}


def worker_stats() -> dict[str, Any]:
    """Ask every worker for what it runs, knows, has done and was told to revoke."""
    with ThreadPoolExecutor(len(INSPECTED)) as pool:
        answers = pool.map(_inspect, INSPECTED)
    return dict(zip(INSPECTED, answers, strict=True))


def _inspect(what: str) -> dict[str, Any]:
    inspector = cast("Any", celery_app.control).inspect(timeout=INSPECT_SECONDS)
    return getattr(inspector, what)() or {}


def _record_cancelled(queue: str, headers: dict[str, Any], body: Any) -> bool:
    """Record, as cancelled, a message that came past the facade; False where it had a record."""
    task_id, name = headers.get("id"), headers.get("task")
    if not task_id or not name or not is_recorded(name):
        return False
    args, kwargs, embed = body
    draft = Draft(
        id=task_id,
        name=name,
        category=category_of(name),
        queue=queue,
        args=args,
        kwargs=kwargs,
        message=kept_message(headers, embed, args, kwargs),
        origin=headers.get("origin"),
    )
    return parts().tasks.open(draft) and parts().moves.revoke(task_id)
