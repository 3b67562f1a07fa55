"""Health and figures: the results that callers read."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from processors.results import Result

PROBE_SECONDS = 2.0
CRITICAL = frozenset({"database", "broker"})

QUEUE_EXAMPLE = {
    "depth": 12,
    "oldest_age_seconds": 3.5,
    "unacknowledged": 4,
    "scheduled": 7,
    "consumers": None,
    "paused": False,
    "limit": "50/m",
    "came_per_minute": 31.4,
    "ended_per_minute": 30.9,
}

Status = Literal["healthy", "degraded", "unhealthy"]
Probe = Callable[[], str]


class Check(Result):
    """What one probe found."""

    name: str = Field(description="What was looked at.", examples=["database"])
    status: Status = Field(description="How it is.")
    detail: str = Field(description="What was found, or what is wrong.", examples=["sqlite, schema 0036"])
    seconds: float = Field(description="How long the look took.", examples=[0.004])


class Health(Result):
    """The service's health: unhealthy without database or broker, degraded where anything else is wrong."""

    status: Status = Field(description="The worst of the checks.")
    checks: list[Check] = Field(description="What was looked at.")
    version: str = Field(description="The service's version.", examples=["0.1.0"])
    checked_at: str = Field(description="When.", examples=["2026-11-30T12:00:00+00:00"])


class HostStatistics(Result):
    """A machine's figures; sizes in bytes, shares in per cent."""

    cpu: dict[str, Any]
    memory: dict[str, Any]
    disk: dict[str, Any]
    load: list[float]
    processes: dict[str, Any]
    uptime_seconds: float
    collected_at: str


class QueueFigures(Result):
    """One queue: what waits and runs in it, and how many workers listen to it, None where that is not known."""

    depth: int = Field(default=0, description="What waits.", examples=[12])
    oldest_age_seconds: float | None = Field(default=None, description="For how long, at most.", examples=[3.5])
    unacknowledged: int = Field(default=0, description="What runs, or is reserved.", examples=[4])
    scheduled: int = Field(default=0, description="What is due later.", examples=[7])
    consumers: int | None = Field(default=0, description="Workers that listen; null: not known.", examples=[None])
    paused: bool = Field(default=False, description="Whether nothing of it starts.", examples=[False])
    limit: str | None = Field(default=None, description="How often most of its tasks may start.", examples=["50/m"])
    came_per_minute: float | None = Field(
        default=None, description="How many came a minute lately; null: not counted yet.", examples=[31.4]
    )
    ended_per_minute: float | None = Field(
        default=None, description="How many ended a minute lately; null: not counted yet.", examples=[30.9]
    )


class QueueStatistics(Result):
    """Every queue by its name, and the sums."""

    queues: dict[str, QueueFigures] = Field(description="Each queue.", examples=[{"email": QUEUE_EXAMPLE}])
    totals: QueueFigures = Field(description="The sums.")


class HeartbeatsChecked(Result):
    """How many working processes live, and how many old rows were removed."""

    living: int
    removed: int


def check(probes: Mapping[str, Probe], version: str, seconds: float = PROBE_SECONDS) -> Health:
    """Run all probes side by side; one that hangs is unhealthy and holds nothing up.

    Args:
        probes: by name; each returns a detail, or raises with the reason.
        version: the service's version.
        seconds: how long a probe may take.
    """
    pool = ThreadPoolExecutor(max_workers=len(probes), thread_name_prefix="probe")
    try:
        started = time.monotonic()
        futures = {name: pool.submit(_run, name, probe) for name, probe in probes.items()}
        checks: list[Check] = []
        for name, future in futures.items():
            try:
                checks.append(future.result(max(0.0, started + seconds - time.monotonic())))
            except FutureTimeoutError:
                detail = f"no answer within {seconds:g} s"
                checks.append(Check(name=name, status=_worst(name), detail=detail, seconds=seconds))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return Health(status=overall(checks), checks=checks, version=version, checked_at=datetime.now(UTC).isoformat())


def overall(checks: list[Check]) -> Status:
    """Return the worst status among the checks."""
    found = {one.status for one in checks}
    return "unhealthy" if "unhealthy" in found else "degraded" if "degraded" in found else "healthy"


def total(queues: Mapping[str, QueueFigures]) -> QueueFigures:
    """Add up the queues; the oldest is the oldest of all."""
    ages = [figures.oldest_age_seconds for figures in queues.values() if figures.oldest_age_seconds is not None]
    listening = [figures.consumers for figures in queues.values() if figures.consumers is not None]
    came = [figures.came_per_minute for figures in queues.values() if figures.came_per_minute is not None]
    ended = [figures.ended_per_minute for figures in queues.values() if figures.ended_per_minute is not None]
    return QueueFigures(
        depth=sum(figures.depth for figures in queues.values()),
        oldest_age_seconds=max(ages, default=None),
        unacknowledged=sum(figures.unacknowledged for figures in queues.values()),
        scheduled=sum(figures.scheduled for figures in queues.values()),
        consumers=max(listening, default=None if queues else 0),
        came_per_minute=round(sum(came), 2) if came else None,
        ended_per_minute=round(sum(ended), 2) if ended else None,
    )


def _run(name: str, probe: Probe) -> Check:
    began = time.monotonic()
    try:
        status, detail = "healthy", probe()
    except Exception as error:  # noqa: BLE001 - whatever a probe raises is what it found
        status, detail = _worst(name), str(error)
    return Check(name=name, status=status, detail=detail, seconds=round(time.monotonic() - began, 3))


def _worst(name: str) -> Status:
    return "unhealthy" if name in CRITICAL else "degraded"
