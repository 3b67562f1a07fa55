"""Health and figures: the results that callers read."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import UTC, datetime
from typing import Any, Literal

from processors.results import Result

PROBE_SECONDS = 2.0
CRITICAL = frozenset({"database", "broker"})

Status = Literal["healthy", "degraded", "unhealthy"]
Probe = Callable[[], str]


class Check(Result):
    """What one probe found."""

    name: str
    status: Status
    detail: str
    seconds: float


class Health(Result):
    """The service's health: unhealthy without database or broker, degraded where anything else is wrong."""

    status: Status
    checks: list[Check]
    version: str
    checked_at: str


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

    depth: int = 0
    oldest_age_seconds: float | None = None
    unacknowledged: int = 0
    scheduled: int = 0
    consumers: int | None = 0
    paused: bool = False
    limit: str | None = None


class QueueStatistics(Result):
    """Every queue by its name, and the sums."""

    queues: dict[str, QueueFigures]
    totals: QueueFigures


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
    return QueueFigures(
        depth=sum(figures.depth for figures in queues.values()),
        oldest_age_seconds=max(ages, default=None),
        unacknowledged=sum(figures.unacknowledged for figures in queues.values()),
        scheduled=sum(figures.scheduled for figures in queues.values()),
        consumers=max(listening, default=None if queues else 0),
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
