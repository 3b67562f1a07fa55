"""A task's life through the facade, real workers, a real broker and a real database."""

import json
import sys
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from celery.utils import uuid

from config.settings import settings
from installation import Installation, Part
from processors.errors import InvalidArgument, TaskCancelled, TaskFailed, TaskTimeout, UnknownTask
from records.task_records import Draft
from service_tasks import (
    add,
    ask_again,
    fail_first,
    keep,
    mark,
    mark_body,
    read_name,
    refuse,
    replace,
    total,
    unrecorded,
    work_until,
)
from services.celery_app import QUEUES, celery_app
from services.celery_service import celery_service
from services.submission import submit_many
from services.wiring import parts
from strangers import Stranger
from waiting import until

pytestmark = pytest.mark.usefixtures("installation")


def final(task_id: str):
    return until(
        lambda: (record := parts().tasks.read(task_id)) and record.final and record, what=f"{task_id} is final"
    )


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def state(task_id: str) -> str:
    return celery_service.get_task_status(task_id)["status"]


def mails(task_id: str) -> list[bytes]:
    return [path.read_bytes() for path in settings.outbox_dir.glob(f"{task_id}-*.eml")]


def test_a_mail_of_the_document_is_written_and_its_result_read():
    task_id = celery_service.send_email(to_email="user@example.com", subject="Test Email", body="Hello from Celery!")

    result = celery_service.get_task_result(task_id, timeout=60)

    assert result["status"] == "sent"
    assert result["accepted"] == ["user@example.com"]
    message = message_from_bytes(mails(task_id)[0], policy=policy.default)
    assert message["Subject"] == "Test Email"
    assert message.get_content().strip() == "Hello from Celery!"
    status = celery_service.get_task_status(task_id)
    assert status["status"] == "SUCCESS"
    assert status["info"] == result
    assert datetime.fromisoformat(status["finished_at"]).tzinfo is not None


def test_a_finished_task_is_one_line_of_the_log_with_its_figures():
    task_id = celery_service.health_check()
    final(task_id)
    log = settings.logs / "worker.log"
    line = until(lambda: [one for one in log.read_text().splitlines() if "task_ended" in one and task_id in one])
    assert len(line) == 1
    for figure in ("state=SUCCESS", "duration=", "wait=", "attempt=1", "memory_mb=", "task=monitoring.health_check"):
        assert figure in line[0]


def test_one_bad_address_of_several_is_its_own_outcome_and_bcc_is_nowhere_in_the_mail():
    task_id = celery_service.send_email(
        "a@example.com", "s", "b", cc=["no address"], bcc=["hidden@example.com"], priority="high"
    )

    result = celery_service.get_task_result(task_id, timeout=60)

    assert (result["status"], list(result["invalid"])) == ("partial", ["no address"])
    assert "hidden@example.com" in result["accepted"]
    assert b"hidden" not in mails(task_id)[0]


def test_a_bulk_is_one_task_whose_counters_add_up():
    emails = [{"to_email": f"u{n}@example.com", "subject": "News", "body": "<p>Hi</p>"} for n in range(7)]
    emails += [{"to_email": "nope", "subject": "News", "body": "x"}, dict(emails[0])]

    task_id = celery_service.send_bulk_emails(emails, batch_size=3, delay_between_batches=0.1)
    result = celery_service.get_task_result(task_id, timeout=60)

    counters = ("sent", "deferred", "refused", "invalid", "duplicate", "unknown", "pending")
    assert result["total"] == sum(result[name] for name in counters) == 9
    assert (result["sent"], result["invalid"], result["duplicate"]) == (7, 1, 1)
    assert result["failures"][0]["index"] == 7
    assert len(mails(task_id)) == 7


def test_a_worker_makes_mails_of_a_template_and_notices_that_it_changed():
    folder = settings.data_dir / "templates"
    folder.mkdir(exist_ok=True)
    (folder / "greeting.subject.txt").write_text("To {{ name }}")
    (folder / "greeting.mjml").write_text(
        "<mjml><mj-body><mj-section><mj-column>"
        "<mj-text>Hi {{ name }}</mj-text></mj-column></mj-section></mj-body></mjml>"
    )
    names = [f"r{number} <b>" for number in range(7)]
    emails = [
        {"to_email": f"t{at}@example.com", "template": "greeting", "context": {"name": name}}
        for at, name in enumerate(names)
    ]
    bulk = celery_service.send_bulk_emails(emails, batch_size=3, delay_between_batches=0)
    assert celery_service.get_task_result(bulk, timeout=60)["sent"] == 7
    found = [message_from_bytes(mail, policy=policy.default) for mail in mails(bulk)]
    assert {mail["Subject"] for mail in found} == {f"To {name}" for name in names}
    pages = "".join(mail.get_body(["html"]).get_content() for mail in found)
    assert all(f"Hi r{number} &lt;b&gt;" in pages for number in range(7))

    (folder / "greeting.mjml").unlink()
    (folder / "greeting.html").write_text("<p>Bye {{ name }}</p>")
    one = celery_service.send_email("t9@example.com", template="greeting", context={"name": "Ann"})
    celery_service.get_task_result(one, timeout=60)
    assert b"<p>Bye Ann</p>" in mails(one)[0]


def test_a_bulk_with_a_bad_item_records_nothing():
    with pytest.raises(InvalidArgument, match=r"emails\[1\]"):
        celery_service.send_bulk_emails([{"to_email": "a@example.com", "subject": "s", "body": "b"}, {"to": "x"}])

    open_bulks = [one for one in parts().tasks.active(limit=10_000) if one.name == "email.send_bulk_emails"]
    assert open_bulks == []


def test_a_task_that_fails_for_now_is_tried_again_and_one_that_cannot_work_is_not(tmp_path):
    flaky = fail_first.delay(str(tmp_path / "flaky"), 2)
    hopeless = refuse.delay(str(tmp_path / "hopeless"))

    assert (final(flaky.id).result, celery_service.get_task_status(flaky.id)["attempts"]) == (3, 3)
    record = final(hopeless.id)
    assert (record.state, record.error, record.error_type) == ("FAILURE", "this can never work", "PermanentError")
    assert lines(tmp_path / "hopeless") == 1
    with pytest.raises(TaskFailed, match="this can never work") as failed:
        celery_service.get_task_result(hopeless.id, timeout=0)
    assert failed.value.error_type == "PermanentError"
    assert "refuse" in failed.value.traceback


def test_a_failure_with_characters_that_no_text_has_ends_the_task_like_any_other(tmp_path):
    missing = read_name.delay(f"{tmp_path}/caf\udce9")

    record = final(missing.id)

    assert (record.state, record.error_type, record.run) == ("FAILURE", "PermanentError", 1)
    assert "caf\\udce9" in record.error


def test_a_delay_that_a_provider_asked_for_waits_in_the_record(tmp_path):
    task = ask_again.delay(str(tmp_path / "runs"))

    record = until(lambda: (r := parts().tasks.read(task.id)).state == "RETRY" and r)

    assert record.due_at > datetime.now(UTC) + timedelta(seconds=50)
    status = celery_service.get_task_status(task.id)
    assert (status["status"], status["info"]["waits_for"], status["attempts"]) == ("RETRY", "retry", 1)
    assert celery_service.cancel_task(task.id)


def test_a_countdown_waits_in_the_record_and_never_in_a_worker():
    soon, late = add.apply_async((1, 2), countdown=1), add.apply_async((1, 2), countdown=90 * 24 * 3600)

    assert celery_service.get_task_status(late.id)["info"]["waits_for"] == "due"
    assert final(soon.id).result == 3
    assert parts().tasks.read(late.id).published_at is None
    assert celery_service.cancel_task(late.id)


def test_results_are_read_by_celerys_own_means_for_the_facades_ids():
    task = add.delay(20, 22)

    assert task.get(timeout=60) == 42
    assert celery_app.AsyncResult(task.id).state == "SUCCESS"
    failing = refuse.delay("/dev/null")
    with pytest.raises(Exception, match="can never work"):
        failing.get(timeout=60)


def test_chains_groups_and_chords_work_with_records(tmp_path):
    linked = chain(add.s(1, 2), add.s(10), add.s(100)).apply_async()
    counted = chord([add.s(n, n) for n in range(5)], total.s()).apply_async()
    grouped = group(add.s(n, 1) for n in range(3)).apply_async()
    nested = chord([chain(add.s(1, 1), add.s(1)), group(add.s(2, 2), add.s(3, 3))], keep.s()).apply_async()

    assert linked.get(timeout=60) == 113
    assert counted.get(timeout=60) == 20
    assert grouped.get(timeout=60) == [1, 2, 3]
    assert final(nested.id).state == "SUCCESS"
    assert {parts().tasks.read(result.id).group_id for result in grouped.results} == {grouped.id}


def test_a_link_of_a_chain_and_a_member_of_a_chord_that_fail_once_still_complete_it_once(tmp_path):
    linked = chain(fail_first.s(str(tmp_path / "link"), 1), add.s(10)).apply_async()
    body = tmp_path / "body"
    counted = chord([add.s(1, 1), fail_first.s(str(tmp_path / "member"), 1)], mark_body.s(str(body))).apply_async()

    assert linked.get(timeout=60) == 12
    assert final(counted.id).state == "SUCCESS"
    assert lines(body) == 1


def test_a_task_that_wants_to_replace_itself_fails_with_a_reason_before_anything_of_it_ran(tmp_path):
    task = replace.delay(str(tmp_path / "effects"))

    record = final(task.id)

    assert (record.state, record.run) == ("FAILURE", 1)
    assert "chain or chord" in record.error
    assert final(add.delay(1, 1).id).state == "SUCCESS"
    assert lines(tmp_path / "effects") == 0


def test_a_chord_that_fails_ends_every_task_of_a_body_that_is_a_group(tmp_path):
    failing = chord([add.s(1, 1), refuse.si("/dev/null")], group(keep.s(), chain(keep.s(), total.s()))).apply_async()

    ended = [final(part.id) for part in failing.results]

    assert {(record.state, record.error_type) for record in ended} == {("FAILURE", "PermanentError")}


def test_a_failed_member_fails_its_chord(tmp_path):
    failing = chord([add.s(1, 1), refuse.si(str(tmp_path / "x"))], total.s()).apply_async()

    record = final(failing.id)

    assert record.state == "FAILURE"
    assert "can never work" in record.error


def test_a_strangers_message_gets_its_record_when_it_starts_and_its_eta_becomes_a_due_time():
    stranger = Stranger()

    now = stranger.send_task("test.add", (4, 5), queue="default")
    later = stranger.send_task("test.add", (4, 5), queue="default", countdown=3600)

    assert final(now.id).result == 9
    record = until(lambda: parts().tasks.read(later.id), what="the stranger's record")
    assert (record.state, record.run) == ("PENDING", 0)
    assert record.due_at > datetime.now(UTC) + timedelta(minutes=50)
    assert celery_service.cancel_task(later.id)


def test_a_task_without_a_record_runs_and_leaves_none(tmp_path):
    task = unrecorded.delay(str(tmp_path / "ran"))

    until(lambda: lines(tmp_path / "ran") == 1)
    assert parts().tasks.read(task.id) is None


def test_progress_is_seen_and_a_running_task_ends_soon_after_its_cancellation(tmp_path):
    task = work_until.delay(str(tmp_path / "never"), str(tmp_path / "runs"))
    until(lambda: state(task.id) == "PROGRESS", what="progress")
    status = celery_service.get_task_status(task.id)

    assert status["info"] == {"progress": 50.0, "status": "half of it"}
    active = [one for one in celery_service.get_active_tasks() if one["task_id"] == task.id]
    assert active[0]["worker"]
    assert celery_service.cancel_task(task.id)
    assert not celery_service.cancel_task(task.id)
    assert state(task.id) == "REVOKED"
    with pytest.raises(TaskCancelled):
        celery_service.get_task_result(task.id)
    until(
        lambda: not [t for ts in celery_service.get_worker_stats()["active"].values() for t in ts if t["id"] == task.id]
    )
    assert parts().tasks.read(task.id).state == "REVOKED"


def test_what_was_to_follow_a_cancelled_task_is_cancelled_with_it(tmp_path):
    linked = chain(work_until.si(str(tmp_path / "never"), str(tmp_path / "runs")), add.si(1, 1)).apply_async()
    until(lambda: lines(tmp_path / "runs") == 1)

    assert celery_service.cancel_task(linked.parent.id)

    with pytest.raises(TaskCancelled):
        celery_service.get_task_result(linked.id, timeout=0)


@pytest.mark.parametrize("terminate", [False, True])
def test_celerys_own_revoke_cancels_for_good(tmp_path, terminate):
    release = tmp_path / "release"
    blockers = [work_until.delay(str(release), str(tmp_path / f"b{n}")) for n in range(2)]
    until(lambda: all(lines(tmp_path / f"b{n}") for n in range(2)), what="both slots are taken")
    task = blockers[0] if terminate else mark.delay(str(tmp_path / "ran"))

    task.revoke(terminate=terminate)
    until(lambda: task.id in str(celery_service.get_worker_stats()["revoked"]), what="the worker heard it")
    if not terminate:
        release.touch()

    assert final(task.id).state == "REVOKED"
    with pytest.raises(TaskCancelled):
        celery_service.get_task_result(task.id)
    release.touch()
    assert lines(tmp_path / "ran") == 0
    assert final(blockers[1].id).state == "SUCCESS"


def test_a_strangers_date_is_a_date_at_every_attempt_and_its_nan_is_a_failure_that_says_so(tmp_path):
    stranger = Stranger()

    date = stranger.send_task("test.type_at_second", (datetime.now(UTC), str(tmp_path / "runs")), queue="default")
    nan = stranger.send_task("test.keep", (float("nan"),), queue="default")

    assert final(date.id).result == "datetime"
    assert (final(nan.id).state, final(nan.id).error_type) == ("FAILURE", "InvalidArgument")


def test_arguments_that_are_no_json_are_refused_at_submit():
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    for bad in (float("nan"), datetime.now(UTC), nested):
        with pytest.raises(InvalidArgument, match="JSON"):
            keep.delay(bad)


def test_arguments_that_no_message_holds_are_refused_at_submit():
    with pytest.raises(InvalidArgument, match="at most 10000000 are accepted"):
        add.delay("x" * 10_000_001, 1)


def test_a_record_that_no_message_holds_fails_and_the_leader_goes_on():
    large = Draft("large-" + uuid(), "test.add", "test", "default", {"x": "x" * 17_000_000, "y": 1}, relay_now=True)
    good = Draft(uuid(), "test.add", "test", "default", {"x": 1, "y": 2}, relay_now=True)

    submit_many([large, good])

    assert final(good.id).result == 3
    failed = final(large.id)
    assert (failed.state, failed.error_type) == ("FAILURE", "InvalidArgument")
    assert "at most 16000000 are accepted" in failed.error
    after = Draft(uuid(), "test.add", "test", "default", {"x": 2, "y": 2}, relay_now=True)
    submit_many([after])
    assert final(after.id).result == 4, "the leader leads on"


def test_a_strangers_message_that_comes_too_late_is_recorded_as_expired():
    stranger = Stranger()

    late = stranger.send_task("test.add", (4, 5), queue="default", expires=datetime.now(UTC) - timedelta(minutes=1))

    assert (final(late.id).state, final(late.id).error_type) == ("REVOKED", "Expired")


def test_an_unknown_id_is_unknown_and_a_result_that_is_not_there_times_out(tmp_path):
    assert celery_service.get_task_status("no-such-task")["status"] == "UNKNOWN"
    with pytest.raises(UnknownTask):
        celery_service.get_task_result("no-such-task")
    waiting = add.apply_async((1, 1), countdown=3600)
    with pytest.raises(TaskTimeout):
        celery_service.get_task_result(waiting.id, timeout=0)
    with pytest.raises(InvalidArgument, match="timeout"):
        celery_service.get_task_result(waiting.id, timeout=-1)
    assert celery_service.cancel_task(waiting.id)


def test_the_keys_that_callers_read_are_there():
    health = celery_service.get_task_result(celery_service.health_check(), timeout=60)
    system = celery_service.get_task_result(celery_service.get_system_stats(), timeout=60)
    queues = celery_service.get_task_result(celery_service.get_queue_stats(), timeout=60)
    workers = celery_service.get_worker_stats()

    assert health["status"] in {"healthy", "degraded"}
    assert {check["name"] for check in health["checks"]} >= {"database", "broker", "leader", "workers"}
    assert {"cpu", "memory", "disk", "load", "processes", "uptime_seconds", "collected_at"} <= set(system)
    assert set(queues["queues"]) >= {"default", "email", "twilio_calls"}
    assert set(workers) == {"active", "registered", "stats", "revoked"}
    assert json.loads(json.dumps(workers["stats"]))


def test_each_queue_tells_how_many_workers_listen_to_it(installation: Installation, tmp_path):
    celery = [sys.executable, "-m", "celery", "-A", "services.celery_app:celery_app", "worker", "--concurrency=1"]
    second = Part("worker", [*celery, "--hostname=second@%h", "--queues=low_priority"], tmp_path / "second.txt")
    second.start()
    try:
        until(lambda: second.said(" ready."), what="the second worker is ready")
        figures = celery_service.get_task_result(celery_service.get_queue_stats(), timeout=60)["queues"]
    finally:
        second.stop()
    assert {name: queue["consumers"] for name, queue in figures.items()} == {
        **dict.fromkeys(QUEUES, 1),
        "low_priority": 2,
    }


def test_failed_tasks_are_retried_as_new_ones_linked_both_ways(tmp_path):
    task = fail_first.apply_async((str(tmp_path / "runs"), 4), queue="default")
    assert final(task.id).state == "FAILURE"

    new = [i for i in retried_now() if parts().tasks.read(i).retry_of == task.id]

    assert len(new) == 1
    assert final(new[0]).result == 5
    assert celery_service.get_task_status(task.id)["retried_as"] == new[0]
    assert not [i for i in retried_now() if parts().tasks.read(i).retry_of == task.id]


def test_what_was_to_follow_a_failure_is_not_retried_without_it(tmp_path):
    linked = chain(refuse.si("/dev/null"), mark.si(str(tmp_path / "effect"))).apply_async()
    assert final(linked.id).state == "FAILURE"

    done = celery_service.get_task_result(celery_service.retry_failed_tasks(), timeout=60)

    assert [one["why"] for one in done["skipped"] if one["task_id"] == linked.id] == [
        "it is part of a workflow that has failed as a whole"
    ]
    assert final(add.delay(1, 1).id).state == "SUCCESS"
    assert lines(tmp_path / "effect") == 0


def retried_now() -> list[str]:
    return celery_service.get_task_result(celery_service.retry_failed_tasks(), timeout=60)["retried"]


def test_old_files_go_and_a_dry_run_lists_exactly_them():
    folder = settings.tmp_dir / "old"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a").write_text("12345")

    dry = celery_service.cleanup_old_files(directory=str(folder), max_age_hours=0, dry_run=True)
    listed = celery_service.get_task_result(dry, timeout=60)
    assert (folder / "a").exists()
    real = celery_service.get_task_result(
        celery_service.cleanup_old_files(directory=str(folder), max_age_hours=0), timeout=60
    )

    assert listed["items"] == real["items"] == [str(folder / "a")]
    assert (real["deleted_count"], real["bytes"], real["dry_run"]) == (1, 5, False)
    outside = celery_service.cleanup_old_files(directory="/usr", max_age_hours=0, dry_run=True)
    with pytest.raises(TaskFailed, match="CLEANUP_ROOTS"):
        celery_service.get_task_result(outside, timeout=60)


def test_secrets_in_arguments_are_shown_nowhere(installation):
    secret = celery_app.send_task(
        "test.keep_secret", kwargs={"password": "hunter2-planted", "url": "redis://u:hunter2-planted@h/"}
    )

    assert final(secret.id).state == "SUCCESS"
    assert parts().tasks.read(secret.id).kwargs["password"] == "hunter2-planted"
    assert "hunter2" not in installation.worker.log.read_text()
    assert "hunter2" not in json.dumps(celery_service.get_task_status(secret.id))
    assert "hunter2" not in json.dumps(parts().tasks.read(secret.id).message)


def test_purging_a_queue_takes_strangers_messages_too(tmp_path):
    stranger = Stranger()
    release = tmp_path / "release"
    blockers = [work_until.apply_async((str(release), str(tmp_path / f"b{n}")), queue="low_priority") for n in range(2)]
    until(lambda: all(lines(tmp_path / f"b{n}") for n in range(2)), what="both slots are taken")
    ours = [mark.apply_async((str(tmp_path / "ran"),), queue="low_priority") for _ in range(5)]
    theirs = stranger.send_task("test.mark", (str(tmp_path / "ran"),), queue="low_priority")

    count = celery_service.purge_queue("low_priority")
    release.touch()

    assert count in {5, 6}, "a worker may have reserved one message already"
    assert {state(task.id) for task in ours} == {"REVOKED"}
    assert [final(task.id).state for task in blockers] == ["SUCCESS", "SUCCESS"]
    assert theirs.id
    assert lines(tmp_path / "ran") <= 1


def test_emptying_queues_spares_what_is_due_later_and_records_what_cannot_be_read(installation, tmp_path):
    stranger = Stranger()
    installation.worker.stop()
    readable = stranger.send_task("test.mark", (str(tmp_path / "ran"),), queue="low_priority")
    later = stranger.send_task("test.mark", (str(tmp_path / "ran"),), queue="low_priority", countdown=3600)
    pickled = stranger.send_task("test.add", (1, 2), queue="low_priority", serializer="pickle", countdown=3600)
    elsewhere = stranger.send_task("test.mark", (str(tmp_path / "ran"),), queue="default")

    count = celery_service.purge_queue("low_priority")
    states = [state(task.id) for task in (readable, pickled, later, elsewhere)]
    killed = celery_service.kill_all_tasks()
    installation.start_worker()

    assert (count, states) == (2, ["REVOKED", "REVOKED", "PENDING", "UNKNOWN"])
    assert killed["killed_count"] >= 2
    assert {state(later.id), state(elsewhere.id)} == {"REVOKED"}
    assert final(add.delay(1, 1).id).result == 2
    assert lines(tmp_path / "ran") == 0


def test_a_record_submitted_during_a_purge_is_not_left_waiting_for_a_message_that_is_gone(tmp_path, monkeypatch):
    late = []
    revoke_waiting = parts().moves.revoke_waiting

    def submit_after(queue: str) -> list[str]:
        cancelled = revoke_waiting(queue)
        late.append(mark.apply_async((str(tmp_path / "ran"),), queue=queue))
        return cancelled

    release = tmp_path / "release"
    blockers = [work_until.delay(str(release), str(tmp_path / f"b{n}")) for n in range(2)]
    until(lambda: all(lines(tmp_path / f"b{n}") for n in range(2)), what="both slots are taken")
    monkeypatch.setattr(parts().moves, "revoke_waiting", submit_after)

    celery_service.purge_queue("low_priority")
    release.touch()

    assert final(late[0].id).state == "SUCCESS", "it came after the purge"
    assert {final(task.id).state for task in blockers} == {"SUCCESS"}


def test_kill_all_cancels_what_runs_and_waits(tmp_path):
    running = work_until.delay(str(tmp_path / "never"), str(tmp_path / "runs"))
    until(lambda: state(running.id) == "PROGRESS")
    waiting = add.apply_async((1, 1), countdown=3600)
    linked = chain(add.signature((1, 1), countdown=3600), add.s(1)).apply_async()

    killed = celery_service.kill_all_tasks()

    assert killed["killed_count"] >= 2
    assert (killed["failed_count"], killed["failed_task_ids"]) == (0, [])
    assert {state(running.id), state(waiting.id), state(linked.id)} == {"REVOKED"}


def test_removed_records_are_gone_with_their_artefacts_and_others_stay():
    kept = add.apply_async((1, 1), countdown=3600)
    done = add.delay(1, 1)
    final(done.id)
    address = parts().storage.put(b"artefact", mime="text/plain", task_id=done.id)

    until(lambda: parts().moves.final_before(0, 1))
    result = celery_service.get_task_result(celery_service.cleanup_old_tasks(max_age_hours=0), timeout=60)

    assert result["deleted_count"] >= 1
    assert state(done.id) == "UNKNOWN"
    assert state(kept.id) == "PENDING"
    with pytest.raises(Exception, match="removed with its task"):
        parts().storage.get(address)
    assert celery_service.cancel_task(kept.id)
