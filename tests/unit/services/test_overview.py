"""The overview adds up what was counted, in points of which there are never many."""

from datetime import UTC, datetime, timedelta

import pytest

from processors import task_figures
from services import monitoring
from services import overview as module
from services.overview import MOST_POINTS, overview
from services.wiring import parts

MINUTE = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def row(at: int, queue: str, succeeded: int, failed: int, run: float, depth=None, oldest=None) -> dict:
    runs = task_figures.none()
    for _ in range(succeeded + failed):
        task_figures.count(runs, run)
    return {
        "minute": MINUTE + timedelta(minutes=at),
        "queue": queue,
        "created": succeeded + failed + 1,
        "succeeded": succeeded,
        "failed": failed,
        "cancelled": 0,
        "waits": task_figures.none(),
        "runs": runs,
        "depth": depth,
        "oldest_age_seconds": oldest,
    }


def look(at: int, depth: int, oldest: float | None) -> dict:
    return {"minute": MINUTE + timedelta(minutes=at), "depth": depth, "oldest_age_seconds": oldest}


@pytest.fixture
def rows(monkeypatch):
    given = []
    monkeypatch.setattr(parts().minutes, "since", lambda _hours: given)
    return given


@pytest.fixture
def looks(monkeypatch):
    given = []
    monkeypatch.setattr(parts().minutes, "looks", lambda _hours: given)
    return given


def test_points_queues_and_totals_are_sums_of_the_same(rows, looks):
    rows += [row(0, "email", 3, 1, 0.5), row(0, "default", 1, 0, 10.0), row(1, "email", 2, 0, 0.5)]
    found = overview(1)
    assert [(one["at"], one["created"], one["succeeded"], one["failed"]) for one in found["points"]] == [
        ("2026-03-01T12:00:00+00:00", 7, 4, 1),
        ("2026-03-01T12:01:00+00:00", 3, 2, 0),
    ]
    assert {queue: one["succeeded"] for queue, one in found["queues"].items()} == {"email": 5, "default": 1}
    assert found["totals"]["failure_rate"] == round(1 / 7, 6)
    assert found["totals"]["run_p50"] == pytest.approx(0.5, rel=0.6)
    assert found["totals"]["wait_p95"] is None
    assert set(found["now"]) == {"depth", "oldest_age_seconds", "running", "scheduled", "workers", "queues"}


def test_a_month_has_no_more_points_than_a_picture_shows(rows, looks):
    rows += [row(at, "email", 1, 0, 1.0) for at in range(0, 30 * 24 * 60, 7)]
    found = overview(30 * 24)
    assert len(found["points"]) <= MOST_POINTS + 1
    assert found["step_seconds"] == 4 * 3600
    assert sum(one["succeeded"] for one in found["points"]) == len(rows)


def test_points_queues_and_totals_tell_the_most_that_waited_in_a_minute(rows, looks):
    rows += [row(0, "email", 3, 1, 0.5, 7, 12.5), row(0, "default", 1, 0, 0.5, 2, 40.0), row(1, "email", 2, 0, 0.5)]
    looks += [look(0, 9, 40.0), look(2, 0, None)]
    found = overview(1)
    assert [(one["at"][14:16], one["created"], one["depth"], one["oldest_age_seconds"]) for one in found["points"]] == [
        ("00", 7, 9, 40.0),
        ("01", 3, None, None),
        ("02", 0, 0, None),
    ]
    queues = {queue: (one["depth"], one["oldest_age_seconds"]) for queue, one in found["queues"].items()}
    assert queues == {"email": (7, 12.5), "default": (2, 40.0)}
    assert (found["totals"]["depth"], found["totals"]["oldest_age_seconds"]) == (9, 40.0)
    looks += [look(3, 11, 5.0)]
    [point] = overview(24)["points"]  # of eight minutes
    assert (point["depth"], point["oldest_age_seconds"]) == (11, 40.0)


def test_a_queue_tells_how_many_came_and_ended_a_minute_lately(rows, monkeypatch):
    rows += [row(0, "email", 3, 1, 0.5), row(3, "email", 6, 0, 0.5), row(4, "default", 1, 0, 0.5)]
    monkeypatch.setattr(parts().minutes, "counted", lambda _hours: (MINUTE, MINUTE + timedelta(minutes=4)))
    found = monitoring.queue_statistics(parts())
    rates = {name: (one.came_per_minute, one.ended_per_minute) for name, one in found.queues.items()}
    assert (rates["email"], rates["default"], rates["low_priority"]) == ((2.4, 2.0), (0.4, 0.2), (0.0, 0.0))
    assert (found.totals.came_per_minute, found.totals.ended_per_minute) == (2.8, 2.2)
    monkeypatch.setattr(parts().minutes, "counted", lambda _hours: None)
    found = monitoring.queue_statistics(parts())
    assert {one.came_per_minute for one in (*found.queues.values(), found.totals)} == {None}


def test_a_queue_of_its_own_is_told_while_it_lately_had_tasks(rows, monkeypatch):
    rows += [row(0, "of-a-team", 3, 0, 0.5)]
    monkeypatch.setattr(parts().minutes, "counted", lambda _hours: (MINUTE, MINUTE + timedelta(minutes=2)))
    told = monitoring.queue_statistics(parts()).queues["of-a-team"]
    assert (told.depth, told.came_per_minute, told.ended_per_minute) == (0, 1.33, 1.0)  # another is open


def test_nothing_is_no_error(rows, looks):
    found = overview(1)
    assert (found["points"], found["queues"], found["totals"]["failure_rate"]) == ([], {}, None)
    assert module.LONGEST_HOURS == 720
