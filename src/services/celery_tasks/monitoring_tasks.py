"""Monitoring: health, machine, queues, heartbeats."""

from processors import health
from processors.health import Health, HeartbeatsChecked, HostStatistics, QueueStatistics
from processors.results import Request
from services.celery_tasks.base import RecordedTask, recorded_task
from services.monitoring import probes, queue_statistics, version


@recorded_task("monitoring.health_check", Request)
def health_check(task: RecordedTask, request: Request) -> Health:  # noqa: ARG001 - it has no fields
    """Check database, broker, leader, workers and disk."""
    return health.check(probes(task.parts), version())


@recorded_task("monitoring.get_system_stats", Request)
def get_system_stats(task: RecordedTask, request: Request) -> HostStatistics:  # noqa: ARG001 - it has no fields
    """Measure this worker's machine."""
    return HostStatistics.model_validate(task.parts.host.statistics())


@recorded_task("monitoring.get_queue_stats", Request)
def get_queue_stats(task: RecordedTask, request: Request) -> QueueStatistics:  # noqa: ARG001 - it has no fields
    """Count what waits and runs in each queue."""
    return queue_statistics(task.parts)


@recorded_task("monitoring.check_worker_heartbeats", Request)
def check_worker_heartbeats(task: RecordedTask, request: Request) -> HeartbeatsChecked:  # noqa: ARG001 - no fields
    """Count who lives and forget who ended long ago."""
    workers = task.parts.workers
    return HeartbeatsChecked(living=len(workers.living()), removed=workers.prune())
