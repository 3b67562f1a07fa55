"""Figures that several pages show."""

from functools import cache
from typing import Any

from dashboard.recent import Recent
from processors.health import Health, QueueStatistics
from services import monitoring, overview, steering
from services.wiring import parts

PAST_FRESH_SECONDS = 15.0
PAST_STALE_SECONDS = 60.0


@cache
def consumers() -> Recent[dict[str, int]]:
    """Return what knows how many workers listen to each queue: to ask them takes a second."""
    return Recent(steering.consumers)


@cache
def health() -> Recent[Health]:
    """Return what knows how the service is: a broker that is away takes two seconds to say so."""
    return Recent(lambda: monitoring.health(parts()))


@cache
def past(hours: float) -> Recent[dict[str, Any]]:
    """Return what knows what came and ended in so many hours: to add up a week takes a second."""
    seconds = PAST_FRESH_SECONDS * max(1.0, hours / 6)
    return Recent(lambda: overview.past(hours), fresh=seconds, stale=PAST_STALE_SECONDS + seconds)


def queues() -> QueueStatistics:
    """Return each queue's figures; who listens, where that was found out."""
    return monitoring.queue_statistics(parts(), consumers().value(0))
