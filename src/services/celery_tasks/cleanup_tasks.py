"""Clean-up: remove what is old, and nothing else."""

from __future__ import annotations  # the modules that these name are imported on first use

from typing import TYPE_CHECKING

from config.settings import settings
from services.celery_tasks.base import RecordedTask, recorded_task
from services.on_first_use import on_first_use

if TYPE_CHECKING:
    from processors import cleanup
    from services import scheduled_files
else:
    cleanup = on_first_use("processors", "cleanup")
    scheduled_files = on_first_use("services", "scheduled_files")


@recorded_task("cleanup.cleanup_old_tasks", "processors.cleanup:CleanupOldTasks")
def cleanup_old_tasks(task: RecordedTask, request: cleanup.CleanupOldTasks) -> cleanup.CleanedUp:
    """Remove the records of tasks that ended long ago, with their artefacts; and uploads whose own time is over."""
    storage = task.parts.storage
    scheduled_files.renew()
    tasks = cleanup.clean_tasks(request, task.parts.moves, storage, task.report)
    return cleanup.together(tasks, cleanup.clean_uploads(task.parts.uploads, storage, task.report))


@recorded_task("cleanup.cleanup_old_files", "processors.cleanup:CleanupOldFiles")
def cleanup_old_files(task: RecordedTask, request: cleanup.CleanupOldFiles) -> cleanup.CleanedUp:
    """Remove old files below a directory that may be cleaned."""
    return cleanup.clean_files(request, task.parts.cleaner, task.report)


@recorded_task("cleanup.cleanup_old_logs", "processors.cleanup:CleanupOldLogs")
def cleanup_old_logs(task: RecordedTask, request: cleanup.CleanupOldLogs) -> cleanup.CleanedUp:
    """Remove old logs; `logs` is the service's own folder of logs."""
    own = request.log_directory == "logs"
    directory = request.model_copy(update={"log_directory": str(settings.logs)}) if own else request
    return cleanup.clean_logs(directory, task.parts.cleaner, task.report)
