"""Quiet hours: whatever the clocks do, they end at the first moment at which the clocks show none."""

from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from processors.quiet_hours import QuietHours, quiet_until

BERLIN = ZoneInfo("Europe/Berlin")


def hours(begin: str, end: str) -> QuietHours:
    return QuietHours.model_validate({"from": begin, "to": end})


def moment(text: str, zone: tzinfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize(
    ("begin", "end", "now", "until"),
    [
        ("22:00", "07:00", "2026-05-04T23:30", "2026-05-05T07:00"),
        ("22:00", "07:00", "2026-05-05T06:59:59", "2026-05-05T07:00"),
        ("22:00", "07:00", "2026-05-05T07:00", None),
        ("22:00", "07:00", "2026-05-05T21:59:59", None),
        ("22:00", "07:00", "2026-05-05T22:00", "2026-05-06T07:00"),
        ("12:00", "14:00", "2026-05-05T13:00", "2026-05-05T14:00"),
        ("12:00", "14:00", "2026-05-05T23:00", None),
        # the night in which 02:00 becomes 03:00
        ("22:00", "07:00", "2026-03-28T23:00", "2026-03-29T07:00"),
        ("22:00", "02:30", "2026-03-29T01:30", "2026-03-29T03:00"),
        ("02:10", "02:50", "2026-03-29T01:59", None),
        # the night in which 03:00 becomes 02:00
        ("22:00", "07:00", "2026-10-24T23:00", "2026-10-25T07:00"),
        ("22:00", "02:30", "2026-10-25T01:00", "2026-10-25T02:30"),
    ],
)
def test_they_end_when_the_clocks_say_so(begin, end, now, until):
    found = quiet_until(moment(now), hours(begin, end), BERLIN)
    assert found == (None if until is None else moment(until))


def test_where_the_clocks_are_put_back_they_may_hold_twice():
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 for the first time: they have ended
    assert quiet_until(first, hours("22:00", "02:30"), BERLIN) is None
    again = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time
    assert quiet_until(again, hours("22:00", "02:30"), BERLIN) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("begin", "end", "zone", "now", "until"),
    [
        ("01:15", "00:59", "America/Havana", "2027-03-13T20:00", "2027-03-14T05:00"),  # 00:00 becomes 01:00
        ("02:30", "01:50", "Europe/Berlin", "2026-10-25T00:40", "2026-10-25T01:00"),  # 03:00 becomes 02:00
    ],
)
def test_they_end_with_a_change_of_the_clocks_though_these_show_their_end_only_a_day_later(
    begin, end, zone, now, until
):
    found = quiet_until(moment(now, UTC), hours(begin, end), ZoneInfo(zone))
    assert found == moment(until, UTC)


@pytest.mark.parametrize("given_", [{"from": "22:00"}, {"from": "24:00", "to": "07:00"}, {"from": "22", "to": "07:00"}])
def test_what_is_no_time_is_refused(given_):
    with pytest.raises(ValidationError):
        QuietHours.model_validate(given_)


def test_a_whole_day_is_refused():
    with pytest.raises(ValidationError, match="must differ"):
        hours("22:00", "22:00")


CLOCKS = st.times(max_value=time(23, 59)).map(lambda at: f"{at:%H:%M}")
ZONES = st.sampled_from(
    [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Casablanca",
        "America/Havana",
        "UTC",
    ]
).map(ZoneInfo)
CHANGES = st.sampled_from(
    [
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 10, 25, 1, tzinfo=UTC),
        datetime(2026, 3, 8, 7, tzinfo=UTC),
        datetime(2026, 11, 1, 6, tzinfo=UTC),
        datetime(2026, 4, 4, 15, tzinfo=UTC),
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
        datetime(2011, 12, 30, 10, tzinfo=UTC),
        datetime(2026, 2, 15, 2, tzinfo=UTC),
        datetime(2027, 3, 14, 5, tzinfo=UTC),
    ]
)
MOMENTS = st.builds(
    lambda change, minutes: change + timedelta(minutes=minutes), CHANGES, st.integers(-36 * 60, 36 * 60)
)


@given(CLOCKS, CLOCKS, ZONES, MOMENTS)
def test_they_hold_from_now_to_the_end_and_not_at_it(begin, end, zone, now):
    if begin == end:
        return
    quiet = hours(begin, end)

    def holds(at: datetime) -> bool:
        return quiet.hold(at.astimezone(zone).time())

    until = quiet_until(now, quiet, zone)
    if until is None:
        assert not holds(now)
        return
    assert holds(now)
    assert now < until <= now + timedelta(hours=49)
    assert not holds(until)
    assert holds(until - timedelta(seconds=1))
    minutes = int((until - now).total_seconds() // 60)
    assert all(holds(now + timedelta(minutes=minute)) for minute in range(minutes))
