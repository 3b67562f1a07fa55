"""Monitoring: health, machine, queues, heartbeats."""

from __future__ import annotations  # the modules that these name are imported on first use

from typing import TYPE_CHECKING

from processors.results import Request
from services.celery_tasks.base import RecordedTask, recorded_task
from services.on_first_use import on_first_use

if TYPE_CHECKING:
    from processors import health
    from services import monitoring
else:
    health = on_first_use("processors", "health")
    monitoring = on_first_use("services", "monitoring")


@recorded_task("monitoring.health_check", Request)
def health_check(task: RecordedTask, request: Request) -> health.Health:  # noqa: ARG001 - it has no fields
    """Check database, broker, leader, workers and disk."""
    return health.check(monitoring.probes(task.parts), monitoring.version())


@recorded_task("monitoring.get_system_stats", Request)
def get_system_stats(task: RecordedTask, request: Request) -> health.HostStatistics:  # noqa: ARG001 - it has no fields
    """Measure this worker's machine."""
    return health.HostStatistics.model_validate(task.parts.host.statistics())


@recorded_task("monitoring.get_queue_stats", Request)
def get_queue_stats(task: RecordedTask, request: Request) -> health.QueueStatistics:  # noqa: ARG001 - it has no fields
    """Count what waits and runs in each queue."""
    return monitoring.queue_statistics(task.parts, monitoring.listeners())


@recorded_task("monitoring.check_worker_heartbeats", Request)
def check_worker_heartbeats(task: RecordedTask, request: Request) -> health.HeartbeatsChecked:  # noqa: ARG001 - no fields
    """Count who lives and forget who ended long ago."""
    workers = task.parts.workers
    return health.HeartbeatsChecked(living=len(workers.living()), removed=workers.prune())
