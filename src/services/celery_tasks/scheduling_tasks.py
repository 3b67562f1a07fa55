"""Scheduling: publish what waits, submit again what failed."""

from processors.scheduling import FailedRetried, PendingProcessed, ProcessPendingTasks, RetryFailedTasks
from services.celery_tasks.base import RecordedTask, recorded_task
from services.relay import due_besides_full, reconcile
from services.retrying import retry_failed
from services.submission import publish

RECONCILE_AGE_SECONDS = 60


@recorded_task("scheduling.process_pending_tasks", ProcessPendingTasks)
def process_pending_tasks(task: RecordedTask, request: ProcessPendingTasks) -> PendingProcessed:
    """Publish what is due and not published, and what a broker has lost."""
    reconcile(RECONCILE_AGE_SECONDS)
    due = due_besides_full(request.max_tasks, request.task_types)
    published = publish(due, wait=True) if due else 0
    return PendingProcessed(
        examined=len(due), published=published, left=task.parts.moves.waiting_count(request.task_types)
    )


@recorded_task("scheduling.retry_failed_tasks", RetryFailedTasks)
def retry_failed_tasks(task: RecordedTask, request: RetryFailedTasks) -> FailedRetried:
    """Submit failed tasks again, as new tasks."""
    return retry_failed(request, task.report)
