"""Quiet hours: the part of every day, by the clocks of a person's zone, in which nobody is disturbed."""

from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, model_validator

from processors.results import Request, of_form

DAYS_AHEAD = range(4)
"""A zone that changes sides of the date line skips a day."""

Clock = Annotated[
    str, of_form("([01][0-9]|2[0-3]):[0-5][0-9]", "must be a time of day like 07:30, from 00:00 to 23:59")
]


class QuietHours(Request):
    """From one time of the day (`from`) to another (`to`), which is the next day's where it is the earlier one."""

    model_config = ConfigDict(serialize_by_alias=True)

    begin: Clock = Field(alias="from")
    end: Clock = Field(alias="to")

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if self.begin == self.end:
            raise ValueError(f"from and to must differ; got {self.begin} twice: a whole day would never end")
        return self

    def hold(self, at: time) -> bool:
        """Tell whether they hold while the clocks show this time."""
        begin, end = time.fromisoformat(self.begin), time.fromisoformat(self.end)
        return begin <= at < end if begin < end else at >= begin or at < end


def quiet_until(now: datetime, hours: QuietHours, zone: ZoneInfo) -> datetime | None:
    """Return when quiet hours end that hold now; None where none do.

    What counts is what the clocks show: where they are put back they may show quiet hours twice, and an end that they
    skip is when they skip it.

    Args:
        now: the moment, with an offset.
        hours: which.
        zone: whose clocks.

    Returns:
        The first moment after `now`, in UTC and to the second, at which the clocks show no quiet hour.
    """
    if not _holds(now, hours, zone):
        return None
    wanted = time.fromisoformat(hours.end)
    today = now.astimezone(zone).date()
    ends = (
        datetime.combine(today + timedelta(days=day), wanted.replace(fold=fold), zone).astimezone(UTC)
        for day in DAYS_AHEAD
        for fold in (0, 1)
    )
    end = min(one for one in ends if one > now and not _holds(one, hours, zone))
    return _first_without(now, end, hours, zone)


def _first_without(quiet: datetime, end: datetime, hours: QuietHours, zone: ZoneInfo) -> datetime:
    """Return the end; where the clocks skip its time, the moment at which they do so."""
    if end.astimezone(zone).time() == time.fromisoformat(hours.end):
        return end
    low, high = int(quiet.timestamp()), int(end.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if _holds(datetime.fromtimestamp(middle, UTC), hours, zone):
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)


def _holds(moment: datetime, hours: QuietHours, zone: ZoneInfo) -> bool:
    return hours.hold(moment.astimezone(zone).time())
