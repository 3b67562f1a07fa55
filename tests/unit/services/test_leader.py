"""What the leader does in one round."""

import time
from types import SimpleNamespace

import pytest
from sqlalchemy import insert, update

from processors.errors import ConfigurationError, ServiceUnavailable
from records.columns import Now
from records.effects import effects
from records.leadership import SURE_SECONDS
from records.submit_keys import submit_keys
from records.task_records import Draft, TaskState
from services import leader
from services.wiring import Parts


@pytest.fixture
def leading(monkeypatch) -> leader.Leader:
    """A leader whose lease was renewed just now."""
    one = leader.Leader()
    one.term = 1
    one._renewed = time.monotonic()
    monkeypatch.setattr(one, "_take_lease", lambda: None)
    return one


def test_a_round_of_the_relay_goes_on_while_another_queue_turns_out_to_be_full(leading, monkeypatch):
    full, published = set[str](), []
    pages = [("email.low", 0), ("email", 0), (None, leader.BATCH), (None, 1), (None, 0)]

    def relay(limit: int, *_) -> int:
        queue, count = pages.pop(0)
        full.update({queue} if queue else ())
        published.append(count)
        return count

    publisher = SimpleNamespace(full_queues=lambda: set(full))
    monkeypatch.setattr(leader, "parts", lambda: SimpleNamespace(publisher=publisher))
    monkeypatch.setattr(leader, "relay", relay)

    leading._relay()

    assert published == [0, 0, leader.BATCH, 1]


def test_the_leader_forgets_idempotency_keys_that_are_free_again(database, monkeypatch):
    service = Parts(database)
    for key in ("old", "young"):
        service.submit_keys.open(Draft(key, "x", "x", "default", idempotency_key=key))
    old = update(submit_keys).where(submit_keys.c.key == "old").values(expires_at=Now(-1))
    database.write(lambda c: c.execute(old))
    monkeypatch.setattr(leader, "parts", lambda: service)

    leader._prune()

    assert database.read(lambda c: c.execute(submit_keys.select()).mappings().one())["key"] == "young"


def test_the_leader_forgets_what_is_known_of_the_own_effects_of_tasks_whose_records_are_gone(database, monkeypatch):
    service, long_ago = Parts(database), Now(-31 * 86_400)
    known = {"task_id": "gone", "run": 1, "state": "done", "deadline_seconds": 1, "intended_at": long_ago}
    for key in ("gone:charge", "invoice:4711"):
        database.write(lambda c, key=key: c.execute(insert(effects).values(key=key, closed_at=long_ago, **known)))
    monkeypatch.setattr(leader, "parts", lambda: service)

    leader._prune()

    assert database.read(lambda c: c.execute(effects.select()).mappings().one())["key"] == "invoice:4711"


@pytest.fixture
def duties(leading, monkeypatch) -> list[str]:
    """The duties in the order in which a leader did them."""
    done = list[str]()
    monkeypatch.setattr(leading, "_fire", lambda: done.append("fire"))
    monkeypatch.setattr(leading, "_relay", lambda: done.append("relay"))
    monkeypatch.setattr(leading, "_adopt", lambda: done.append("adopt"))
    for name in ("_bury", "_reap", "_watch_broker", "_reconcile", "_look_at_parked"):
        monkeypatch.setattr(leading, name, lambda *_: None)
    monkeypatch.setattr(leader, "follow", lambda *_: None)
    monkeypatch.setattr(leader, "_prune", lambda: None)
    publisher = SimpleNamespace(full_queues=set[str])
    monkeypatch.setattr(leader, "parts", lambda: SimpleNamespace(publisher=publisher))
    return done


def test_what_a_schedule_fires_is_published_in_the_same_round(leading, duties):
    leading.tick()

    assert duties == ["adopt", "fire", "relay"]


def test_a_duty_that_goes_wrong_is_told_by_name_and_stops_no_other_one(leading, duties, monkeypatch, caplog):
    tried = []

    def go_wrong() -> None:
        tried.append(1)
        raise KeyError("nobody foresaw it")

    monkeypatch.setattr(leading, "_fire", go_wrong)

    for _ in range(3):
        leading.tick()

    assert duties == ["adopt", "relay"] * 3
    assert tried == [1], "it is left alone for a moment"
    for word in ("duty_failed", "fire", "nobody foresaw it"):
        assert word in caplog.text


@pytest.mark.parametrize(("watched", "waits"), [(0.0, leader.RENEWAL_SECONDS), (2.0, 1.0), (5.0, 0.0)])
def test_a_new_leader_lets_the_living_renew_before_it_buries_unless_it_has_watched_them(monkeypatch, watched, waits):
    leadership = SimpleNamespace(current=lambda: None, take=lambda *_, **__: 7)
    monkeypatch.setattr(leader, "parts", lambda: SimpleNamespace(leadership=leadership))
    monkeypatch.setattr(leader.Vacancy, "seconds", watched)
    one = leader.Leader()

    before = time.monotonic()
    one._take_lease()

    assert before + waits <= one._next["bury"] <= time.monotonic() + waits


def test_the_lease_is_renewed_while_the_broker_is_looked_at(leading, monkeypatch):
    renewed = list[int]()
    monkeypatch.setattr(leading, "_take_lease", lambda: renewed.append(1))
    monkeypatch.setattr(leader, "reconcile", lambda _, meanwhile, **__: meanwhile() or 0)

    leading._reconcile(0.0)

    assert renewed


def test_what_a_dead_worker_ran_is_taken_back_as_soon_as_it_is_declared_dead(leading, monkeypatch):
    done = list[str]()
    monkeypatch.setattr(leader, "parts", lambda: SimpleNamespace(workers=SimpleNamespace(bury=lambda _: ["w1"])))
    monkeypatch.setattr(leading, "_reap", lambda: done.append("reap"))
    monkeypatch.setattr(leading, "_reconcile", lambda _: done.append("reconcile"))

    leading._bury()

    assert done == ["reap", "reconcile"], "what lies in the broker is looked at later: that takes its time"


def test_the_provider_of_calls_is_left_alone_for_a_minute_after_it_could_not_be_asked(leading, monkeypatch):
    submitted: list[str] = []
    states = {"t0": TaskState.PENDING, "t1": TaskState.SUCCESS}
    calls = SimpleNamespace(looks_due=lambda: True)
    tasks = SimpleNamespace(
        read=lambda task_id: SimpleNamespace(state=states[task_id], final=states[task_id] is not TaskState.PENDING)
    )
    monkeypatch.setattr(leader, "parts", lambda: SimpleNamespace(calls=calls, tasks=tasks))
    monkeypatch.setattr(leader, "submit_by_name", lambda *_, **__: submitted.append("one") or f"t{len(submitted) - 1}")
    leading._follow_calls()
    leading._follow_calls()
    assert len(submitted) == 1, "one asks at a time"
    states["t0"] = TaskState.SUCCESS
    leading._follow_calls()
    assert len(submitted) == 2
    states["t1"] = TaskState.FAILURE
    before = time.monotonic()
    leading._each("calls", 1.0, leading._follow_calls)
    assert len(submitted) == 2
    assert leading._next["calls"] >= before + leader.UNFOLLOWED_SECONDS


@pytest.mark.parametrize("error", [ServiceUnavailable("the database is away"), ConfigurationError("another database")])
def test_what_concerns_every_duty_ends_the_round(leading, duties, monkeypatch, error):
    def go_wrong() -> None:
        raise error

    monkeypatch.setattr(leading, "_fire", go_wrong)

    with pytest.raises(type(error)):
        leading.tick()
    assert duties == ["adopt"]


def test_a_leader_that_was_frozen_since_its_last_renewal_does_not_publish_before_the_next_one(leading):
    assert leading._may_publish()
    leading._renewed = time.monotonic() - SURE_SECONDS
    assert not leading._may_publish()


def test_who_never_led_holds_a_lead_that_nobody_has():
    standing_by = leader.Leader()

    assert standing_by.lead == (standing_by.holder, 0)
    assert not standing_by._may_publish()


def test_the_settings_schedules_are_taken_over_once_in_a_term_and_again_where_it_was_not_whole(leading, monkeypatch):
    answers, leads = [False, True, True], []
    monkeypatch.setattr(leader.settings_schedules, "adopt", lambda lead: leads.append(lead.term) or answers.pop(0))

    for term in (1, 1, 1, 2, 2):
        leading.term = term
        leading._adopt()

    assert leads == [1, 1, 2]
