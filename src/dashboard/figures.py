"""Figures that several pages show."""

from functools import cache

from dashboard.recent import Recent
from processors.health import Health, QueueStatistics
from services import monitoring, steering
from services.wiring import parts


@cache
def consumers() -> Recent[dict[str, int]]:
    """Return what knows how many workers listen to each queue: to ask them takes a second."""
    return Recent(steering.consumers)


@cache
def health() -> Recent[Health]:
    """Return what knows how the service is: a broker that is away takes two seconds to say so."""
    return Recent(lambda: monitoring.health(parts()))


def queues() -> tuple[QueueStatistics, bool]:
    """Return each queue's figures, and whether it is known who listens."""
    listening = consumers().value(0)
    return monitoring.queue_statistics(parts(), listening or {}), listening is not None
