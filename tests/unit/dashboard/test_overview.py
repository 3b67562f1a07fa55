"""The overview's figures and plots: points where nothing was too, seconds that a scale of powers can show."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from dashboard import figures, plots
from dashboard.recent import Recent
from services import overview
from waiting import until

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)


def past(step: int, counted: tuple[int, int], points: dict[int, dict]) -> dict:
    """What was counted, by minutes after midnight."""

    def moment(minute: int) -> str:
        return (MIDNIGHT + timedelta(minutes=minute)).isoformat()

    return {
        "step_seconds": step * 60.0,
        "counted_from": moment(counted[0]),
        "counted_to": moment(counted[1]),
        "points": [plots.NOTHING | one | {"at": moment(at)} for at, one in points.items()],
        "queues": {},
        "totals": plots.NOTHING | {"failure_rate": None},
    }


def test_a_plot_has_a_point_for_each_step_and_tasks_by_the_minute():
    found = plots.columns(
        past(2, (1, 9), {2: {"created": 8, "succeeded": 3, "failed": 1, "run_p50": 0.12345}, 6: {"wait_p95": 0.0}})
    )
    assert found["at"] == [int(MIDNIGHT.timestamp()) + 120 * n for n in range(5)]
    assert found["came"] == [0, 4, 0, 0, 0]
    assert (found["succeeded"], found["failed"]) == ([0, 1.5, 0, 0, 0], [0, 0.5, 0, 0, 0])
    assert found["share"] == [None, 25, None, None, None]
    assert found["run_p50"] == [None, 0.123, None, None, None]
    assert found["wait_p95"] == [None, None, None, 0.001, None]
    assert set(found) == {"at", *plots.RATES, "share", *plots.SPANS, "depth", "oldest"}


def test_nothing_waited_for_no_time_and_where_nobody_looked_there_is_no_point():
    looked = {1: {"depth": 5, "oldest_age_seconds": 61.25}, 2: {"depth": 0}, 3: {"created": 1}}
    found = plots.columns(past(1, (0, 4), looked))
    assert found["depth"] == [None, 5, 0, None]
    assert found["oldest"] == [None, 61.25, 0, None]


def test_steps_begin_anew_each_day_as_those_of_the_figures_do():
    step = timedelta(minutes=56)
    begins = sorted({overview.begin_of(MIDNIGHT + timedelta(minutes=one), step) for one in range(2 * 1440)})
    found = plots.columns(
        past(56, (0, 2 * 1440), {int((at - MIDNIGHT).total_seconds() // 60): {"created": 40} for at in begins})
    )
    assert found["at"] == [int(at.timestamp()) for at in begins]
    assert found["came"].count(round(40 / 56, 3)) == 2 * 25
    assert found["came"].count(1) == 2  # forty minutes are left of each day


def test_nothing_counted_is_no_point():
    nothing = past(1, (0, 1), {}) | {"counted_from": None, "counted_to": None}
    assert not any(plots.columns(nothing).values())


@pytest.fixture
def known(monkeypatch):
    """What the figures of any time are."""
    found = past(1, (0, 3), {1: {"created": 1234, "succeeded": 7, "failed": 1, "depth": 321, "oldest_age_seconds": 95}})
    found |= {"queues": {"<email>": found["points"][0]}}
    found["totals"] = found["points"][0] | {"failure_rate": 0.125}
    recent = Recent(lambda: found)
    until(recent.value, what="it was found out")
    monkeypatch.setattr(figures, "past", lambda _hours: recent)
    return recent


def test_the_overview_has_the_figures_of_each_queue_as_a_table(viewer, known):
    page = viewer.html("/?hours=24")
    row = next(tag for tag in page.all("tr") if tag.text.startswith("<email>"))
    assert "1\N{NARROW NO-BREAK SPACE}234" in row.text
    assert "321" in row.text
    assert "1 min 35 s" in row.text
    assert "12.5 % of what ended failed." in page.text
    assert [tag.text for tag in page.all("a") if tag.attributes.get("aria-current") == "true"] == ["24 hours"]
    assert [tag.attributes["data-source"] for tag in page.all("div") if "data-source" in tag.attributes] == [
        "/plots?hours=24"
    ]


def test_the_plots_are_told_to_whoever_sees_the_page(viewer, app, known):
    answer = viewer.get("/plots?hours=1")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert json.loads(answer.text)["came"] == [0, 1234, 0]
    for hours in ("0", "x", "1e99", "720"):
        assert viewer.get(f"/plots?hours={hours}").status_code == 200


def test_what_cannot_be_counted_now_is_said(viewer, monkeypatch):
    def away():
        raise ValueError("no")

    broken = Recent(away)
    monkeypatch.setattr(figures, "past", lambda _hours: broken)
    assert viewer.get("/plots").status_code == 503
    assert "It is being counted" in viewer.html("/").text


def test_the_figures_of_real_minutes_can_be_drawn(viewer):
    answer = viewer.get("/plots?hours=6")
    assert answer.status_code == 200
    assert len({len(column) for column in answer.json().values()}) == 1
