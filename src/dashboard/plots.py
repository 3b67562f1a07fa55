"""What the plots of the overview show, as columns: a point for each step, those too in which nothing was."""

from datetime import datetime, timedelta
from typing import Any

from services.overview import begin_of

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)

RATES = {"came": "created", "succeeded": "succeeded", "failed": "failed"}
"""By the plot's line the figure that it shows, as tasks a minute."""

SPANS = ("wait_p50", "wait_p95", "run_p50", "run_p95")
WAITING = ("depth", "oldest_age_seconds")
NOTHING: dict[str, Any] = dict.fromkeys((*RATES.values(), "cancelled"), 0) | dict.fromkeys((*SPANS, *WAITING))


def columns(past: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the columns: `at` in seconds of Unix, tasks a minute, the share of failures in per cent, and seconds.

    What waited is a number, and for how long the oldest of it; where nothing did, that is no time at all.

    Args:
        past: as `services.overview.past` returns it.
    """
    points = {datetime.fromisoformat(one["at"]): one for one in past["points"]}
    moments = _moments(past)
    found = [points.get(at, NOTHING) for at, _ in moments]
    minutes = [(end - at) / MINUTE for at, end in moments]
    rates = {
        line: [round(one[name] / length, 3) for one, length in zip(found, minutes, strict=True)]
        for line, name in RATES.items()
    }
    spans = {name: [_rounded(one[name]) for one in found] for name in SPANS}
    waiting = {
        "depth": [one["depth"] for one in found],
        "oldest": [0 if one["depth"] == 0 else one["oldest_age_seconds"] for one in found],
    }
    at, shares = [int(at.timestamp()) for at, _ in moments], [_share(one) for one in found]
    return {"at": at, **rates, "share": shares, **spans, **waiting}


def _moments(past: dict[str, Any]) -> list[tuple[datetime, datetime]]:
    """Return when each point of what is counted begins and ends; the last one of a day ends with it."""
    if past["counted_from"] is None:
        return []
    step = timedelta(seconds=past["step_seconds"])
    at, until = datetime.fromisoformat(past["counted_from"]), datetime.fromisoformat(past["counted_to"])
    at = begin_of(at, step)
    moments: list[tuple[datetime, datetime]] = []
    while at < until:
        end = min(at + step, at.replace(hour=0, minute=0) + DAY)
        moments.append((at, end))
        at = end
    return moments


def _share(point: dict[str, Any]) -> float | None:
    ended = point["failed"] + point["succeeded"]
    return round(100 * point["failed"] / ended, 2) if ended else None


def _rounded(seconds: float | None) -> float | None:
    """Return seconds with three figures; a scale of powers has no place for none at all."""
    return None if seconds is None else float(f"{max(seconds, 0.001):.3g}")
