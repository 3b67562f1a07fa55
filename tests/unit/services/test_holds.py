"""Limits, pauses and turns as callers set and see them, and as tasks are submitted under them."""

from collections.abc import Iterator
from types import SimpleNamespace
from uuid import uuid4

import pytest

from config.settings import settings
from processors.errors import InvalidArgument
from processors.limits import Rate
from records.holds import LetGo
from records.limited_starts import Held
from records.task_records import Draft, TaskRecord
from services import leader, limiting
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.limiting import in_turn, limit_keys_of
from services.monitoring import queue_statistics
from services.task_messages import message_of
from services.wiring import default_limits, parts


@pytest.fixture(autouse=True)
def _lifted() -> Iterator[None]:
    yield
    for limit in celery_service.get_limits():
        celery_service.clear_limit(limit["scope"])
    for queue in parts().limits.paused():
        celery_service.resume_queue(queue)
    parts().moves.revoke_all()


@celery_app.task(name="test.by_account", bind=True, limited_by=lambda kwargs: [f"account:{kwargs['account']}"])
def by_account(self, account: str) -> None:
    """Stands for an adopter's task."""


@celery_app.task(name="test.badly_limited", limited_by=lambda kwargs: kwargs["keys"])
def badly_limited(keys: list[str]) -> None:
    """Stands for one whose keys may be anything."""


@celery_app.task(name="test.without_record", record=False)
def unrecorded() -> None:
    """Stands for a plain Celery task."""


def opened(**values) -> str:
    task_id = str(uuid4())
    parts().tasks.open(Draft(task_id, **({"name": "test.x", "category": "test", "queue": "email"} | values)))
    return task_id


def start(task_id: str):
    parts().workers.start(worker := str(uuid4()), "io@host", "host", 1, 0)
    return parts().moves.start(task_id, 0, worker, "io@host", 60)


def waits_for(task_id: str) -> tuple[str, bool]:
    info = celery_service.get_task_status(task_id)["info"]
    return info["waits_for"], info["due_at"] is not None


def test_a_limit_is_told_as_it_was_set_and_its_default_again_once_it_is_cleared():
    assert celery_service.set_limit("provider:openai", "50/m", 5) == {
        "scope": "provider:openai",
        "rate": "50/m",
        "concurrency": 5,
        "source": "database",
        "used": 0,
        "running": 0,
        "waiting": 0,
    }
    assert celery_service.set_limit("provider:openai", concurrency="none")["rate"] == "50/m"
    assert celery_service.set_limit("tenant:*", "10/s")["used"] is None, "it is no limiter, but one for each"
    listed = {limit["scope"]: limit for limit in celery_service.get_limits()}
    assert listed["provider:openai"]["concurrency"] == "none"
    assert listed["category:email"]["source"] == "settings"
    assert celery_service.clear_limit("provider:openai") | {"source": ""} == {
        "scope": "provider:openai",
        "rate": "none",
        "concurrency": "none",
        "source": "",
        "used": 0,
        "running": 0,
        "waiting": 0,
    }


def test_what_is_set_for_may_be_any_category_and_task_that_is_known_and_any_key():
    for scope in ("category:test", "category:default", "category:cleanup", "task:test.by_account", "tenant:emial"):
        assert celery_service.set_limit(scope, "5/m")["rate"] == "5/m"


def test_a_limit_on_a_task_without_a_record_is_refused():
    with pytest.raises(InvalidArgument, match=r"test\.without_record says record = False, so that no limit binds it\."):
        celery_service.set_limit("task:test.without_record", "5/m")


@pytest.mark.parametrize("scope", ["category:gone", "task:gone.task", "queue:gone"])
def test_a_limit_that_stands_can_be_lifted_and_cleared_although_nobody_knows_its_name_any_more(scope):
    parts().limits.change(scope, {"rate": Rate(5, 60), "concurrency": 2})

    with pytest.raises(InvalidArgument, match="is named"):
        celery_service.set_limit(scope, "6/m")
    assert celery_service.set_limit(scope, "none")["concurrency"] == 2
    assert celery_service.set_limit(scope, concurrency="none")["concurrency"] == "none"
    assert celery_service.clear_limit(scope)["rate"] == "none"
    assert scope not in {limit["scope"] for limit in celery_service.get_limits()}


def test_the_documents_figures_are_the_settings_and_bind_nothing_of_the_services_own(monkeypatch):
    for name, figure in {"default": "100/m", "high_priority": "200/m", "ai_processing": "10/m"}.items():
        monkeypatch.setattr(settings, f"limit_{name}", figure)
    found = default_limits()

    assert {scope: str(rate) for scope, rate in found.binding("email", "email").items()} == {"category:email": "100/m"}
    assert {scope: str(rate) for scope, rate in found.binding("ai_processing", "high_priority").items()} == {
        "queue:high_priority": "200/m",
        "category:ai_processing": "10/m",
    }
    assert found.binding("monitoring", "default") == found.binding("email", "email", "parent") == {}
    assert set(found.binding("notification", "default", "parent")) == {"category:notification"}, (
        "each channel is a start"
    )
    assert found.binding("file_processing", "file_processing") == {}, "none lifts it"
    assert str(found.of("category:ai_processing")) == "10/m"
    assert found.of("category:cleanup") is found.of("task:email.send_email") is None


def test_a_task_tells_whether_it_waits_for_a_limit_a_pause_or_its_turn():
    celery_service.set_limit("queue:email", "1/h")
    celery_service.pause_queue("low_priority")
    first, limited, paused = opened(), opened(), opened(queue="low_priority")
    turn = opened(hold="turn:email", turn=0, tenant="acme")

    assert start(first).run == 1
    assert start(limited) == Held("queue:email", until=parts().limits.expected(parts().tasks.read(limited)))
    assert start(paused) == Held("pause:low_priority")

    assert waits_for(limited) == ("limit", True)
    assert waits_for(paused) == ("pause", False)
    assert waits_for(turn) == ("queue", False)


def test_the_figures_of_a_queue_show_its_pause_its_limit_and_what_is_held_in_it():
    celery_service.set_limit("queue:twilio_calls", "1/h")
    for task_id in (opened(queue="twilio_calls"), opened(queue="twilio_calls")):
        start(task_id)
    celery_service.pause_queue("twilio_calls")
    celery_service.set_limit("category:ai_processing", "7/m")

    queues = queue_statistics(parts()).queues

    assert (queues["twilio_calls"].paused, queues["twilio_calls"].limit, queues["twilio_calls"].depth) == (
        True,
        "1/h",
        1,
    )
    assert (queues["ai_processing"].paused, queues["ai_processing"].limit) == (False, "7/m")
    assert queues["default"].limit is None
    assert celery_service.drain("twilio_calls") == 1
    assert celery_service.purge_queue("twilio_calls") == 1


def test_a_tasks_keys_are_what_its_class_says_whoever_asks():
    assert limit_keys_of("test.by_account", {"account": "AC1"}) == ["account:AC1"]
    assert limit_keys_of("test.badly_limited", {"keys": ["b:2", "a:1", "b:2"]}) == ["a:1", "b:2"]
    assert limit_keys_of("test.badly_limited", {"keys": []}) is None
    assert limit_keys_of("test.nobody", {}) is None


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("a:1", "must return a list of at most 8 keys"),
        (["a:1"] * 9, "at most 8 keys"),
        (["queue:email"], "a kind of its own"),
        (["tenant:acme"], "a kind of its own"),
        (["a:*"], "a kind of its own"),
        (["pause:email"], "a kind of its own"),
        ([7], "got 7"),
        (["a:" + "x" * 300], "a kind of its own"),
        (["a:b\nc"], "a kind of its own"),
    ],
    ids=range(9),
)
def test_a_key_that_is_none_is_refused_in_one_sentence(keys, words):
    with pytest.raises(InvalidArgument, match=words) as refused:
        limit_keys_of("test.badly_limited", {"keys": keys})
    assert "\n" not in str(refused.value)


def test_a_task_that_cannot_tell_its_keys_is_refused_with_the_cause():
    with pytest.raises(
        InvalidArgument, match=r"limited_by of test.by_account cannot tell .*\['x'\]: KeyError: 'account'"
    ):
        limit_keys_of("test.by_account", {"x": 1})


def tenants(*names: str | None, **values) -> list[Draft]:
    return [Draft(str(uuid4()), "test.x", "test", "default", tenant=name, **values) for name in names]


def test_a_tenants_first_goes_to_the_front_and_what_exceeds_its_room_waits_for_turns(monkeypatch):
    monkeypatch.setattr(parts().holds, "_room", 2)

    placed = in_turn(tenants("acme", None, "acme", "acme", "beta", "acme"))

    assert [(draft.tenant, draft.first, draft.hold, draft.turn) for draft in placed] == [
        ("acme", True, None, None),
        (None, False, None, None),
        ("acme", False, None, None),
        ("acme", False, "turn:default", 0),
        ("beta", True, None, None),
        ("acme", False, "turn:default", 1),
    ]
    parts().tasks.open_many(parts().tasks.opening(placed))
    record = parts().tasks.read(placed[3].id)
    assert (record.held, record.relay_at, record.holds) == (True, None, 0)
    assert [draft.hold for draft in in_turn(tenants("beta"))] == ["turn:default"], "the queue is contended"


def test_what_is_due_later_or_left_to_the_relay_has_no_place_yet():
    for values in ({"delay": 5.0}, {"relay_now": True}, {"is_parent": True}):
        [placed] = in_turn(tenants("acme", **values))
        assert (placed.first, placed.hold) == (False, None)


def test_a_message_goes_to_the_front_where_its_record_says_so():
    [first, other] = in_turn(tenants("acme", "acme"))
    assert (message_of(first).first, message_of(other).first) == (True, False)
    parts().tasks.open(first)
    record = parts().tasks.read(first.id)
    assert isinstance(record, TaskRecord)
    assert not message_of(record).first


@pytest.mark.parametrize(("soon", "seconds"), [(True, leader.HOLDING_TICK_SECONDS), (False, leader.TICK_SECONDS)])
def test_a_leader_looks_more_often_while_something_may_be_let_go_at_any_moment(monkeypatch, soon, seconds):
    holds = SimpleNamespace(let_go=lambda _: LetGo(0, soon=soon))
    monkeypatch.setattr(leader, "parts", lambda: SimpleNamespace(holds=holds))
    leading = leader.Leader()

    leading._let_go()

    assert leading._tick_seconds == seconds


def test_an_adopters_test_sees_a_limit_hold_its_task_and_time_let_it_go(inline_service):
    celery_service.set_limit("account:AC1", "1/m")
    first, second = (celery_service.submit("test.by_account", account="AC1") for _ in range(2))

    assert celery_service.get_task_status(first)["status"] == "SUCCESS"
    assert waits_for(second) == ("limit", True)
    assert inline_service.advance(30) == 0
    assert inline_service.advance(31) == 1
    assert celery_service.get_task_status(second)["status"] == "SUCCESS"


def test_a_queue_without_a_figure_of_its_own_shows_its_categorys_or_the_usual_one():
    celery_service.set_limit("category:default", "9/m")

    in_force = parts().limits.in_force()

    assert limiting.limit_of_queue(in_force, "low_priority") == "9/m"
    assert limiting.limit_of_queue(in_force, "high_priority") is None
