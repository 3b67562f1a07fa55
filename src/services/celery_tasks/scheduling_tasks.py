"""Scheduling: publish what waits, submit again what failed."""

from processors.scheduling import FailedRetried, PendingProcessed, ProcessPendingTasks, RetryFailedTasks
from services.celery_tasks.base import RecordedTask, recorded_task
from services.relay import reconcile, relay_by_hand
from services.retrying import retry_failed

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
