"""Quiet hours: the part of every day, by the clocks of a person's zone, in which nobody is disturbed."""

from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, model_validator

from processors.results import Request, of_form

BETWEEN_LOOKS = timedelta(hours=1)
"""No zone changes its clocks twice within it."""

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
    moment = now.astimezone(UTC)
    while True:  # from one change of the clocks to the next they run evenly
        end = moment + _until(hours.end, moment.astimezone(zone))
        change = _first_change(moment, end, zone)
        if change is None:
            return end
        if not _holds(change, hours, zone):
            return change
        moment = change


def _until(clock: str, local: datetime) -> timedelta:
    """Return how long it is until evenly running clocks show a time of day."""
    shown = local.replace(tzinfo=None)
    wanted = datetime.combine(shown.date(), time.fromisoformat(clock))
    return wanted - shown if wanted > shown else wanted - shown + timedelta(days=1)


def _first_change(moment: datetime, end: datetime, zone: ZoneInfo) -> datetime | None:
    """Return when the clocks are changed first after a moment and up to an end; None where they are not."""
    offset = moment.astimezone(zone).utcoffset()
    low = moment
    while low < end:
        high = min(low + BETWEEN_LOOKS, end)
        if high.astimezone(zone).utcoffset() != offset:
            return _changed_at(int(low.timestamp()), int(high.timestamp()), offset, zone)
        low = high
    return None


def _changed_at(low: int, high: int, offset: timedelta | None, zone: ZoneInfo) -> datetime:
    """Return the second, of those after `low` and up to `high`, from which on the offset is another one."""
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)


def _holds(moment: datetime, hours: QuietHours, zone: ZoneInfo) -> bool:
    return hours.hold(moment.astimezone(zone).time())
