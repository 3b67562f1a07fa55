"""Calling hours: when a person may be called, by the clocks of every zone in which that person may be."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from processors.moments import change_between, zone_named
from processors.quiet_hours import Clock
from processors.results import Request

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RING_MARGIN = timedelta(seconds=60)
"""So long before the end no call begins any more: a phone that rings must not be answered after it; longer where it
rings longer."""

SEARCHED_DAYS = (1, 14)
"""Most numbers may be called within a day; hours that do not open within two weeks are taken for never."""

ONE_DAY = timedelta(days=1)
Span = tuple[datetime, datetime]


class CallingHours(Request):
    """From one time of the day (`start`) to another (`end`), which is the next day's where it is the earlier one.

    Attributes:
        start, end: what the clocks of the person who is called show, as `09:00`; the end is no longer within.
        days: on which days they start.
        timezone: the zone of numbers that do not say theirs; None: those are not called.
    """

    start: Clock
    end: Clock
    days: Annotated[list[Day], Field(min_length=1, max_length=7)] = list(DAYS)
    timezone: str | None = None

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, value: str | None) -> str | None:
        if value is not None:
            zone_named(value)
        return value

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if self.start == self.end:
            raise ValueError(f"start and end must differ; got {self.start} twice: leave hours out to call at any time")
        return self

    def candidates(self, zones: Sequence[str]) -> tuple[str, ...]:
        """Return the zones whose clocks count: a number's own, else the default one, else none."""
        return tuple(zones) or ((self.timezone,) if self.timezone else ())

    def hold(self, at: datetime) -> bool:
        """Tell whether they hold while the clocks show this date and time."""
        begin, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        today, clock = DAYS[at.weekday()], at.time()
        if begin < end:
            return begin <= clock < end and today in self.days
        return (clock >= begin and today in self.days) or (clock < end and DAYS[at.weekday() - 1] in self.days)


def ring_margin(ring_seconds: float) -> timedelta:
    """Return for how long after a call begins its hours must still hold, by how long it rings."""
    return max(RING_MARGIN, timedelta(seconds=ring_seconds))


def next_open(
    hours: CallingHours, zones: Sequence[str], moment: datetime, *, margin: timedelta = RING_MARGIN
) -> datetime | None:
    """Return the first moment from `moment` on at which a call may begin.

    What counts is what the clocks show: hours that they skip do not open, and hours that they show twice open twice.

    Args:
        hours: which.
        zones: IANA names of all zones in which the person may be; the hours must hold in each of them.
        moment: with an offset.
        margin: for so long after it, the hours must still hold.

    Returns:
        In UTC; None where nobody knows any zone, or where they do not open in all of them within two weeks.

    Raises:
        InvalidArgument: a zone is unknown.
    """
    places = [zone_named(name) for name in hours.candidates(zones)]
    if not places:
        return None
    now = moment.astimezone(UTC)
    for days in SEARCHED_DAYS:
        spans = [[(begin, end - margin) for begin, end in _spans(hours, zone, now, days)] for zone in places]
        found = _first_common(spans, now)
        if found is not None:
            return found
    return None


def _first_common(spans: Sequence[Sequence[Span]], moment: datetime) -> datetime | None:
    """Return the first moment that lies within a span of every sequence, from a moment on."""
    found = moment
    while True:
        began = found
        for sequence in spans:
            following = next((span for span in sequence if found < span[1] and span[0] < span[1]), None)
            if following is None:
                return None
            found = max(found, following[0])
        if found == began:
            return found


def _spans(hours: CallingHours, zone: ZoneInfo, moment: datetime, days: int) -> Iterator[Span]:
    """Yield from when to when hours hold, one span after another, from before a moment to some days after it."""
    today = moment.astimezone(zone).date()
    changes = sorted({change for day in range(-2, days + 2) for change in _changes(hours, zone, today + day * ONE_DAY)})
    begin = None
    for at, following in pairwise(changes):
        if not hours.hold(at.astimezone(zone)):
            continue
        begin = begin or at
        if not hours.hold(following.astimezone(zone)):
            yield begin, following
            begin = None


def _changes(hours: CallingHours, zone: ZoneInfo, day: date) -> Iterator[datetime]:
    """Yield every moment of a day at which hours may begin or end to hold."""
    for clock in (hours.start, hours.end):
        at = datetime.combine(day, time.fromisoformat(clock), zone)
        first, second = at.astimezone(UTC), at.replace(fold=1).astimezone(UTC)
        yield from {first, second}
        if first != second:  # the clocks skip it, or show it twice: what they change in between changes the hours too
            yield change_between(min(first, second), max(first, second), zone)
