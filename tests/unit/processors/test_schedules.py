"""When schedules fire, checked minute by minute over every change of the clocks of ten years."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from processors.errors import InvalidArgument
from processors.results import sentence_of
from processors.schedules import ScheduleRequest, Timing, firing

MINUTE = timedelta(minutes=1)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",  # its midnight is left out and comes twice
    "Australia/Lord_Howe",  # half an hour
    "Antarctica/Troll",  # two hours
)
CRONTABS = (
    "* * * * *",
    "*/7 * * * *",
    "30 * * * *",
    "*/15 3 * * *",
    "* 0 * * *",
    "0 */2 * * *",
    "30 2 * * *",
    "0,30 1-3 * * *",
    "15 0 * * *",
    "45 23 * * 6,0",
    "10 2,3 * 3,4,9-11 *",
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def cron(crontab: str, timezone: str = "UTC") -> Timing:
    return Timing(crontab, None, timezone, EPOCH)


def every(seconds: float) -> Timing:
    return Timing(None, seconds, "UTC", EPOCH)


def fire_times(timing: Timing, begin: datetime, end: datetime) -> list[datetime]:
    """Return the fire times after `begin` up to `end`, each asked for anew."""
    found, moment = [], begin
    while (moment := timing.after(moment)) <= end:
        found.append(moment)
    return found


def changes(zone: ZoneInfo) -> list[datetime]:
    """Return the first minute after each change of a zone's clock from 2020 to 2030."""
    found = []
    moment, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
    while moment < end:
        later = moment + timedelta(days=1)
        if moment.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            found.append(
                next(
                    one
                    for one in (moment + MINUTE * n for n in range(1, 1441))
                    if one.astimezone(zone).utcoffset() != (one - MINUTE).astimezone(zone).utcoffset()
                )
            )
        moment = later
    return found


def matcher(crontab: str):
    """Return what tells whether a local time matches, asked of each minute by itself."""
    fields = CronSim(crontab, EPOCH)
    return lambda wall: (
        wall.minute in fields.minutes
        and wall.hour in fields.hours
        and wall.month in fields.months
        and fields.match_day(wall)
    )


def clock(begin: datetime, end: datetime, zone: ZoneInfo) -> list[tuple[datetime, datetime, list[datetime]]]:
    """Return each minute, what the clock shows then, and what it left out right before."""
    minutes = [begin + MINUTE * n for n in range(int((end - begin) / MINUTE) + 1)]
    local = [moment.astimezone(zone).replace(tzinfo=None) for moment in minutes]
    shown = []
    for moment, before, now in zip(minutes[1:], local, local[1:], strict=False):
        left_out = range(1, int((now.replace(fold=0) - before.replace(fold=0)) / MINUTE))
        shown.append((moment, now, [before.replace(fold=0) + MINUTE * n for n in left_out]))
    return shown


def naive(crontab: str, shown: list[tuple[datetime, datetime, list[datetime]]]) -> list[datetime]:
    """Return the fire times by looking at each minute by itself."""
    matches = matcher(crontab)
    if any(field.startswith("*") for field in crontab.split()[:2]):
        return [moment for moment, now, _ in shown if matches(now)]
    return [moment for moment, now, left in shown if (matches(now) and not now.fold) or any(map(matches, left))]


@pytest.mark.parametrize("name", ZONES)
def test_each_fire_time_comes_once_over_every_change_of_the_clocks(name):
    zone = ZoneInfo(name)
    moments = changes(zone)
    assert len(moments) >= 20
    for change in moments:
        begin, end = change - timedelta(hours=4), change + timedelta(hours=5)
        shown = clock(begin, end, zone)
        for crontab in CRONTABS:
            found = fire_times(cron(crontab, name), begin, end)
            assert found == naive(crontab, shown), (crontab, change)
            assert found == sorted(set(found))


@pytest.mark.parametrize("name", ZONES[:2])
def test_where_clocks_change_by_an_hour_in_the_night_it_is_what_cronsim_says(name):
    for change in changes(ZoneInfo(name)):
        begin = change - timedelta(days=1)
        for crontab in CRONTABS:
            theirs = CronSim(crontab, begin.astimezone(ZoneInfo(name)))
            expected = [next(theirs).astimezone(UTC) for _ in range(10)]
            assert fire_times(cron(crontab, name), begin, expected[-1]) == expected, (crontab, change)


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("crontab", ["*/10 1-3 * * *", "20 2 * * *"])
def test_what_is_asked_at_any_second_around_a_change_lies_after_it_and_is_the_same_answer(name, crontab):
    timing = cron(crontab, name)
    for change in changes(ZoneInfo(name))[:2]:
        begin, end = change - timedelta(hours=4), change + timedelta(hours=6)
        known = fire_times(timing, begin, end)
        for seconds in range(0, int((known[-1] - begin).total_seconds()), 97):
            moment = begin + timedelta(seconds=seconds, microseconds=1)
            assert timing.after(moment) == next(one for one in known if one > moment)


@pytest.mark.parametrize(
    ("crontab", "after", "expected"),
    [
        ("30 2 * * *", "2026-03-29T00:00+01:00", "2026-03-29T03:00+02:00"),  # it does not exist: the first that does
        ("30 2 * * *", "2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"),
        ("0 3 * * *", "2026-03-29T00:00+01:00", "2026-03-29T03:00+02:00"),
        ("30 2 * * *", "2026-10-25T00:00+02:00", "2026-10-25T02:30+02:00"),  # it comes twice: the first one
        ("30 2 * * *", "2026-10-25T02:10+01:00", "2026-10-26T02:30+01:00"),
        ("30 * * * *", "2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"),  # each hour: both
        ("*/30 2 * * *", "2026-03-29T01:00+01:00", "2026-03-30T02:00+02:00"),
        ("*/10 2 25 10 *", "2026-01-01T00:00+01:00", "2026-10-25T02:00+02:00"),
    ],
)
def test_the_changes_of_berlin_by_hand(crontab, after, expected):
    assert cron(crontab, "Europe/Berlin").after(at(after)) == at(expected)


@pytest.mark.parametrize(
    ("crontab", "expected"),
    [
        ("0 0 29 2 *", "2028-02-29T00:00+00:00"),
        ("0 9 * * mon-fri", "2026-01-01T09:00+00:00"),
        ("0 9 1,15 * sun", "2026-01-01T09:00+00:00"),  # either of the two
        ("0 9 L * *", "2026-01-31T09:00+00:00"),
        ("0 9 * * mon#2", "2026-01-12T09:00+00:00"),
    ],
)
def test_what_debians_cron_knows_and_a_little_more(crontab, expected):
    assert cron(crontab).after(EPOCH) == at(expected)


@given(seconds=st.floats(1, 1e8), late=st.floats(-10, 1e9))
def test_an_interval_fires_at_whole_steps_from_its_anchor(seconds, late):
    timing = every(seconds)
    moment = EPOCH + timedelta(seconds=late)

    fire = timing.after(moment)

    step = timedelta(seconds=seconds)
    assert (fire - EPOCH) % step == timedelta(0)
    assert fire > moment
    assert fire - step <= max(moment, EPOCH)
    assert timing.last_until(EPOCH + step, fire) == fire


@given(minutes=st.integers(1, 400_000), which=st.sampled_from(CRONTABS), name=st.sampled_from(ZONES))
def test_the_last_fire_time_is_the_last_one(minutes, which, name):
    timing = cron(which, name)
    first = timing.after(EPOCH)
    now = first + MINUTE * minutes + timedelta(seconds=17)

    last = timing.last_until(first, now)

    assert first <= last <= now < timing.after(last)
    assert last == first or timing.after(last - MINUTE) == last


TEN_LATE = EPOCH + timedelta(minutes=10, seconds=20)
MINUTES = [EPOCH + MINUTE * n for n in range(1, 12)]


@pytest.mark.parametrize("timing", [cron("* * * * *"), every(60)], ids=["crontab", "interval"])
@pytest.mark.parametrize(
    ("policy", "times"), [("latest", [MINUTES[9]]), ("all", MINUTES[:10]), ("none", [MINUTES[9]])], ids=str
)
def test_what_was_missed_is_caught_up_by_the_policy(timing, policy, times):
    assert firing(timing, policy, MINUTES[0], TEN_LATE, 100) == (times, MINUTES[10])


def test_the_policy_none_fires_what_is_a_minute_late_and_nothing_later():
    first, minute = EPOCH + timedelta(hours=1), timedelta(seconds=60)
    assert firing(every(3600), "none", first, first + minute, 9).times == [first]
    late = firing(every(3600), "none", first, first + minute + timedelta(microseconds=1), 9)
    assert late == ([], EPOCH + timedelta(hours=2))
    assert len(firing(every(1), "none", first, first + timedelta(days=1), 1000).times) == 61


def test_all_goes_on_where_it_stopped_when_much_was_missed():
    first, following = firing(every(1), "all", MINUTES[0], TEN_LATE, 100)
    assert (len(first), following) == (100, MINUTES[0] + timedelta(seconds=100))
    assert firing(every(1), "all", following, TEN_LATE, 100).times[0] == following


def test_a_year_of_missed_minutes_costs_no_more_than_a_few_looks(monkeypatch):
    asked = []
    after = Timing.after
    monkeypatch.setattr(Timing, "after", lambda self, moment: asked.append(moment) or after(self, moment))

    firing(cron("* * * * *"), "latest", EPOCH, EPOCH + timedelta(days=365), 100)

    assert len(asked) < 30


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "exactly one of the two must be given; got neither"),
        ({"crontab": "* * * * *", "every": 5}, "exactly one of the two must be given; got both"),
        ({"crontab": "* * * *"}, r"crontab: must be five fields .*: it has 4; got '\* \* \* \*'"),
        ({"crontab": "*/7 * * * * *"}, "crontab: must be five fields .*: it has 6"),
        ({"crontab": "61 * * * *"}, "crontab: must be five fields .*: Bad minute"),
        ({"crontab": "0 0 30 2 *"}, "crontab: must be five fields .* that occur, .*: Bad day-of-month"),
        ({"crontab": "0 0 1 1 mon#6"}, "Bad day-of-week"),
        ({"crontab": "9" * 5000 + " * * * *"}, "crontab: String should have at most 1000 characters"),
        ({"crontab": 5}, "crontab: .*valid string; got 5"),
        ({"crontab": "@daily"}, "crontab: must be five fields .*: it has 1"),
        ({"every": 0.5}, "every: .*greater than or equal to 1; got 0.5"),
        ({"every": float("nan")}, "every: .*finite number"),
        ({"every": float("inf")}, "every: .*(finite|less than or equal)"),
        ({"every": True}, "every: .*valid number; got True"),
        ({"every": 1e12}, "every: .*less than or equal"),
        ({"every": 5, "timezone": "Mars/Base"}, "timezone: must be an IANA name .*; got 'Mars/Base'"),
        ({"every": 5, "timezone": "Europe"}, "timezone: must be an IANA name"),
        ({"every": 5, "timezone": "../etc/passwd"}, "timezone: must be an IANA name"),
        ({"every": 5, "timezone": ""}, "timezone: must be an IANA name"),
        ({"every": 5, "timezone": "x" * 10_000}, "timezone: must be an IANA name"),
        ({"every": 5, "timezone": "a\0b"}, "timezone: must be an IANA name"),
        ({"every": 5, "catch_up": "some"}, "catch_up: .*'latest', 'all' or 'none'; got 'some'"),
        ({"every": 5, "priority": "urgent"}, "priority: .*; got 'urgent'"),
        ({"every": 5, "name": ""}, "name: .*at least 1 character"),
        ({"every": 5, "name": "x" * 201}, "name: .*at most 200 characters"),
        ({"every": 5, "name": "a\0b"}, "name: must not contain control characters"),
        ({"every": 5, "name": "a\ud800b"}, "name: "),
        ({"every": 5, "tenant": "a\nb"}, "tenant: must not contain control characters"),
        ({"every": 5, "kwargs": [1]}, "kwargs: .*valid dictionary"),
        ({"every": 5, "kwargs": {1: 2}}, "kwargs.1.*: .*valid string"),
        ({"every": 5, "more": 1}, "more: Extra inputs are not permitted"),
    ],
    ids=range(31),
)
def test_what_cannot_be_a_schedule_is_one_sentence(given, words):
    with pytest.raises(ValidationError) as refused:
        ScheduleRequest.model_validate({"name": "nightly", "task": "test.add"} | given)
    said = sentence_of(refused.value)
    assert re.search(words, said), said
    assert "\n" not in said


def test_a_crontab_whose_days_never_come_together_is_no_schedule():
    with pytest.raises(InvalidArgument, match="never fires"):
        cron("0 0 */40 2 mon#5").after(EPOCH)
    with pytest.raises(ValidationError, match="never fires"):
        ScheduleRequest.model_validate({"name": "never", "task": "t", "crontab": "0 0 */40 2 mon#5"})


def test_spaces_of_a_crontab_are_of_no_account():
    request = ScheduleRequest.model_validate({"name": "n", "task": "t", "crontab": "  0  9 *\t* MON "})
    assert request.crontab == "0 9 * * MON"
