"""What the relay publishes."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update

from records.columns import Now
from records.database import Database
from records.holds import Holds
from records.leadership import Lead, Leadership
from records.task_moves import NO_LIMITS, Failure, Mark, TaskMoves
from records.task_records import Draft, TaskRecord, TaskRecords, TaskState, task_records
from records.workers import Workers
from services import limiting, relay
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

    asked = list[int]()

    assert relay.reconcile(0, lambda: asked.append(1)) == 1
    assert asked
    assert [record.id for record in moves.claim(10)] == ["lost"]


@pytest.fixture
def tenants(database: Database, monkeypatch) -> SimpleNamespace:
    """Two tasks of tenants may lie in a queue; what is published comes into `published`."""
    published: list[TaskRecord] = []
    publisher = SimpleNamespace(full_queues=set, is_away=lambda: False)
    moves, holds = TaskMoves(database), Holds(database, NO_LIMITS, 2)
    service = SimpleNamespace(tasks=TaskRecords(database), moves=moves, holds=holds, publisher=publisher)

    def publish(records, **_) -> int:
        published.extend(records)
        moves.published([Mark(one.id, one.attempt, one.run, one.holds) for one in records], wait=True)
        return len(records)

    for room in (relay, limiting):
        monkeypatch.setattr(room, "parts", lambda: service)
    monkeypatch.setattr(relay, "publish", publish)
    lead = Lead("leader", Leadership(database).take("leader", "host", 1))
    Workers(database).start("w1", "io@host", "host", 1, 0)

    def look() -> list[str]:
        """Do one look of the leader; returns what was published, the front of the queue in brackets."""
        published.clear()
        holds.let_go(lead)
        assert relay.relay(500, lead, lambda: True) < 500
        return [f"({one.id})" if one.first else one.id for one in published]

    def end(*ids: str) -> None:
        for one in ids:
            assert moves.succeed(one, moves.start(one, 0, "w1", "io@host", None).run, None)

    return SimpleNamespace(look=look, end=end, **vars(service))


def due_now(service: SimpleNamespace, tenant: str, count: int) -> None:
    drafts = [Draft(f"{tenant}{n}", "test", "test", "email", tenant=tenant, relay_now=True) for n in range(count)]
    service.tasks.open_many(service.tasks.opening(drafts))


def test_what_is_due_of_tenants_takes_turns_as_what_they_submit_for_now_does(tenants: SimpleNamespace):
    due_now(tenants, "large", 6)
    assert sorted(tenants.look()) == ["(large0)", "large1"]
    assert tenants.tasks.read("large2").hold == "turn:email"

    due_now(tenants, "small", 2)
    assert tenants.look() == ["(small0)"], "who has nothing there goes to the front, however many of another one wait"
    assert tenants.look() == []
    tenants.end("small0", "large0", "large1")
    assert sorted(tenants.look()) == ["(large2)", "(small1)"]


def test_what_is_tried_again_takes_a_turn_and_keeps_it(tenants: SimpleNamespace):
    due_now(tenants, "large", 4)
    assert sorted(tenants.look()) == ["(large0)", "large1"]
    run = tenants.moves.start("large0", 0, "w1", "io@host", None).run
    tenants.moves.try_again("large0", run, 0.0, Failure("Busy.", "TransientError"))

    assert tenants.look() == ["large2"]
    assert tenants.tasks.read("large0").hold == "turn:email"
    tenants.end("large1", "large2")
    assert sorted(tenants.look()) == ["(large0)", "(large3)"], "what was given a turn is not asked for one again"
    assert tenants.moves.start("large0", 1, "w1", "io@host", None)


def test_what_was_put_off_goes_to_the_front_when_it_is_due(tenants: SimpleNamespace):
    due_now(tenants, "large", 4)
    assert sorted(tenants.look()) == ["(large0)", "large1"]
    run = tenants.moves.start("large1", 0, "w1", "io@host", None).run
    tenants.moves.try_again("large1", run, 0.0, Failure("Busy.", "ProviderBusy"), counted=False)

    assert "(large1)" in tenants.look(), "its place has come: it waits for no turn, and not behind what has not begun"


def test_hundreds_of_tenants_are_given_their_places_in_one_look(tenants: SimpleNamespace, monkeypatch):
    for number in range(40):
        due_now(tenants, f"t{number:02}-", 1)
    reads, read = [], tenants.holds.database.read
    monkeypatch.setattr(tenants.holds.database, "read", lambda query: reads.append(query) or read(query))

    assert len(tenants.look()) == 40
    assert len(reads) < 10, "a leader that asks for each by itself outlasts its lease, and publishes nothing"


def test_of_two_tenants_in_one_look_the_second_sees_that_the_first_waits(tenants: SimpleNamespace):
    due_now(tenants, "one", 5)
    due_now(tenants, "two", 5)

    assert len(tenants.look()) == 2 + 1


def test_by_hand_what_waits_for_a_turn_is_none_that_the_broker_took(tenants: SimpleNamespace):
    due_now(tenants, "large", 6)
    assert relay.relay_by_hand(10, None) == (6, 2)


def test_what_moved_on_since_it_was_claimed_does_not_wait_for_a_turn(tenants: SimpleNamespace):
    due_now(tenants, "large", 3)
    claimed = relay.claim_besides_full(10)
    tenants.end("large0")
    tenants.moves.relay_again(["large1"])
    tenants.moves.published([Mark("large1", 0, 0)], wait=True)

    tenants.holds.wait([(one, 0) for one in claimed])

    assert [tenants.tasks.read(one.id).held for one in claimed] == [False, False, True]
    assert tenants.tasks.read("large0").state is TaskState.SUCCESS
