"""Moments as callers give them: a datetime or a text, with an offset or in a zone."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from processors.errors import InvalidArgument

ACCEPTED = "a datetime, or an ISO 8601 text like 2030-01-31T09:00:00+01:00, of the years 1 to 9999"

LONGEST_GAP = timedelta(hours=25)
"""Clocks skipped a day where a country changed sides of the date line."""

NO_ZONES = re.compile(r"localtime|Factory|posixrules|(posix|right)/.*")
"""Files beside the zones: what a machine's own clock shows, and the zones with other seconds."""


def moment(value: Any, zone: str = "UTC", *, name: str = "moment") -> datetime:
    """Return the moment that is meant, in UTC.

    Of a local time that the clocks show twice it is the first one, unless the datetime's `fold` says otherwise.

    Args:
        value: a datetime, or an ISO 8601 text; the offset or zone that it has wins over `zone`.
        zone: the IANA name of the zone of a value that has none.
        name: what the sentence of an error calls the value.

    Raises:
        InvalidArgument: it is neither, the zone is unknown, or the clocks of its zone never show this time.
    """
    usual = zone_named(zone)
    given = _parsed(value, name)
    try:
        local = given if given.utcoffset() is not None else given.replace(tzinfo=usual)
        found = local.astimezone(UTC)
        skipped = isinstance(local.tzinfo, ZoneInfo) and _clock(found.astimezone(local.tzinfo)) != _clock(local)
    except OverflowError as error:
        raise InvalidArgument(f"{name}: must be {ACCEPTED}; got {value!r:.100}.") from error
    if skipped:
        after = change_between(found - LONGEST_GAP, found + LONGEST_GAP, local.tzinfo)
        shown = _clock(after.astimezone(local.tzinfo))
        raise InvalidArgument(
            f"{name}: the clocks of {local.tzinfo} skip {_clock(local)}; give a time that they show, such as {shown}, "
            "or an offset."
        )
    return found


def change_between(low: datetime, high: datetime, zone: tzinfo | None) -> datetime:
    """Return the first second, in UTC, from which on a zone has the offset that it has at `high` and not at `low`."""
    begin, end = int(low.timestamp()), int(high.timestamp())
    offset = high.astimezone(zone).utcoffset()
    while end - begin > 1:
        middle = (begin + end) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            end = middle
        else:
            begin = middle
    return datetime.fromtimestamp(end, UTC)


def zone_named(name: Any) -> ZoneInfo:
    """Return the zone of this IANA name.

    Raises:
        InvalidArgument: there is none.
    """
    try:
        if isinstance(name, str) and not NO_ZONES.fullmatch(name):
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # no such name, one that leaves the folder, a folder's name
        pass
    raise InvalidArgument(f"timezone: must be an IANA name like Europe/Berlin; got {name!r:.100}.")


def _parsed(value: Any, name: str) -> datetime:
    try:
        # Python's parser takes a NUL for the end of the text.
        given = datetime.fromisoformat(value.replace("\0", "?")) if isinstance(value, str) else value
    except ValueError:
        given = None
    if not isinstance(given, datetime):
        raise InvalidArgument(f"{name}: must be {ACCEPTED}; got {value!r:.100}.")
    return given


def _clock(local: datetime) -> datetime:
    """Return what the clocks show."""
    return local.replace(tzinfo=None)
