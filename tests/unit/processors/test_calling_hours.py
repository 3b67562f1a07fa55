"""Calling hours: nobody is called while one of the clocks that may be theirs shows another hour, whatever clocks do."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from processors.calling_hours import DAYS, CallingHours, next_open
from processors.errors import InvalidArgument
from processors.phone_numbers import zones as zones_of

MINUTE, NO_MARGIN = timedelta(minutes=1), timedelta()
BERLIN, NEW_YORK, LOS_ANGELES = "Europe/Berlin", "America/New_York", "America/Los_Angeles"


def hours(start: str = "09:00", end: str = "20:00", **more) -> CallingHours:
    return CallingHours.model_validate({"start": start, "end": end, **more})


def moment(text: str, zone: str = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "end", "now", "opens"),
    [
        ("09:00", "20:00", "2026-05-04T12:00:00.5", "2026-05-04T12:00:00.5"),
        ("09:00", "20:00", "2026-05-04T09:00", "2026-05-04T09:00"),
        ("09:00", "20:00", "2026-05-04T08:59:59", "2026-05-04T09:00"),
        ("09:00", "20:00", "2026-05-04T19:59:59", "2026-05-04T19:59:59"),
        ("09:00", "20:00", "2026-05-04T20:00", "2026-05-05T09:00"),
        ("22:00", "02:00", "2026-05-04T23:00", "2026-05-04T23:00"),
        ("22:00", "02:00", "2026-05-05T01:59", "2026-05-05T01:59"),
        ("22:00", "02:00", "2026-05-05T02:00", "2026-05-05T22:00"),
        # the night in which 02:00 becomes 03:00
        ("02:30", "05:00", "2026-03-29T01:00", "2026-03-29T03:00"),
        ("02:10", "02:50", "2026-03-29T01:00", "2026-03-30T02:10"),
        ("09:00", "20:00", "2026-03-28T20:30", "2026-03-29T09:00"),
        # the night in which 03:00 becomes 02:00
        ("02:10", "02:50", "2026-10-25T01:00", "2026-10-25T02:10"),
        ("09:00", "20:00", "2026-10-24T20:30", "2026-10-25T09:00"),
    ],
)
def test_a_call_begins_when_the_clocks_show_calling_hours(start, end, now, opens):
    assert next_open(hours(start, end), [BERLIN], moment(now), margin=NO_MARGIN) == moment(opens)


def test_hours_that_the_clocks_show_twice_open_twice():
    first_end = datetime(2026, 10, 25, 0, 50, tzinfo=UTC)  # 02:50 for the first time
    again = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second
    assert next_open(hours("02:10", "02:50"), [BERLIN], first_end, margin=NO_MARGIN) == again


def test_hours_over_midnight_belong_to_the_day_on_which_they_start():
    friday = hours("22:00", "02:00", days=["fri"])
    saturday_night = moment("2026-05-09T01:00")  # the night from Friday to Saturday
    assert next_open(friday, [BERLIN], saturday_night) == saturday_night
    assert next_open(friday, [BERLIN], moment("2026-05-08T01:00")) == moment("2026-05-08T22:00")
    assert next_open(friday, [BERLIN], moment("2026-05-09T23:00")) == moment("2026-05-15T22:00")


def test_days_without_hours_are_passed_over():
    weekdays = hours(days=["mon", "tue", "wed", "thu", "fri"])
    assert next_open(weekdays, [BERLIN], moment("2026-05-08T21:00")) == moment("2026-05-11T09:00")


def test_the_hours_hold_in_every_zone_in_which_a_number_may_be():
    evening_in_berlin = moment("2026-05-04T19:00")
    both = [BERLIN, NEW_YORK]
    assert next_open(hours(), both, moment("2026-05-04T09:00")) == moment("2026-05-04T09:00", NEW_YORK)
    assert next_open(hours(), both, evening_in_berlin) == evening_in_berlin
    assert next_open(hours(), both, moment("2026-05-04T20:00")) == moment("2026-05-05T09:00", NEW_YORK)
    assert next_open(hours(), [BERLIN, LOS_ANGELES], moment("2026-05-04T12:00")) == moment("2026-05-04T18:00")


def test_hours_that_never_open_in_all_zones_are_none():
    assert next_open(hours("09:00", "12:00"), [BERLIN, LOS_ANGELES], moment("2026-05-04T12:00")) is None
    toll_free = zones_of("+18004444444")
    assert {"Pacific/Guam", "America/Halifax"} <= set(toll_free)  # morning there is night here
    assert next_open(hours(), toll_free, moment("2026-05-04T12:00")) is None


def test_an_australian_mobile_phone_is_called_where_all_of_australia_is_awake():
    australia = zones_of("+61411234567")
    assert len(australia) > 5
    opens = next_open(hours(), australia, moment("2026-05-04T00:00", "Australia/Sydney"))
    assert opens is not None
    shown = [opens.astimezone(ZoneInfo(zone)).time() for zone in australia]
    assert min(shown) == time(9)
    assert max(shown) < time(20)


def test_zones_may_agree_for_a_week_of_a_change_of_the_clocks_only():
    narrow = hours(
        "16:00", "16:30"
    )  # in London and, six hours later, in New York's 11 o'clock: never; in March, neither
    assert next_open(narrow, ["Europe/London", NEW_YORK], moment("2026-03-10T00:00", "UTC")) is None
    five_apart = hours("09:00", "13:30")  # in winter 13:30 in London is 08:30 in New York
    assert next_open(five_apart, ["Europe/London", NEW_YORK], moment("2026-02-01T00:00", "UTC")) is None
    change = next_open(five_apart, ["Europe/London", NEW_YORK], moment("2026-03-07T00:00", "UTC"))
    assert change == moment("2026-03-08T09:00", NEW_YORK)


def test_no_call_begins_whose_ringing_would_outlast_the_hours():
    margin = timedelta(seconds=60)
    last = moment("2026-05-04T19:58:59")
    assert next_open(hours(), [BERLIN], last, margin=margin) == last
    assert next_open(hours(), [BERLIN], moment("2026-05-04T19:59"), margin=margin) == moment("2026-05-05T09:00")
    assert next_open(hours(), [BERLIN], moment("2026-05-04T19:59")) == moment("2026-05-05T09:00")
    assert next_open(hours("09:00", "09:01"), [BERLIN], moment("2026-05-04T08:00"), margin=margin) is None


def test_a_number_of_no_known_zone_is_called_by_the_default_zone_or_never():
    now = moment("2026-05-04T12:00")
    assert next_open(hours(), [], now) is None
    assert hours().candidates([]) == ()
    assert next_open(hours(timezone=NEW_YORK), [], now) == moment("2026-05-04T09:00", NEW_YORK)
    assert next_open(hours(timezone=NEW_YORK), [BERLIN], now) == now


def test_an_unknown_zone_is_an_error():
    with pytest.raises(InvalidArgument, match="Mars/Olympus"):
        next_open(hours(), ["Mars/Olympus"], moment("2026-05-04T12:00"))


@pytest.mark.parametrize(
    ("given_", "why"),
    [
        ({"start": "09:00"}, "end"),
        ({"start": "9", "end": "20:00"}, "must be a time of day"),
        ({"start": "09:00", "end": "24:00"}, "must be a time of day"),
        ({"start": "09:00", "end": "09:00"}, "must differ"),
        ({"start": "09:00", "end": "20:00", "days": []}, "at least 1 item"),
        ({"start": "09:00", "end": "20:00", "days": ["monday"]}, "'mon', 'tue'"),
        ({"start": "09:00", "end": "20:00", "days": "mon"}, "list"),
        ({"start": "09:00", "end": "20:00", "timezone": "Mars/Olympus"}, "must be an IANA name"),
        ({"start": "09:00", "end": "20:00", "zone": "UTC"}, "Extra inputs"),
    ],
    ids=str,
)
def test_what_are_no_calling_hours_is_refused(given_, why):
    with pytest.raises(ValidationError, match=why):
        CallingHours.model_validate(given_)


CLOCKS = st.times(max_value=time(23, 59)).map(lambda at: f"{at:%H:%M}")
ZONES = [BERLIN, NEW_YORK, "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "Asia/Kathmandu", "UTC"]
CHANGES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
    datetime(2026, 2, 15, 2, tzinfo=UTC),
]
WINDOWS = st.builds(
    lambda start, end, days: (start, end, days),
    CLOCKS | st.sampled_from(["01:30", "02:00", "02:30", "03:00", "00:00"]),
    CLOCKS | st.sampled_from(["01:45", "02:15", "02:45", "03:15", "23:59"]),
    st.sets(st.sampled_from(DAYS), min_size=1).map(sorted) | st.just(list(DAYS)),
).filter(lambda window: window[0] != window[1])


def shows_hours(at: datetime, zone: str, start: str, end: str, days: list[str]) -> bool:
    """Tell it by the minutes since midnight, in the plainest way."""
    local = at.astimezone(ZoneInfo(zone))
    now = local.hour * 60 + local.minute
    begin, finish = (int(clock[:2]) * 60 + int(clock[3:]) for clock in (start, end))
    today, yesterday = DAYS[local.weekday()], DAYS[(local.weekday() + 6) % 7]
    if begin < finish:
        return today in days and begin <= now < finish
    return (today in days and now >= begin) or (yesterday in days and now < finish)


@settings(print_blob=True, deadline=None)
@given(
    window=WINDOWS,
    zones=st.lists(st.sampled_from(ZONES), min_size=1, max_size=3, unique=True),
    change=st.sampled_from(CHANGES),
    minutes=st.integers(-36 * 60, 36 * 60),
    margin=st.integers(0, 90),
)
def test_it_is_the_minute_that_a_search_minute_by_minute_finds(window, zones, change, minutes, margin):
    start, end, days = window
    now = change + minutes * MINUTE
    found = next_open(hours(start, end, days=list(days)), zones, now, margin=margin * MINUTE)
    searched = 9 * 24 * 60
    held = 0
    expected = None
    for minute in range(searched):
        holds = all(shows_hours(now + minute * MINUTE, zone, start, end, days) for zone in zones)
        held = held + 1 if holds else 0
        if held == margin + 1:
            expected = now + (minute - margin) * MINUTE
            break
    if expected is None:
        assert found is None or found > now + (searched - margin - 1) * MINUTE
    else:
        assert found == expected
