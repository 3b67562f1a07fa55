"""The fixture for adopters' tests: everything runs at once, in this process, and all is as before afterwards."""

import logging
import re
import threading
from typing import Any

import pytest
import structlog
from celery import Celery, chain, chord, group
from celery._state import get_current_app
from sqlalchemy import create_engine

from config.log_setup import get_logger
from config.settings import settings
from documentation import examples
from processors.errors import (
    InvalidArgument,
    PermanentError,
    TaskCancelled,
    TaskFailed,
    TaskTimeout,
    TransientError,
    UnknownTask,
)
from processors.interfaces import Absent
from services import task_run
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.testing import running_inline
from services.wiring import parts
from waiting import until

ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran():
    ran.clear()


@celery_app.task(name="test.inline_note")
def note(text: str) -> str:
    ran.append(text)
    return text


@celery_app.task(name="test.inline_add")
def add(x: int, y: int) -> int:
    return x + y


@celery_app.task(name="test.inline_total")
def total(numbers: list[int]) -> int:
    ran.append("total")
    return sum(numbers)


@celery_app.task(name="test.inline_flaky", bind=True)
def flaky(self: Any, times: int) -> int:
    ran.append("flaky")
    if ran.count("flaky") <= times:
        raise TransientError("not yet", retry_after=3600)
    return self.current.attempt


@celery_app.task(name="test.inline_refuse")
def refuse() -> None:
    raise PermanentError("this can never work")


@celery_app.task(name="test.inline_outer")
def outer() -> dict[str, Any]:
    ran.append("outer begins")
    inner = celery_service.submit("test.inline_note", text="inner")
    ran.append("outer ends")
    return {"inner": inner, "status": celery_service.get_task_status(inner)["status"]}


@celery_app.task(name="test.inline_unrecorded", record=False)
def unrecorded(text: str) -> None:
    ran.append(text)


@celery_app.task(name="test.inline_cancelled", bind=True)
def cancelled(self: Any) -> None:
    celery_service.cancel_task(self.request.id)


@celery_app.task(name="test.inline_progress", bind=True)
def progress(self: Any) -> dict[str, Any]:
    self.report(100, "nearly")
    parts().database.write(lambda _: None)
    return celery_service.get_task_status(self.request.id)["info"]


@celery_app.task(name="test.inline_secretive")
def secretive(password: str) -> None:
    logging.getLogger("shop").info("args %s", {"password": password})
    structlog.get_logger("shop").info("got %s", {"password": password})
    get_logger().info("got", arguments={"password": password}, text=f"postgres://u:{password}@h/db")


def result(task_id: str) -> Any:
    return celery_service.get_task_result(task_id, timeout=0)


def test_a_submitted_task_has_run_when_the_submit_returns(inline_service):
    assert result(celery_service.submit("test.inline_add", x=1, y=2)) == 3
    assert result(add.delay(3, 4).id) == 7
    assert add.delay(5, 6).get(timeout=1) == 11
    assert celery_app.send_task("test.inline_add", (1, 1)).get(timeout=1) == 2


def test_what_is_due_is_looked_for_by_hand(inline_service):
    found = result(celery_service.process_pending_tasks(max_tasks=5))
    assert (found["examined"], found["published"]) == (0, 0)


def test_a_task_that_fails_raises_nothing_at_submit(inline_service):
    task_id = celery_service.submit("test.inline_refuse")
    with pytest.raises(TaskFailed, match="this can never work") as failed:
        result(task_id)
    assert failed.value.error_type == "PermanentError"


def test_a_retry_waits_for_nothing_and_is_counted(inline_service):
    done = celery_service.submit("test.inline_flaky", times=2)
    assert (result(done), ran) == (2, ["flaky"] * 3)
    ran.clear()
    hopeless = celery_service.submit("test.inline_flaky", times=100)
    assert celery_service.get_task_status(hopeless)["status"] == "FAILURE"
    assert len(ran) == 1 + settings.celery_task_max_retries


@celery_app.task(name="test.inline_charge", bind=True)
def charge(self: Any) -> str:
    def call() -> str:
        ran.append("call")
        if len(ran) == 1:
            raise ConnectionError("lost in the middle")
        return "charged"

    return self.effect(f"{self.request.id}:charge", call, deadline=5, reconcile=lambda _: Absent())


def test_an_effect_in_doubt_is_looked_at_again_once_enough_time_has_passed(inline_service):
    task_id = celery_service.submit("test.inline_charge")
    assert celery_service.get_task_status(task_id)["status"] == "RETRY"
    assert celery_service.get_effects_in_doubt()

    inline_service.advance(60)

    assert (result(task_id), ran) == ("charged", ["call", "call"])
    assert celery_service.get_effects_in_doubt() == []


def test_what_a_task_submits_runs_after_it_in_the_order_of_the_submits(inline_service):
    seen = result(celery_service.submit("test.inline_outer"))

    assert ran == ["outer begins", "outer ends", "inner"]
    assert (seen["status"], result(seen["inner"])) == ("PENDING", "inner")


def test_chains_groups_and_chords_run_to_their_ends(inline_service):
    linked = chain(add.s(1, 2), add.s(10), add.s(100)).apply_async()
    grouped = group(add.s(n, 1) for n in range(3)).apply_async()
    counted = chord([add.s(n, n) for n in range(5)], total.s()).apply_async()
    failing = chord([add.s(1, 1), refuse.si()], total.s()).apply_async()
    linked_error = refuse.apply_async(link_error=note.si("errback"))

    assert linked.get(timeout=1) == 113
    assert grouped.get(timeout=1) == [1, 2, 3]
    assert counted.get(timeout=1) == 20
    assert celery_service.get_task_status(failing.id)["status"] == "FAILURE"
    assert celery_service.get_task_status(linked_error.id)["status"] == "FAILURE"
    assert ran == ["total", "errback"]


def test_a_group_is_seen_as_a_whole_and_so_is_a_body_that_is_one(inline_service):
    bodies = chord([add.s(1, 1), add.s(2, 2)], group(keep.s(), keep.s())).apply_async()
    later = chord([add.s(1, 1), add.s(2, 2)], group(keep.s(), refuse.si())).apply_async(countdown=60)

    seen = celery_service.get_group(bodies.parent.id)
    assert (seen["total"], seen["done"], seen["progress"]) == (2, 2, 100.0)
    assert seen["body"] == {"task_id": bodies.id, "name": "celery.group", "status": "SUCCESS"}
    waiting = celery_service.get_group(later.parent.id)
    assert (waiting["done"], waiting["progress"], waiting["body"]["status"]) == (0, 0.0, "PENDING")
    inline_service.advance(60)
    assert celery_service.get_group(later.parent.id)["body"]["status"] == "FAILURE"


def test_the_results_of_a_chord_come_in_the_order_of_its_header(inline_service):
    assert chord([add.s(n, 0) for n in range(12)], keep.s()).apply_async().get(timeout=1) == list(range(12))


@celery_app.task(name="test.inline_keep")
def keep(value: Any) -> Any:
    return value


def test_what_is_delayed_runs_when_its_time_has_come_and_not_before(inline_service):
    late = note.apply_async(("late",), countdown=3600)
    soon = note.apply_async(("soon",), countdown=60)

    assert (inline_service.run_due(), ran) == (0, [])
    with pytest.raises(TaskTimeout):
        result(soon.id)
    assert (inline_service.advance(30), ran) == (0, [])
    assert (inline_service.advance(31), ran) == (1, ["soon"])
    assert (inline_service.advance(90 * 24 * 3600), ran) == (1, ["soon", "late"])
    assert result(late.id) == "late"


@celery_app.task(name="test.inline_again")
def again(times: int) -> None:
    ran.append("again")
    if times:
        again.apply_async((times - 1,), countdown=100)


def test_time_passes_from_one_due_task_to_the_next(inline_service):
    again.apply_async((5,), countdown=100)
    assert inline_service.advance(350) == 3
    assert inline_service.advance(1000) == 3
    with pytest.raises(InvalidArgument, match="seconds"):
        inline_service.advance(-1)
    with pytest.raises(InvalidArgument, match="seconds"):
        inline_service.advance(1e12)


def test_what_waits_for_its_tenants_turn_is_counted_once(inline_service):
    for number in range(settings.tenant_room + 5):
        celery_service.submit(note.name, text=f"{number:03}", tenant="large", delay_seconds=60)

    assert inline_service.advance(61) == len(ran) == settings.tenant_room + 5
    assert ran == sorted(ran)


def test_what_expires_meanwhile_does_not_run(inline_service):
    stale = note.apply_async(("stale",), countdown=100, expires=50)
    inline_service.advance(200)
    assert ran == []
    with pytest.raises(TaskCancelled):
        result(stale.id)


def test_a_cancelled_task_does_not_run(inline_service):
    late = note.apply_async(("late",), countdown=60)
    assert celery_service.cancel_task(late.id)
    inline_service.advance(3600)
    assert ran == []
    assert celery_service.get_task_status(celery_service.submit("test.inline_cancelled"))["status"] == "REVOKED"


def test_mail_is_written_and_a_bulk_ends_with_its_last_batch(inline_service):
    sent = celery_service.send_email("ann@example.com", "Hi", "Hello")
    bulk = celery_service.send_bulk_emails(
        [{"to_email": f"u{n}@example.com", "subject": "s", "body": "b"} for n in range(5)], batch_size=2
    )

    assert result(sent)["accepted"] == ["ann@example.com"]
    assert len(list(inline_service.outbox.glob("*.eml"))) == 3, "the later batches are a second apart"
    inline_service.advance(10)
    assert result(bulk)["sent"] == 5


def test_the_options_of_a_submit_hold(inline_service):
    late = celery_service.submit("test.inline_note", text="late", delay_seconds=60, idempotency_key="k", tags=["t"])
    assert celery_service.submit("test.inline_note", text="late", idempotency_key="k") == late
    assert (celery_service.get_task_status(late)["tags"], ran) == (["t"], [])
    bulk = celery_service.send_bulk_emails(
        [{"to_email": "ann@example.com", "subject": "s", "body": "b"}], idempotency_key="b"
    )
    assert result(bulk)["sent"] == 1
    inline_service.advance(60)
    assert ran == ["late"]
    inline_service.advance(8 * 24 * 3600)
    assert celery_service.submit("test.inline_note", text="again", idempotency_key="k") != late, "7 days are over"


def test_a_task_of_a_callers_session_runs_once_it_is_committed_and_due(inline_service):
    engine = create_engine(inline_service.database_url)
    with engine.begin() as connection:
        task_id = celery_service.submit("test.inline_note", text="together", session=connection)
    assert ran == []
    assert (inline_service.run_due(), result(task_id)) == (1, "together")
    engine.dispose()


def test_a_task_without_a_record_runs_too_and_no_broker_is_asked(inline_service):
    unrecorded.delay("ran")
    assert ran == ["ran"]


def test_progress_is_in_the_record_while_the_task_runs(inline_service):
    assert result(celery_service.submit("test.inline_progress")) == {"progress": 100.0, "status": "nearly"}


def test_what_a_task_logs_is_kept_with_its_secrets_masked_and_as_a_worker_keeps_it(inline_service):
    task_id = celery_service.submit("test.inline_secretive", password="planted")
    assert [line["text"] for line in celery_service.get_task_logs(task_id)] == [
        "args {'password': '***'}",
        "got {'password': '***'}",
        "got arguments=\"{'password': '***'}\" text=postgres://u:***@h/db",
    ]


def test_each_attempt_that_is_made_again_is_noted_beside_what_the_task_logs(inline_service):
    task_id = celery_service.submit("test.inline_flaky", times=2)
    until(lambda: len(celery_service.get_task_logs(task_id)) == 2, what="the notes are there")
    noted = [(line["run"], line["level"], line["text"]) for line in celery_service.get_task_logs(task_id)]
    assert [run for run, _, _ in noted] == [1, 2]
    said = r"Attempt \d failed on \S+ after \S+ s, the next one is due in 3600\.0 s: TransientError: not yet"
    for _, level, text in noted:
        assert (level, bool(re.fullmatch(said, text))) == ("WARNING", True), text


def test_figures_and_steering_ask_no_broker(inline_service):
    late = note.apply_async(("late",), countdown=60)
    assert celery_service.purge_queue("default") == 0
    assert celery_service.get_worker_stats() == {"active": {}, "registered": {}, "stats": {}, "revoked": {}}
    assert result(celery_service.get_queue_stats())["queues"]["default"]["scheduled"] == 1
    assert {check["name"] for check in result(celery_service.health_check())["checks"]} >= {"database"}
    assert celery_service.kill_all_tasks()["killed_count"] == 1
    assert celery_service.get_task_status(late.id)["status"] == "REVOKED"


def test_what_a_task_interrupts_the_test_with_reaches_it_and_the_next_task_runs(inline_service):
    with pytest.raises(pytest.fail.Exception, match="not like this"):
        celery_service.submit("test.inline_fail_test")
    assert result(celery_service.submit("test.inline_add", x=1, y=1)) == 2


@celery_app.task(name="test.inline_fail_test")
def fail_test() -> None:
    pytest.fail("not like this")


def test_a_name_that_nobody_registered_is_a_failure_that_says_what_to_do(inline_service):
    task = celery_app.send_task("test.inline_of_nobody")
    with pytest.raises(TaskFailed, match=r"no task is named 'test.inline_of_nobody'; import its module"):
        result(task.id)


@celery_app.task(name="test.inline_remind")
def remind(customer: str) -> str:
    return f"reminded {customer}"


@pytest.mark.parametrize("name", ["test_an_order_sends_a_mail", "test_a_reminder_goes_out_after_a_day"])
def test_the_documentations_tests_pass_as_they_stand(inline_service, name):
    _, tests = examples("testing.md")
    known: dict[str, Any] = {"remind": remind}
    exec(compile(tests, "docs/testing.md", "exec"), known)
    known[name](inline_service)


def test_each_test_begins_with_nothing_and_leaves_all_as_it_was(tmp_path):
    before = (dict(vars(settings)), settings.model_fields_set.copy(), parts(), task_run.working_process)
    sender, threads = celery_app.amqp.send_task_message, threading.active_count()
    root = logging.getLogger()
    logs = (root.level, list(root.handlers))
    with running_inline(tmp_path) as service:
        task_id = celery_service.submit("test.inline_add", x=1, y=2)
        assert parts() is not before[2]
        assert service.outbox.is_relative_to(tmp_path)
    (again_in := tmp_path / "again").mkdir()
    with running_inline(again_in), pytest.raises(UnknownTask):
        result(task_id)
    assert (dict(vars(settings)), settings.model_fields_set, parts(), task_run.working_process) == before
    assert celery_app.amqp.send_task_message is sender
    assert (root.level, root.handlers) == logs
    assert threading.active_count() <= threads
    assert celery_service.get_task_status(task_id)["status"] == "UNKNOWN"


def test_connections_to_a_broker_are_the_programs_own_before_and_after(tmp_path, monkeypatch):
    monkeypatch.setattr(celery_app, "_pool", None)
    monkeypatch.setattr(celery_app.amqp, "_producer_pool", None)
    before = celery_app.producer_pool

    with running_inline(tmp_path):
        assert celery_app.producer_pool is not before

    assert celery_app.producer_pool is before


def test_the_services_application_is_the_current_one_meanwhile_and_the_programs_own_afterwards(tmp_path):
    other = Celery("other", broker="memory://")
    try:
        with running_inline(tmp_path):
            assert get_current_app() is celery_app
        assert get_current_app() is other
    finally:
        celery_app.set_current()
