"""A scheduled call is due when its caller means: by an offset, by the clocks of a zone, or now."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from processors.call_times import ScheduledMoment, due_moment
from processors.errors import InvalidArgument

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"]


@pytest.mark.parametrize(
    ("given_time", "zone", "utc", "wall", "shown_zone"),
    [
        (None, "UTC", "2026-03-01T12:00", "2026-03-01T12:00:00", "UTC"),
        (None, "Asia/Kathmandu", "2026-03-01T12:00", "2026-03-01T17:45:00", "Asia/Kathmandu"),
        ("2026-03-02T09:00:00", "UTC", "2026-03-02T09:00", "2026-03-02T09:00:00", "UTC"),
        ("2026-03-02T09:00:00Z", "Europe/Berlin", "2026-03-02T09:00", "2026-03-02T09:00:00", "UTC"),
        ("2026-03-02T09:00", "Europe/Berlin", "2026-03-02T08:00", "2026-03-02T09:00:00", "Europe/Berlin"),
        ("2026-03-02 09:00", "Europe/Berlin", "2026-03-02T08:00", "2026-03-02T09:00:00", "Europe/Berlin"),
        ("2026-03-02T09:00:00-05:00", "Europe/Berlin", "2026-03-02T14:00", "2026-03-02T09:00:00", "UTC-05:00"),
        ("2026-03-02T09:00:00.123456", "UTC", "2026-03-02T09:00:00.123456", "2026-03-02T09:00:00.123456", "UTC"),
        ("20260302T09", "UTC", "2026-03-02T09:00", "2026-03-02T09:00:00", "UTC"),
        # 02:30 is shown twice; the first one is that of summer
        ("2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25T00:30", "2026-10-25T02:30:00", "Europe/Berlin"),
        # with an offset, a time that the clocks of the zone skip is one all the same
        ("2026-03-29T02:30:00+01:00", "Europe/Berlin", "2026-03-29T01:30", "2026-03-29T02:30:00", "UTC+01:00"),
        # it has passed, by no more than a minute
        ("2026-03-01T11:59:00", "UTC", "2026-03-01T12:00", "2026-03-01T11:59:00", "UTC"),
    ],
)
def test_a_time_is_due_when_its_writer_means_it(given_time, zone, utc, wall, shown_zone):
    due = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert due_moment(given_time, zone, NOW) == ScheduledMoment(due, wall, shown_zone)
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-8)))
    assert due_moment(given_time, zone, elsewhere).utc.utcoffset() == timedelta(0)


def test_the_time_of_the_document_is_due_in_two_hours():
    now = datetime.now(UTC)
    written = (now.replace(tzinfo=None) + timedelta(hours=2)).isoformat()  # datetime.utcnow() + timedelta(hours=2)
    assert due_moment(written, "UTC", now).utc == now + timedelta(hours=2)


@pytest.mark.parametrize(
    ("given_time", "zone", "why"),
    [
        ("2026-03-01T11:58:59", "UTC", "passed by more than 60 seconds; got 2026-03-01T11:58:59 in UTC, .*now it is"),
        ("2026-03-01T12:30:00", "Europe/Berlin", "in Europe/Berlin, which is 2026-03-01T11:30:00 UTC"),
        ("0001-01-01T00:00:00", "UTC", "passed"),
        ("1970-01-01T00:00:00Z", "UTC", "passed"),
        ("2036-12-31T00:00:00", "UTC", "within the next ten years"),
        ("9999-12-31T23:59:59", "UTC", "within the next ten years"),
        ("9999-12-31T23:59:59", "America/New_York", "of the years 1 to 9999"),
        ("12026-03-02T09:00:00", "UTC", "ISO 8601"),
        (
            "2026-03-29T02:30:00",
            "Europe/Berlin",
            r"skip 2026-03-29 02:30:00; .* such as 2026-03-29 03:00:00, or an off",
        ),
        ("2026-03-02T09:00:00", "Mars/Olympus", "timezone: must be an IANA name .*; got 'Mars/Olympus'"),
        ("2026-03-02T09:00:00Z", "Mars/Olympus", "timezone: must be an IANA name"),
        (None, "Mars/Olympus", "timezone: must be an IANA name"),
        (None, "", "timezone: must be an IANA name"),
        ("2026-03-02", "UTC", "a date and a time of day, .*; got '2026-03-02'"),
        ("20260302", "UTC", "a date and a time of day"),
        ("2026-W10-1", "UTC", "a date and a time of day"),
        ("", "UTC", "ISO 8601"),
        ("tomorrow at nine", "UTC", "ISO 8601 .*; got 'tomorrow at nine'"),
        ("2026-03-02T25:00:00", "UTC", "ISO 8601"),
        ("2026-03-02T09:00:00\0", "UTC", "ISO 8601"),
        ("2026-03-02T09:00:00+25:00", "UTC", "ISO 8601"),
        ("\ud800" * 20, "UTC", "ISO 8601"),
        (NOW, "UTC", "must be an ISO 8601 text .*; got datetime"),
        (1_772_442_000, "UTC", "must be an ISO 8601 text .*; got int"),
        (True, "UTC", "must be an ISO 8601 text .*; got bool"),
    ],
)
def test_what_cannot_be_meant_is_an_error_that_names_it(given_time, zone, why):
    with pytest.raises(InvalidArgument, match=why) as caught:
        due_moment(given_time, zone, NOW)
    assert str(caught.value).startswith(("schedule_time: ", "timezone: "))
    assert len(str(caught.value)) < 300


@given(
    instant=st.datetimes(datetime.fromisoformat("2026-03-01T12:00"), datetime.fromisoformat("2036-01-01")),
    zone=st.sampled_from(ZONES),
    hours=st.integers(-12, 14),
)
def test_any_time_of_the_next_years_is_due_then_in_every_spelling(instant, zone, hours):
    instant = instant.replace(tzinfo=UTC)
    with_offset = instant.astimezone(timezone(timedelta(hours=hours))).isoformat()
    assert due_moment(with_offset, zone, NOW).utc == instant
    local = instant.astimezone(ZoneInfo(zone))
    assume(not local.fold)
    due = due_moment(local.replace(tzinfo=None).isoformat(), zone, NOW)
    assert due.utc == instant
    assert datetime.fromisoformat(due.wall).replace(tzinfo=ZoneInfo(due.zone)) == local
