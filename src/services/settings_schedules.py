"""The settings' schedules: `celery_app.conf.beat_schedule`, in Celery's own form, as what our schedules are."""

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, cast

from celery.schedules import crontab as celery_crontab
from celery.schedules import schedule as celery_interval
from kombu import Queue

from config.log_setup import get_logger
from processors.errors import InvalidArgument
from records.leadership import Lead
from records.schedules import Definition
from services.celery_app import celery_app
from services.scheduling import definition_of, requested
from services.submission import PRIORITY_NAMES
from services.wiring import parts

logger = get_logger()

TAKEN_OPTIONS = frozenset({"queue", "priority"})
FIELDS = (("minute", 60), ("hour", 24), ("day_of_month", 31), ("month_of_year", 12), ("day_of_week", 7))
"""Fields of Celery's crontab in cron's order, and how many values each can have."""

STAR = re.compile(r"\*(/\d+)?")
"""What Celery and cron read alike; cron looks at whether a field begins with a star."""

ENTRY = "in celery_app.conf.beat_schedule"


def adopt(lead: Lead) -> bool:
    """Let the settings' schedules be what the settings say now; returns whether all of it is done."""
    definitions = wanted(celery_app.conf.beat_schedule or {})
    done = parts().schedules.adopt(lead, definitions)
    for name in done.taken if done else ():
        logger.warning("schedule_refused", schedule=name, error=f"its name is taken; give it another one {ENTRY}.")
    return done is not None and done.whole


def wanted(entries: Mapping[str, Any]) -> list[Definition]:
    """Return what these entries say; one that cannot be a schedule is left out, with a sentence in the log."""
    found: list[Definition] = []
    for name, entry in entries.items():
        try:
            found.append(_definition(name, entry))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one entry is no other's
            logger.warning("schedule_refused", schedule=name, error=str(error))
    return found


def _definition(name: str, entry: Any) -> Definition:
    if not isinstance(entry, Mapping):
        raise InvalidArgument(f"{name!r} must be a dict with task and schedule {ENTRY}; got {type(entry).__name__}.")
    given = cast("Mapping[str, Any]", entry)
    options: dict[str, Any] = dict(given.get("options") or {})
    ignored = sorted(options.keys() - TAKEN_OPTIONS) + (["relative"] if given.get("relative") else [])
    if ignored:
        logger.warning("schedule_options_ignored", schedule=name, options=ignored)
    queue = options.get("queue")
    request = requested(
        name=name,
        task=given.get("task"),
        kwargs=given.get("kwargs"),
        args=given.get("args"),
        queue=queue.name if isinstance(queue, Queue) else queue,
        priority=PRIORITY_NAMES.get(options.get("priority", -1), "normal"),
        timezone=str(celery_app.conf.timezone or "UTC"),
        **_timing(given.get("schedule")),
    )
    return definition_of(request, known=False)


def _timing(schedule: Any) -> dict[str, Any]:
    if isinstance(schedule, celery_crontab):
        return {"crontab": five_fields(schedule)}
    if isinstance(schedule, celery_interval):
        schedule = cast("Any", schedule).run_every
    if isinstance(schedule, timedelta):
        schedule = schedule.total_seconds()
    if isinstance(schedule, (int, float)):
        return {"every": schedule}
    raise InvalidArgument(f"schedule: must be seconds, a timedelta or a crontab; got {type(schedule).__name__}.")


def five_fields(crontab: Any) -> str:
    """Return Celery's crontab in cron's words.

    Raises:
        InvalidArgument: cron cannot say it.
    """
    texts = [_field(getattr(crontab, f"_orig_{name}"), getattr(crontab, name), most) for name, most in FIELDS]
    if not texts[2].startswith("*") and not texts[4].startswith("*"):
        raise InvalidArgument(
            "schedule: day_of_month and day_of_week are both restricted: Celery fires where both match, cron where one "
            "does; restrict one of them, and let the task look at the other."
        )
    return " ".join(texts)


def _field(given: Any, values: Collection[int], most: int) -> str:
    if isinstance(given, str) and STAR.fullmatch(given):
        return given
    return "*" if len(values) == most else ",".join(map(str, sorted(values)))
