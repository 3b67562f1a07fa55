"""What the relay publishes."""

from types import SimpleNamespace

import pytest

from records.database import Database
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers
from services import relay

LEVELS = ("high", "normal", "low")


@pytest.fixture
def full(database: Database, monkeypatch) -> set[str]:
    """The broker's queues that are full; a task of each priority waits in `email` and in `files`."""
    for queue in ("email", "files"):
        for priority in LEVELS:
            TaskRecords(database).open(
                Draft(f"{queue}.{priority}", "test", "test", queue, priority=priority, relay_now=True)
            )
    found = set[str]()
    service = SimpleNamespace(moves=TaskMoves(database), publisher=SimpleNamespace(full_queues=lambda: found))
    monkeypatch.setattr(relay, "parts", lambda: service)
    return found


def due(limit: int = 10) -> list[str]:
    return [record.id for record in relay.due_besides_full(limit)]


@pytest.mark.parametrize(("name", "left_out"), [("email.high", "high"), ("email", "normal"), ("email.low", "low")])
def test_what_goes_to_a_full_queue_takes_no_place_from_what_goes_to_others(full: set[str], name: str, left_out: str):
    everything = due()
    full.add(name)

    assert len(everything) == 6
    assert due() == [one for one in everything if one != f"email.{left_out}"]
    assert due(2) == due()[:2]


def test_what_runs_again_is_looked_for_in_the_queue_one_level_more_urgent(full: set[str], database: Database):
    Workers(database).start("w1", "io@host", "host", 1, 0)
    moves = TaskMoves(database)
    moves.give_back("email.low", moves.start("email.low", 0, "w1", "io@host", None).run)

    full.add("email.low")
    assert "email.low" in due()
    full.add("email")
    assert "email.low" not in due()
    assert "files.low" in due()
