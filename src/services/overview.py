"""What the service does at a look: how much came, ended and waited lately, how long, and how things stand."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from processors import task_figures
from services import monitoring
from services.wiring import parts

COUNTED = ("created", "succeeded", "failed", "cancelled")
MINUTE = timedelta(minutes=1)
MOST_POINTS = 180
LONGEST_HOURS = 30 * 24


def overview(hours: float) -> dict[str, Any]:
    """Return the figures of so many hours, and of now.

    Args:
        hours: up to 720.

    Returns:
        What `past` returns; and `now`: `depth`, `oldest_age_seconds`, `running`, `scheduled`, `workers`, and `queues`
        as `get_queue_stats` tells them.
    """
    return past(hours) | {"now": _now()}


def past(hours: float) -> dict[str, Any]:
    """Return the figures of so many hours, as far as they are counted; the last minute or two are not.

    Args:
        hours: up to 720.

    Returns:
        `step_seconds`; `counted_from` and `counted_to`, None where nothing is counted yet; `points`, the oldest first:
        `at`, `created`, `succeeded`, `failed`, `cancelled`, `wait_p50`, `wait_p95`, `run_p50`, `run_p95` (seconds, None
        where nothing ended), `depth`, `oldest_age_seconds` (the most that was seen as one of its minutes began; None
        where nobody looked, or nothing waited); `queues`, the same by queue for all of the time; `totals`, the same in
        all, with `failure_rate` (None where nothing ended).
    """
    counted = parts().minutes.counted(hours)
    rows, looks = parts().minutes.since(hours), parts().minutes.looks(hours)
    step = timedelta(minutes=ceil(hours * 60 / MOST_POINTS))
    points, waiting, queues = (defaultdict[Any, list[Any]](list) for _ in range(3))
    for row in rows:
        points[begin_of(row["minute"], step)].append(row)
        queues[row["queue"]].append(row)
    for look in looks:
        waiting[begin_of(look["minute"], step)].append(look)
    return {
        "step_seconds": step.total_seconds(),
        "counted_from": counted and counted[0].isoformat(),
        "counted_to": counted and (counted[1] + MINUTE).isoformat(),
        "points": [
            {"at": at.isoformat(), **_sums(points[at]), **_most(waiting[at])} for at in sorted({*points, *waiting})
        ],
        "queues": {queue: _sums(some) | _most(some) for queue, some in sorted(queues.items())},
        "totals": _sums(rows) | _most(looks) | {"failure_rate": _failure_rate(rows)},
    }


def begin_of(minute: datetime, step: timedelta) -> datetime:
    """Return the moment at which the point of a minute begins: so many steps after midnight."""
    midnight = minute.replace(hour=0, minute=0)
    return midnight + (minute - midnight) // step * step


def _sums(rows: Sequence[Any]) -> dict[str, Any]:
    waits, runs = (task_figures.added([row[name] for row in rows]) for name in ("waits", "runs"))
    return {name: sum(row[name] for row in rows) for name in COUNTED} | {
        "wait_p50": task_figures.percentile(waits, 0.5),
        "wait_p95": task_figures.percentile(waits, 0.95),
        "run_p50": task_figures.percentile(runs, 0.5),
        "run_p95": task_figures.percentile(runs, 0.95),
    }


def _most(rows: Sequence[Any]) -> dict[str, Any]:
    """Return the most that waited in a minute; None where nobody looked."""
    return {
        name: max((row[name] for row in rows if row[name] is not None), default=None)
        for name in ("depth", "oldest_age_seconds")
    }


def _failure_rate(rows: Iterable[Any]) -> float | None:
    failed = sum(row["failed"] for row in rows)
    ended = failed + sum(row["succeeded"] for row in rows)
    return round(failed / ended, 6) if ended else None


def _now() -> dict[str, Any]:
    found = monitoring.queue_statistics(parts())
    ages = [one.oldest_age_seconds for one in found.queues.values() if one.oldest_age_seconds is not None]
    return {
        "depth": found.totals.depth,
        "oldest_age_seconds": max(ages, default=None),
        "running": found.totals.unacknowledged,
        "scheduled": found.totals.scheduled,
        "workers": len(parts().workers.living()),
        "queues": {name: one.model_dump(mode="json") for name, one in found.queues.items()},
    }
