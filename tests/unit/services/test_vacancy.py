"""For how long the lead was vacant while the database answered."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from records.leadership import Leader
from services import vacancy
from services.vacancy import STEADY_SECONDS, Vacancy

OTHER = Leader("another", "host", 1, 1, datetime(2026, 1, 1, tzinfo=UTC), yields=False)


class Watched:
    """A vacancy beside a clock that the test moves on."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.vacancy = Vacancy()

    def look(self, after: float, other: Leader | None, *, leads: bool = False, takes: float = 0.0) -> float:
        self.now += after
        self.vacancy.asks(other, leads=leads)
        self.now += takes
        self.vacancy.answered()
        return self.vacancy.seconds


@pytest.fixture
def watched(monkeypatch) -> Watched:
    one = Watched()
    monkeypatch.setattr(vacancy, "clock", lambda: one.now)
    return one


def test_who_stands_by_sees_the_lead_vacant_from_the_last_renewal_that_it_saw(watched):
    for renewal in range(4):
        assert watched.look(0.5, replace(OTHER, renewed_at=OTHER.renewed_at + timedelta(seconds=renewal))) == 0
    last = replace(OTHER, renewed_at=OTHER.renewed_at + timedelta(seconds=3))
    for look in range(9):
        assert watched.look(0.5, last) == pytest.approx(0.5 * (look + 1))
    assert watched.look(0.5, None) == pytest.approx(5.0), "its lease has run out"


def test_who_begins_has_seen_nothing(watched):
    assert watched.look(0.0, None) == 0


def test_a_clock_of_the_database_that_was_set_ends_a_lease_and_makes_no_vacancy(watched):
    watched.look(0.5, OTHER)
    watched.look(0.5, replace(OTHER, renewed_at=OTHER.renewed_at + timedelta(seconds=1)))
    assert watched.look(0.5, None) == pytest.approx(0.5)


def test_who_leads_again_after_its_own_lease_ran_out_has_seen_nothing(watched):
    for _ in range(20):
        assert watched.look(0.5, None, leads=True) == 0


@pytest.mark.parametrize("pause", ["between", "within"])
def test_a_database_that_paused_or_a_machine_that_slept_begins_anew(watched, pause):
    for _ in range(6):
        watched.look(0.5, OTHER)
    long = STEADY_SECONDS + 6.0
    slept = watched.look(long, None) if pause == "between" else watched.look(0.5, None, takes=long)
    assert slept == 0
    assert watched.look(0.5, None) == pytest.approx(0.5)
