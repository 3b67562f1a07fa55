"""Scheduling: publish what waits, submit again what failed, act on many tasks."""

from typing import TYPE_CHECKING

from processors.scheduling import (
    ActOnTasks,
    FailedRetried,
    PendingProcessed,
    ProcessPendingTasks,
    RetryFailedTasks,
    TasksActedOn,
)
from services.celery_tasks.base import RecordedTask, recorded_task
from services.on_first_use import on_first_use
from services.relay import reconcile, relay_by_hand
from services.retrying import retry_failed

if TYPE_CHECKING:
    from services import task_acts
else:
    task_acts = on_first_use("services", "task_acts")

RECONCILE_AGE_SECONDS = 60


@recorded_task("scheduling.process_pending_tasks", ProcessPendingTasks)
def process_pending_tasks(task: RecordedTask, request: ProcessPendingTasks) -> PendingProcessed:
    """Publish what is due and not published, and what a broker has lost."""
    reconcile(RECONCILE_AGE_SECONDS)
    examined, published = relay_by_hand(request.max_tasks, request.task_types)
    left = task.parts.moves.waiting_count(request.task_types) + examined - published
    return PendingProcessed(examined=examined, published=published, left=left)


@recorded_task("scheduling.retry_failed_tasks", RetryFailedTasks)
def retry_failed_tasks(task: RecordedTask, request: RetryFailedTasks) -> FailedRetried:
    """Submit failed tasks again, as new tasks."""
    return retry_failed(request, task.report, task.current.due_at)


@recorded_task("scheduling.act_on_tasks", ActOnTasks)
def act_on_tasks(task: RecordedTask, request: ActOnTasks) -> TasksActedOn:
    """Cancel, or submit again, all tasks that a filter finds."""
    return task_acts.act_on(request, task.report, task.current.id)
