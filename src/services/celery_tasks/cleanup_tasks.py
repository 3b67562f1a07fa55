"""Clean-up: remove what is old, and nothing else."""

from config.settings import settings
from processors import cleanup
from processors.cleanup import CleanedUp, CleanupOldFiles, CleanupOldLogs, CleanupOldTasks
from services.celery_tasks.base import RecordedTask, recorded_task


@recorded_task("cleanup.cleanup_old_tasks", CleanupOldTasks)
def cleanup_old_tasks(task: RecordedTask, request: CleanupOldTasks) -> CleanedUp:
    """Remove the records of tasks that ended long ago, with their artefacts."""
    return cleanup.clean_tasks(request, task.parts.moves, task.parts.storage, task.report)


@recorded_task("cleanup.cleanup_old_files", CleanupOldFiles)
def cleanup_old_files(task: RecordedTask, request: CleanupOldFiles) -> CleanedUp:
    """Remove old files below a directory that may be cleaned."""
    return cleanup.clean_files(request, task.parts.cleaner, task.report)


@recorded_task("cleanup.cleanup_old_logs", CleanupOldLogs)
def cleanup_old_logs(task: RecordedTask, request: CleanupOldLogs) -> CleanedUp:
    """Remove old logs; `logs` is the service's own folder of logs."""
    own = request.log_directory == "logs"
    directory = request.model_copy(update={"log_directory": str(settings.logs)}) if own else request
    return cleanup.clean_logs(directory, task.parts.cleaner, task.report)
