"""What runs when, in Celery's own form: the periodic tasks, each switched by a setting."""

from datetime import timedelta
from typing import Any

from config.settings import Settings

HOURS_PER_DAY = 24


def schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the schedules of these settings; an entry that a setting switches off is left out."""
    entries: dict[str, tuple[bool, str, timedelta, dict[str, Any]]] = {
        "process-pending-tasks": (
            settings.schedule_process_pending_tasks,
            "scheduling.process_pending_tasks",
            timedelta(minutes=1),
            {},
        ),
        "worker-heartbeats": (
            settings.schedule_worker_heartbeats,
            "monitoring.check_worker_heartbeats",
            timedelta(minutes=1),
            {},
        ),
        "health-check": (settings.schedule_health_check, "monitoring.health_check", timedelta(minutes=5), {}),
        "cleanup-old-tasks": (
            settings.schedule_cleanup_old_tasks,
            "cleanup.cleanup_old_tasks",
            timedelta(hours=1),
            {"max_age_hours": settings.keep_records_days * HOURS_PER_DAY},
        ),
        "cleanup-old-files": (
            settings.schedule_cleanup_old_files,
            "cleanup.cleanup_old_files",
            timedelta(hours=6),
            {"directory": str(settings.tmp_dir), "max_age_hours": 168},
        ),
        "cleanup-old-logs": (
            settings.schedule_cleanup_old_logs,
            "cleanup.cleanup_old_logs",
            timedelta(hours=6),
            {"max_age_hours": settings.keep_logs_days * HOURS_PER_DAY},
        ),
    }
    return {
        name: {"task": task, "schedule": every, "kwargs": kwargs, "options": {"queue": "default"}}
        for name, (on, task, every, kwargs) in entries.items()
        if on
    }


def switch_of(name: str) -> str | None:
    """Return the setting that switches a periodic task of ours; None for what is not ours."""
    field = f"schedule_{name.replace('-', '_')}"
    return field.upper() if field in Settings.model_fields else None
