"""What health checks and figures are made of, for tasks, web and command line alike."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from importlib.metadata import version as installed_version
from typing import Any

from broker.allegiance import swear
from broker.location import check_reachable, resolve
from config.email_urls import read_ways
from config.settings import settings
from processors.errors import ServiceUnavailable
from processors.health import CRITICAL, Health, QueueFigures, QueueStatistics, check, total
from records.ai_calls import AccountState
from records.database import ping
from services import parked
from services.ai_providers import account_of, providers_of
from services.celery_app import QUEUES, celery_app
from services.effects import doubts
from services.limiting import limit_of_queue
from services.steering import consumers
from services.wiring import Parts

LOW_DISK_BYTES = 1 * 1024**3
OVERDUE_SECONDS = 60
LONG_PAUSE_SECONDS = 300
MINUTE = timedelta(minutes=1)
RATE_HOURS = 10 / 60
"""Of so long are the rates of a queue, as far as it is counted."""
NOTHING_LATELY = {"came_per_minute": 0.0, "ended_per_minute": 0.0}


def version() -> str:
    """Return the service's version."""
    return installed_version("csai-background-service")


def probes(parts: Parts) -> dict[str, Callable[[], str]]:
    """Return the probes of a health check, by name."""
    return {
        "database": lambda: ping(parts.database),
        "broker": partial(_broker, parts),
        "leader": lambda: _leader(parts),
        "schedules": lambda: _schedules(parts),
        "workers": lambda: _workers(parts),
        "overruns": lambda: _overruns(parts),
        "parked": _parked,
        "effects": lambda: _effects(parts),
        "providers": lambda: _providers(parts),
        "mail": mail,
        "disk": lambda: _disk(parts),
    }


def readiness(parts: Parts) -> Health:
    """Tell whether submitted work would be recorded and published now."""
    found = {name: probe for name, probe in probes(parts).items() if name in CRITICAL}
    return check(found, version())


def health(parts: Parts) -> Health:
    """Run all probes, as `health_check` does."""
    return check(probes(parts), version())


def queue_statistics(parts: Parts, listening: Mapping[str, int] | None = None) -> QueueStatistics:
    """Return the figures of each queue of the service, and of each other that has, or lately had, any task.

    They are of the records; sums over all priorities.

    Args:
        parts: where the records are.
        listening: how many workers listen to each queue, as `listeners` returns it; None where that is not known.
    """
    found, rates = parts.tasks.queue_figures(), _rates(parts)
    paused, in_force = parts.limits.paused(), parts.limits.in_force()
    names = (*QUEUES, *sorted({*found, *(rates or ())} - {*QUEUES}))
    queues = {
        name: _figures(found.get(name, {}), None if listening is None else listening.get(name, 0)).model_copy(
            update={
                "paused": name in paused,
                "limit": limit_of_queue(in_force, name),
                **({} if rates is None else rates.get(name, NOTHING_LATELY)),
            }
        )
        for name in names
    }
    return QueueStatistics(queues=queues, totals=total(queues))


def listeners() -> Mapping[str, int] | None:
    """Ask for a second how many workers listen to each queue; None where the broker is away."""
    try:
        return consumers()
    except ServiceUnavailable:
        return None


def _rates(parts: Parts) -> dict[str, dict[str, float]] | None:
    """Return how many tasks came and ended a minute lately in each queue that had any; None where none was counted."""
    counted = parts.minutes.counted(RATE_HOURS)
    if counted is None:
        return None
    minutes = (counted[1] - counted[0]) / MINUTE + 1
    came, ended = Counter[str](), Counter[str]()
    for row in parts.minutes.since(RATE_HOURS):
        came[row["queue"]] += row["created"]
        ended[row["queue"]] += row["succeeded"] + row["failed"] + row["cancelled"]
    return {
        queue: {
            "came_per_minute": round(came[queue] / minutes, 2),
            "ended_per_minute": round(ended[queue] / minutes, 2),
        }
        for queue in came
    }


def _figures(found: dict[str, Any], listening: int | None) -> QueueFigures:
    return QueueFigures(
        depth=found.get("depth", 0),
        oldest_age_seconds=found.get("oldest_age_seconds"),
        unacknowledged=found.get("running", 0),
        scheduled=found.get("scheduled", 0),
        consumers=listening,
    )


def _broker(parts: Parts) -> str:
    location = resolve(settings)
    check_reachable(location, timeout=1)
    with celery_app.connection_for_write() as connection:
        swear(connection, parts.database_id)
    return location.shown


def _leader(parts: Parts) -> str:
    leader = parts.leadership.current()
    if leader is None:
        raise ServiceUnavailable("no leader: due tasks and retries wait until a worker or beat starts one")
    if leader.yields:
        raise ServiceUnavailable(f"the leader, process {leader.pid} on {leader.host}, does not reach the broker")
    return f"process {leader.pid} on {leader.host}, term {leader.term}"


def _schedules(parts: Parts) -> str:
    overdue = parts.schedules.overdue(OVERDUE_SECONDS)
    if overdue:
        name, seconds = overdue[0]
        raise ServiceUnavailable(
            f"{len(overdue)} schedules are overdue, {name!r} by {seconds:.0f} s: see the leader's log for the reason"
        )
    return "none is overdue"


def _workers(parts: Parts) -> str:
    living = parts.workers.living()
    if not living:
        raise ServiceUnavailable("no worker lives: start one: `make run`, or `python scripts/start_celery.py worker`")
    return f"{len(living)} working processes"


def _overruns(parts: Parts) -> str:
    found = [row for row in parts.workers.living() if row.overrun]
    if found:
        where = ", ".join(f"{row.overrun} in {row.name}, process {row.pid}" for row in found)
        raise ServiceUnavailable(f"tasks go on although they were ended: {where}; each process is being replaced")
    return "no task goes on that was ended"


def _parked() -> str:
    count = parked.count()
    if count:
        raise ServiceUnavailable(f"{count} messages that no worker can use are parked: see `csai parked list`")
    return "nothing is parked"


def _providers(parts: Parts) -> str:
    """Tell of the providers of AI that are set; one that asks to slow down for a while is well."""
    states = {one.account: one for one in parts.ai_calls.accounts()}
    told: list[str] = []
    bad: list[str] = []
    for name, provider in providers_of(settings).items():
        state = states.get(account_of(name, provider))
        if state is not None and _is_bad(state):
            bad.append(f"{name} is not asked ({state.why}): {state.text}")
        told.append(f"{name}: {state.requests if state else 0} requests in a minute")
    if bad:
        raise ServiceUnavailable("; ".join(bad))
    return ", ".join(told) or "none is set"


def _is_bad(state: AccountState) -> bool:
    """Tell whether tasks wait for a provider; only a refused key is known to be so after its pause, until one calls."""
    least = {"provider_rate_limited": LONG_PAUSE_SECONDS, "provider_unavailable": 0.0}
    return state.why == "provider_auth" or (state.why is not None and state.seconds > least[state.why])


def _effects(parts: Parts) -> str:
    unknown = [one for one in doubts(parts) if one.state == "unknown"]
    if unknown:
        raise ServiceUnavailable(
            f"{len(unknown)} effects are unknown, such as {unknown[0].key}: get_effects_in_doubt lists them, and "
            "settle_effect takes what you find out"
        )
    return "no effect is unknown"


def mail() -> str:
    """Tell where mail goes, and whom staging lets it reach; no server is asked."""
    told = [read_ways(settings.email_url).ends]
    if settings.email_only_to:
        told.append("EMAIL_ONLY_TO lets it out to some alone")
    if settings.email_redirect_all_to:
        told.append("EMAIL_REDIRECT_ALL_TO gets all of it")
    return "; ".join(told)


def _disk(parts: Parts) -> str:
    free = parts.host.free_bytes()
    if free < LOW_DISK_BYTES:
        raise ServiceUnavailable(f"only {free // 1024**2} MB are free on the disk of DATA_DIR")
    return f"{free // 1024**2} MB free"
