"""When a scheduled call is due: as a caller writes it, in UTC, and as the clocks of its zone show it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from processors.errors import InvalidArgument
from processors.moments import moment, zone_named

LATEST_PAST = timedelta(seconds=60)
"""A time that has passed by no more than this means now: a caller's clock differs, and a request takes a moment."""

FURTHEST = timedelta(days=10 * 366)
"""A call beyond ten years is a slip of the pen in the year."""

SHORTEST_WITH_A_TIME = len("20300131T09")
NAME = "schedule_time"


@dataclass(frozen=True, slots=True)
class ScheduledMoment:
    """When a call is due.

    Attributes:
        utc: the moment, with an offset of zero; never before now.
        wall: what the clocks of `zone` show then, ISO 8601 without an offset.
        zone: an IANA name, or `UTC+02:00` where the time was given with an offset.
    """

    utc: datetime
    wall: str
    zone: str


def due_moment(schedule_time: Any, timezone: str, now: datetime) -> ScheduledMoment:
    """Return when a call is due.

    Args:
        schedule_time: ISO 8601 with a time of day, with or without an offset; None means now.
        timezone: the IANA name of the zone of a time without an offset. Of a time that its clocks show twice the first
            is meant.
        now: the present moment, with an offset.

    Raises:
        InvalidArgument: it is no such text, its clocks never show it, it has passed by more than 60 seconds, it lies
            more than ten years ahead, or the zone is unknown.
    """
    present = now.astimezone(UTC)
    if schedule_time is None:
        return ScheduledMoment(present, _wall(present.astimezone(zone_named(timezone))), timezone)
    _check_text(schedule_time)
    due = moment(schedule_time, timezone, name=NAME)
    if due < present - LATEST_PAST:
        raise InvalidArgument(
            f"{NAME}: must not have passed by more than 60 seconds; got {schedule_time} in {timezone}, which is "
            f"{_wall(due)} UTC, and now it is {_wall(present)} UTC."
        )
    if due > present + FURTHEST:
        raise InvalidArgument(f"{NAME}: must lie within the next ten years; got {schedule_time}.")
    given = datetime.fromisoformat(schedule_time)
    zone = timezone if given.tzinfo is None else str(given.tzinfo)
    return ScheduledMoment(max(due, present), given.replace(tzinfo=None).isoformat(), zone)


def _check_text(schedule_time: Any) -> None:
    """Refuse what is no text, and a date alone: nobody means to be called at midnight.

    Raises:
        InvalidArgument: it is.
    """
    if not isinstance(schedule_time, str):
        got = type(schedule_time).__name__
        raise InvalidArgument(f"{NAME}: must be an ISO 8601 text like 2030-01-31T09:00:00+01:00; got {got}.")
    if 0 < len(schedule_time) < SHORTEST_WITH_A_TIME:
        raise InvalidArgument(
            f"{NAME}: must have a date and a time of day, like 2030-01-31T09:00:00+01:00; got {schedule_time!r}."
        )


def _wall(local: datetime) -> str:
    return local.replace(tzinfo=None).isoformat()
