"""Acts on many tasks: counted, confirmed, undone in time, and done to exactly those that were meant."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from processors.errors import CountChanged, InvalidArgument, UnknownTask
from processors.scheduling import ActOnTasks
from records.audit import WantedActs
from records.task_moves import Failure
from records.task_records import Draft
from services import audit, task_acts
from services.access import Caller, reach
from services.celery_service import celery_service
from services.task_filters import filter_of
from services.wiring import parts

ANN = Caller("user", "ann", reach(("operate",)))
OF_ACME = Caller("key", "acme's", reach(("operate",)), tenant="acme")
LATER = datetime.now(UTC) + timedelta(days=1)


def quiet(_percent, _text):
    """A report that nobody reads."""


@pytest.fixture
def tag() -> str:
    return f"acts-{uuid4()}"


def waiting(tag: str, count: int = 1, **more) -> list[str]:
    """Tasks that are due much later."""
    ids = [f"{tag}-{uuid4()}" for _ in range(count)]
    for one in ids:
        kwargs = {"text": "x", "detailed": True}
        parts().tasks.open(
            Draft(
                one,
                "ai_processing.analyze_sentiment",
                "ai_processing",
                "ai_processing",
                kwargs,
                delay=3600,
                tags=[tag],
                **more,
            )
        )
    return ids


def failed(tag: str, count: int = 1) -> list[str]:
    ids = [f"{tag}-{uuid4()}" for _ in range(count)]
    for one in ids:
        kwargs = {"text": "x", "detailed": True}
        parts().tasks.open(
            Draft(one, "ai_processing.analyze_sentiment", "ai_processing", "ai_processing", kwargs, tags=[tag])
        )
        run = parts().moves.start(one, 0, "worker-of-acts", "w@h", None).run
        assert parts().moves.fail(one, run, Failure("no", "PermanentError"))
    return ids


def state(task_id: str) -> str:
    return parts().tasks.read(task_id).state.value


def act_on(act: str, tag: str, most: int = 100, own_id: str = "", **more):
    request = ActOnTasks(act=act, filter={"tag": [tag]}, created_before=LATER.isoformat(), most=most, **more)
    return task_acts.act_on(request, quiet, own_id)


def test_an_act_is_begun_after_a_while_by_a_task_that_is_written_down(tag):
    waiting(tag, 3)
    asked = filter_of(tag=[tag])
    assert task_acts.count_of("cancel", asked, None) == 3
    begun = task_acts.begin(ANN, "cancel", asked, 3)
    record = parts().tasks.read(begun["task_id"])
    assert (begun["count"], record.name, record.priority) == (3, "scheduling.act_on_tasks", "high")
    assert (record.due_at - record.created_at).total_seconds() == pytest.approx(task_acts.UNDO_SECONDS, abs=0.1)
    (act,) = audit.acts(WantedActs(target_id=begun["task_id"]), 5)
    assert (act.act, act.count, act.details) == ("tasks.cancel", 3, {"filter": {"tag": [tag]}})
    assert celery_service.cancel_task(begun["task_id"])


def test_an_act_is_undone_until_it_begins_and_not_afterwards(tag):
    (task_id,) = waiting(tag)
    begun = task_acts.begin(ANN, "cancel", filter_of(tag=[tag]), 1)
    assert task_acts.undo(ANN, begun["task_id"]) is True
    assert task_acts.undo(ANN, begun["task_id"]) is False
    assert (state(begun["task_id"]), state(task_id)) == ("REVOKED", "PENDING")
    with pytest.raises(UnknownTask):
        task_acts.undo(ANN, task_id)  # a task that is no act is not cancelled like this


def test_an_act_that_begins_while_it_is_being_undone_goes_on(tag, monkeypatch):
    monkeypatch.setattr(task_acts, "UNDO_SECONDS", 0)
    waiting(tag)
    task_id = task_acts.begin(ANN, "cancel", filter_of(tag=[tag]), 1)["task_id"]
    read = parts().tasks.read

    def read_and_begin(one):
        record = read(one)
        parts().moves.start(one, 0, "worker-of-acts", "w@h", None)
        return record

    monkeypatch.setattr(parts().tasks, "read", read_and_begin)
    assert task_acts.undo(ANN, task_id) is False
    monkeypatch.undo()
    assert state(task_id) == "STARTED"
    assert celery_service.cancel_task(task_id)


def test_more_than_were_confirmed_are_refused_with_the_new_count_and_fewer_are_not(tag):
    waiting(tag, 2)
    with pytest.raises(CountChanged, match="1 tasks were confirmed, and 2 are like that now") as told:
        task_acts.begin(ANN, "cancel", filter_of(tag=[tag]), 1)
    assert told.value.count == 2
    celery_service.cancel_task(task_acts.begin(ANN, "cancel", filter_of(tag=[tag]), 5)["task_id"])
    with pytest.raises(InvalidArgument, match="nothing to do"):
        task_acts.begin(ANN, "replay", filter_of(tag=[tag]), 5)


def test_too_many_are_refused(tag, monkeypatch):
    monkeypatch.setattr(task_acts, "MOST", 2)
    waiting(tag, 3)
    assert task_acts.count_of("cancel", filter_of(tag=[tag]), None) == 3
    with pytest.raises(InvalidArgument, match="more than 2 tasks"):
        task_acts.begin(ANN, "cancel", filter_of(tag=[tag]), 100)


def test_an_act_does_not_cancel_itself_where_the_database_s_clock_is_behind(tag):
    ids = waiting(tag, 3)
    [own_id] = waiting(tag, 1)  # as if the moment of the act were later than what the database says of its task
    done = act_on("cancel", tag, 3, own_id)
    assert (sorted(done.task_ids), state(own_id)) == (sorted(ids), "PENDING")
    assert celery_service.cancel_task(own_id)


def test_cancelling_changes_what_waits_and_leaves_what_has_ended(tag, monkeypatch):
    monkeypatch.setattr(task_acts, "PAGE", 2)
    ids, ended = waiting(tag, 5), failed(tag, 2)
    done = act_on("cancel", tag)
    assert (done.changed, sorted(done.task_ids), done.skipped) == (5, sorted(ids), [])
    assert {state(one) for one in ids} == {"REVOKED"}
    assert {state(one) for one in ended} == {"FAILURE"}
    assert act_on("cancel", tag).changed == 0  # what was killed in the middle goes on where it was


def test_replaying_submits_each_failed_task_again_once(tag):
    ids = failed(tag, 3)
    waiting(tag, 2)
    assert act_on("replay", tag).changed == 3
    assert act_on("replay", tag).changed == 0
    again = [parts().tasks.read(parts().tasks.read(one).retried_as) for one in ids]
    assert [one.retry_of for one in again] == ids


def test_an_act_keeps_to_what_was_there_to_the_count_and_to_the_tenant(tag):
    waiting(tag, 3, tenant="acme")
    (others,) = waiting(tag, 1, tenant="other")
    assert task_acts.count_of("cancel", filter_of(tag=[tag]), "acme") == 3
    assert task_acts.begin(OF_ACME, "cancel", filter_of(tag=[tag]), 3)["count"] == 3
    request = ActOnTasks(
        act="cancel", filter={"tag": [tag]}, created_before="2026-01-01T00:00:00+00:00", most=100, wall="acme"
    )
    assert task_acts.act_on(request, quiet, "").changed == 0
    assert act_on("cancel", tag, most=2, wall="acme").changed == 2
    assert act_on("cancel", tag, wall="acme").changed == 1
    assert state(others) == "PENDING"


def test_an_act_that_nobody_knows_is_refused():
    with pytest.raises(InvalidArgument, match="act: must be one of cancel, replay"):
        task_acts.count_of("purge", filter_of(), None)
