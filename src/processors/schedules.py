"""When schedules fire: crontabs as Debian's cron reads them in any zone, and intervals from an anchor.

A job whose minute and hour are given runs once a day whatever the clocks do: where its time does not exist, at the
first one after it that does; where it comes twice, at the first. A job whose minute or hour begins with a star follows
the real time: it runs at every minute whose local time matches, again in an hour that comes twice, and not at all in
one that is left out.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, model_validator

from processors.errors import InvalidArgument
from processors.moments import zone_named
from processors.results import Request

LATE_SECONDS = 60
"""What is later than that, the policy `none` does not fire."""

LONGEST_SECONDS = 100 * 366 * 86_400.0
MINUTE = timedelta(minutes=1)
CRONTAB_FIELDS = 5
FIVE_FIELDS = "must be five fields (minute, hour, day, month, day of week) that occur, such as 30 2 * * mon-fri"
RESOLUTION = timedelta(microseconds=1)

CatchUp = Literal["latest", "all", "none"]


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule fires: by a crontab in a zone, or every so many seconds.

    Attributes:
        crontab: five fields, or None.
        every: seconds, or None.
        timezone: the IANA name of the crontab's zone.
        anchor: an interval's moment zero.
    """

    crontab: str | None
    every: float | None
    timezone: str
    anchor: datetime

    def after(self, moment: datetime) -> datetime:
        """Return the first fire time after an aware moment, in UTC.

        Raises:
            InvalidArgument: there is none.
        """
        if self.every is not None:
            step = timedelta(seconds=self.every)
            return self.anchor + step * max(1, (moment - self.anchor) // step + 1)
        zone = zone_named(self.timezone)
        local = moment.astimezone(zone)
        wall = local.replace(tzinfo=None, fold=0)
        # Where the clock shows this time twice, what it shows until now may come once more.
        repeated = _offset(wall, zone, 0) - _offset(wall, zone, 1)
        found: list[datetime] = []
        for match in CronSim(str(self.crontab), wall - repeated):
            found += [instant for instant in self._instants(match, zone) if instant > moment]
            if found and match > wall:
                break
        if not found:
            raise InvalidArgument(f"crontab: {self.crontab!r} never fires; name days that its months have.")
        return min(found)

    def last_until(self, first: datetime, now: datetime) -> datetime:
        """Return the last fire time that is not after `now`, where `first` is one."""
        if self.every is not None:
            step = timedelta(seconds=self.every)
            return max(first, self.anchor + step * ((now - self.anchor) // step))
        minutes = range((now - first) // MINUTE + 1)
        return first + MINUTE * bisect_left(minutes, True, key=lambda n: self.after(first + MINUTE * n) > now)  # noqa: FBT003 - what is looked for

    def _instants(self, wall: datetime, zone: ZoneInfo) -> list[datetime]:
        """Return when a job runs whose crontab matches this local time."""
        follows_time = any(field.startswith("*") for field in str(self.crontab).split()[:2])
        while True:
            first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
            if first == second:
                return [first]
            if first < second:
                return [first, second] if follows_time else [first]
            if follows_time:
                return []
            wall += MINUTE


class Firing(NamedTuple):
    """The fire times that are to be fired now, and the next one after them."""

    times: Sequence[datetime]
    following: datetime


def firing(timing: Timing, catch_up: CatchUp, first: datetime, now: datetime, most: int) -> Firing:
    """Return what is to be fired of a schedule whose fire time `first` has come.

    Args:
        timing: when it fires.
        catch_up: of what was missed, `latest` fires the last one, `all` each, `none` what is at most a minute late.
        first: the fire time that is next, not after `now`.
        now: the moment.
        most: at most so many fire times.
    """
    if catch_up == "latest":
        last = timing.last_until(first, now)
        return Firing([last], timing.after(last))
    moment = first
    if catch_up == "none":
        moment = max(first, timing.after(now - timedelta(seconds=LATE_SECONDS) - RESOLUTION))
    times: list[datetime] = []
    while moment <= now and len(times) < most:
        times.append(moment)
        moment = timing.after(moment)
    return Firing(times, moment)


def _offset(wall: datetime, zone: ZoneInfo, fold: int) -> timedelta:
    return wall.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta()


def _plain(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must not contain control characters")
    return value


def _crontab(value: str) -> str:
    fields = value.split()
    if len(fields) != CRONTAB_FIELDS:  # of six, the library takes the first for the second
        raise ValueError(f"{FIVE_FIELDS}: it has {len(fields)}")
    try:
        CronSim(value, datetime(2000, 1, 1))  # noqa: DTZ001 - only its fields are read
    except (CronSimError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise ValueError(f"{FIVE_FIELDS}: {error}") from error
    return " ".join(fields)


Plain = AfterValidator(_plain)


class ScheduleRequest(Request):
    """What a schedule is, as it is given: exactly one of `crontab` and `every`."""

    name: Annotated[str, Field(min_length=1, max_length=200), Plain]
    task: Annotated[str, Field(min_length=1, max_length=255), Plain]
    crontab: Annotated[str, Field(max_length=1000), AfterValidator(_crontab)] | None = None
    every: Annotated[float, Field(ge=1, le=LONGEST_SECONDS, allow_inf_nan=False)] | None = None
    timezone: str = "UTC"
    kwargs: dict[str, Any] | None = None
    args: list[Any] | tuple[Any, ...] | None = None
    queue: str | None = None
    priority: Literal["low", "normal", "high"] = "normal"
    catch_up: CatchUp = "latest"
    tenant: Annotated[str, Field(min_length=1, max_length=248), Plain] | None = None

    @model_validator(mode="after")
    def _one_timing(self) -> Self:
        zone_named(self.timezone)
        if (self.crontab is None) == (self.every is None):
            given = "neither" if self.crontab is None else "both"
            raise ValueError(f"crontab, every: exactly one of the two must be given; got {given}")
        if self.crontab is not None:
            self.timing(datetime.now(UTC)).after(datetime.now(UTC))  # says so where it never fires
        return self

    def timing(self, anchor: datetime) -> Timing:
        """Return when it fires."""
        return Timing(self.crontab, self.every, self.timezone, anchor)
