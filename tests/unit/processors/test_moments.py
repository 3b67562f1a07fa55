"""A moment is what its clocks say: in its own zone or the given one, the first of two, and never one they skip."""

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.errors import InvalidArgument
from processors.moments import moment, zone_named

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",  # moves its clocks by half an hour
    "Pacific/Apia",  # left out a whole day
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "America/Sao_Paulo",
    "Pacific/Kiritimati",
)
LOCAL = st.datetimes(datetime.fromisoformat("1980-01-01"), datetime.fromisoformat("2037-12-31"))


def shown(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def instants(local: datetime, zone: tzinfo) -> list[datetime]:
    """Every instant at which the clocks of this zone show this time, the first one first."""
    about = local.replace(tzinfo=UTC, fold=0)
    offsets = {(about + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in range(-30, 31)}
    found = {about - offset for offset in offsets}
    return sorted(one for one in found if shown(one, zone) == local.replace(fold=0))


@given(local=LOCAL, zone=st.sampled_from(ZONES))
def test_a_naive_time_is_the_first_instant_at_which_the_clocks_show_it_or_an_error(local, zone):
    expected = instants(local, ZoneInfo(zone))
    if not expected:
        with pytest.raises(InvalidArgument, match="skip"):
            moment(local, zone)
        return
    assert moment(local, zone) == expected[0]
    assert moment(local.isoformat(), zone) == expected[0]
    assert moment(local.replace(tzinfo=ZoneInfo(zone)), "UTC") == expected[0]
    assert moment(local.replace(fold=1), zone) == expected[-1]


@given(
    instant=st.datetimes(datetime.fromisoformat("0001-01-03"), datetime.fromisoformat("9999-12-29")),
    zone=st.sampled_from(ZONES),
)
def test_an_offset_wins_over_the_zone(instant, zone):
    instant = instant.replace(tzinfo=UTC)
    for offset in (0, 330, -570):
        local = instant.astimezone(timezone(timedelta(minutes=offset)))
        assert moment(local, zone) == moment(local.isoformat(), zone) == instant


@pytest.mark.parametrize(
    ("text", "zone", "meant"),
    [
        ("2030-01-31T09:00:00Z", "Europe/Berlin", "2030-01-31T09:00:00+00:00"),
        ("2030-01-31T09:00:00+01:00", "UTC", "2030-01-31T08:00:00+00:00"),
        ("2030-01-31T09:00:00", "UTC", "2030-01-31T09:00:00+00:00"),
        ("2030-01-31 09:00", "Europe/Berlin", "2030-01-31T08:00:00+00:00"),
        ("2030-01-31", "UTC", "2030-01-31T00:00:00+00:00"),
        ("2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25T00:30:00+00:00"),
        ("9999-12-31T23:59:59.999999Z", "UTC", "9999-12-31T23:59:59.999999+00:00"),
        ("0001-01-01T00:00:00Z", "UTC", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_a_text_is_read_as_iso_8601(text, zone, meant):
    assert moment(text, zone).isoformat() == meant


@pytest.mark.parametrize(
    "value",
    [
        "tomorrow",
        "",
        "2030-13-01T00:00:00",
        "2030-02-30",
        "10000-01-01T00:00:00",
        "9999-12-31T23:59:59-05:00",
        "0001-01-01T00:00:00+01:00",
        "2030-01-31T09:00:00+25:00",
        "2030-01-31T09:00:00\0",
        "2030-01-31T09:00:00\ud800",
        "x" * 10_000,
        1_900_000_000,
        True,
        date(2030, 1, 31),
        b"2030-01-31",
        ["2030-01-31"],
    ],
    ids=str,
)
def test_what_is_no_moment_is_an_error_that_says_what_one_is(value):
    with pytest.raises(InvalidArgument, match=r"due_at: must be a datetime, or an ISO 8601 text like .*; got") as error:
        moment(value, name="due_at")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_time_that_the_clocks_skip_is_an_error_that_names_the_zone_and_one_with_an_offset_is_none():
    skipped = datetime.fromisoformat("2026-03-29T02:30:00")
    for value, zone in ((skipped, "Europe/Berlin"), (skipped.replace(tzinfo=ZoneInfo("Europe/Berlin")), "UTC")):
        with pytest.raises(InvalidArgument, match=r"the clocks of Europe/Berlin skip 2026-03-29 02:30:00"):
            moment(value, zone)
    assert moment("2026-03-29T02:30:00+01:00", "Europe/Berlin").isoformat() == "2026-03-29T01:30:00+00:00"


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize(
    ("skipped", "zone", "named"),
    [
        ("2026-03-29T02:30:00", "Europe/Berlin", "2026-03-29 03:00:00"),
        ("2026-10-04T02:00:00", "Australia/Lord_Howe", "2026-10-04 02:30:00"),
        ("2011-12-30T00:00:00", "Pacific/Apia", "2011-12-31 00:00:00"),
        ("2011-12-30T23:59:59", "Pacific/Apia", "2011-12-31 00:00:00"),
    ],
)
def test_a_time_that_the_clocks_skip_is_answered_with_the_next_one_that_they_show(skipped, zone, named, fold):
    with pytest.raises(InvalidArgument, match=f"such as {named}, or an offset"):
        moment(datetime.fromisoformat(skipped).replace(fold=fold), zone)


@pytest.mark.parametrize(
    "name",
    [
        *("Mars/Olympus", "", "Europe", "/etc/localtime", "../UTC", "UTC\0", "\ud800", "x" * 1_000, None, 5, b"UTC"),
        *("localtime", "Factory", "posixrules", "right/UTC", "posix/Europe/Berlin"),
    ],
    ids=str,
)
def test_an_unknown_zone_is_an_error_even_beside_an_offset(name):
    with pytest.raises(InvalidArgument, match="timezone: must be an IANA name like Europe/Berlin; got"):
        moment("2030-01-31T09:00:00Z", name)


def test_a_zone_is_known_by_its_iana_name():
    assert zone_named("Europe/Berlin").key == "Europe/Berlin"
