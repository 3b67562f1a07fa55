"""What the relay publishes."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update

from records.columns import Now
from records.database import Database
from records.leadership import Lead, Leadership
from records.task_moves import Mark, TaskMoves
from records.task_records import Draft, TaskRecords, task_records
from records.workers import Workers
from services import relay
from waiting import until

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
    publisher = SimpleNamespace(full_queues=lambda: found, is_away=lambda: "away" in found)
    monkeypatch.setattr(relay, "parts", lambda: SimpleNamespace(moves=TaskMoves(database), publisher=publisher))
    return found


@pytest.fixture
def due(database: Database):
    """What is claimed; each time all of it is due."""

    def claim(limit: int = 10) -> set[str]:
        waiting = update(task_records).where(task_records.c.relay_at.is_not(None)).values(relay_at=Now())
        database.write(lambda c: c.execute(waiting))
        return {record.id for record in relay.claim_besides_full(limit)}

    return claim


@pytest.mark.parametrize(("name", "left_out"), [("email.high", "high"), ("email", "normal"), ("email.low", "low")])
def test_what_goes_to_a_full_queue_takes_no_place_from_what_goes_to_others(full: set[str], due, name, left_out):
    everything = due()
    full.add(name)

    assert len(everything) == 6
    assert due() == everything - {f"email.{left_out}"}
    assert len(due(5)) == 5


def test_what_runs_again_is_looked_for_in_the_queue_one_level_more_urgent(full: set[str], due, database: Database):
    Workers(database).start("w1", "io@host", "host", 1, 0)
    moves = TaskMoves(database)
    moves.give_back("email.low", moves.start("email.low", 0, "w1", "io@host", None).run)

    full.add("email.low")
    assert "email.low" in due()
    full.add("email")
    assert "email.low" not in due()
    assert "files.low" in due()


def test_nothing_is_claimed_while_the_broker_is_away(full: set[str], due):
    full.add("away")
    assert due() == set()
    full.clear()
    assert len(due()) == 6


def test_a_leader_that_was_frozen_after_it_claimed_publishes_nothing(full: set[str], database: Database, monkeypatch):
    published = []
    monkeypatch.setattr(relay, "publish", lambda records, **_: published.extend(records) or len(records))
    lead = Lead("leader", Leadership(database).take("leader", "host", 1))

    assert relay.relay(4, lead, lambda: False) == 0
    assert published == []
    assert relay.relay(4, lead, lambda: True) == 2, "the four that were claimed are left alone for some seconds"
    assert len(published) == 2


def test_by_hand_at_most_so_many_are_published_in_portions(full: set[str], monkeypatch):
    portions = []
    monkeypatch.setattr(relay, "publish", lambda records, **_: portions.append(len(records)) or len(records))
    monkeypatch.setattr(relay, "PAGE", 2)

    assert relay.relay_by_hand(5, None) == (5, 5)
    assert portions == [2, 2, 1]
    assert relay.relay_by_hand(5, None) == (1, 1)
    assert relay.relay_by_hand(5, ["email"]) == (0, 0)


def test_by_hand_it_ends_where_the_broker_takes_no_more(full: set[str], monkeypatch):
    monkeypatch.setattr(relay, "publish", lambda records, **_: 1)
    monkeypatch.setattr(relay, "PAGE", 2)

    assert relay.relay_by_hand(6, None) == (2, 1)


def test_what_is_published_after_the_broker_was_looked_at_is_not_taken_for_lost(database: Database, monkeypatch):
    tasks, moves = TaskRecords(database), TaskMoves(database)
    tasks.open_many(
        tasks.opening([Draft(name, "test", "test", "email") for name in ("lost", "there", "published again")])
    )
    moves.published([Mark("lost", 0, 0), Mark("there", 0, 0), Mark("published again", 0, 0)], wait=True)

    def look_and_freeze(*_) -> set[str]:
        moves.relay_again(["published again"])
        looked_at = database.read(lambda c: c.execute(select(Now())).scalar_one())
        until(lambda: database.read(lambda c: c.execute(select(Now())).scalar_one()) > looked_at)
        moves.published([Mark("published again", 0, 0)], wait=True)
        return {"there"}

    monkeypatch.setattr(relay, "parts", lambda: SimpleNamespace(moves=moves))
    monkeypatch.setattr(relay, "celery_app", SimpleNamespace(connection_for_write=nullcontext))
    monkeypatch.setattr(relay, "message_ids", look_and_freeze)

    assert relay.reconcile(0) == 1
    assert [record.id for record in moves.claim(10)] == ["lost"]
