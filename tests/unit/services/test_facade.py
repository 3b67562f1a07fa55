"""The facade refuses what is wrong in one sentence, records nothing of it, and loads nothing heavy."""

import inspect
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from config.settings import PROJECT_ROOT, Settings, settings
from processors.errors import (
    InvalidArgument,
    PermanentError,
    TaskCancelled,
    TaskFailed,
    TaskTimeout,
    UnknownQueue,
    UnknownTask,
)
from records.task_moves import Failure
from records.task_records import Draft
from services.celery_app import QUEUES, celery_app
from services.celery_schedule import schedule
from services.celery_service import CeleryService, celery_service, poll_pause
from services.wiring import cleanup_roots, parts, protected_paths

HEAVY = [
    "css_inline",
    "jinja2",
    "mrml",
    "processors.email_templates",
    "apprise",
    "pywebpush",
    "py_vapid",
    "phonenumbers",
    "py3langid",
    "pypdfium2",
    "docx",
    "openpyxl",
    "pptx",
    "lxml",
    "bs4",
    "PIL",
    "numpy",
    "onnxruntime",
    "tokenizers",
    "vaderSentiment",
    "cv2",
    "rapidocr",
    "fastapi",
    "starlette",
    "uvicorn",
    "flower",
    "twilio",
    "openai",
    "smtplib",
    "adapters.smtp_mailer",
    "adapters.amazon_sns",
    "adapters.contact_directory",
    "apprise",
    "pywebpush",
    "engines",
    "api",
    "cli",
]

PROMISED_NOW = [
    "send_email",
    "send_bulk_emails",
    "suppress_email",
    "unsuppress_email",
    "get_suppressions",
    "receive_bounce",
    "get_deliveries",
    "get_email_events",
    "unsubscribe_url",
    "send_notification",
    "set_contact",
    "get_contact",
    "delete_contact",
    "get_inbox",
    "mark_inbox",
    "queue_outbound_call",
    "queue_bulk_calls",
    "schedule_call",
    "retry_failed_call",
    "end_call",
    "get_call_status",
    "cleanup_stale_calls",
    "pause_campaign",
    "resume_campaign",
    "cancel_campaign",
    "get_campaign",
    "export_campaign",
    "add_opt_out",
    "remove_opt_out",
    "get_opt_outs",
    "process_file",
    "process_document",
    "process_image",
    "process_video",
    "extract_text",
    "enroll_person",
    "forget_person",
    "list_people",
    "process_audio",
    "get_artefact",
    "process_ai_request",
    "generate_embedding",
    "process_chat",
    "generate_embeddings",
    "get_vectors",
    "analyze_sentiment",
    "extract_text",
    "get_ai_usage",
    "health_check",
    "get_system_stats",
    "get_queue_stats",
    "get_worker_stats",
    "cleanup_old_tasks",
    "cleanup_old_files",
    "cleanup_old_logs",
    "process_pending_tasks",
    "retry_failed_tasks",
    "get_failed_tasks",
    "replay_task",
    "get_effects_in_doubt",
    "settle_effect",
    "submit",
    "submit_many",
    "get_group",
    "set_limit",
    "get_limits",
    "clear_limit",
    "pause_queue",
    "pause_task",
    "resend_failed",
    "resume_task",
    "resume_queue",
    "drain",
    "add_schedule",
    "change_schedule",
    "pause_schedule",
    "resume_schedule",
    "remove_schedule",
    "run_schedule_now",
    "list_schedules",
    "get_task_status",
    "get_task_result",
    "get_task_logs",
    "search_task_logs",
    "cancel_task",
    "purge_queue",
    "get_active_tasks",
    "kill_all_tasks",
]


@pytest.fixture
def recorded():
    """How many records there are."""
    return lambda: len(parts().tasks.active(limit=10_000))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.send_email("nobody", "s", "b"), "to_email: must be one mail address like name@example.com"),
        (lambda s: s.send_email([f"r{n}@example.com" for n in range(1001)], "s", "b"), "at most 1000 recipients"),
        (lambda s: s.send_email("b@example.com", "a\x07", "b"), "subject: must not contain control characters"),
        (lambda s: s.send_email("b@example.com", "s", "x" * 2_000_000), "body: has 2000002 of the"),
        (
            lambda s: s.send_email("b@example.com", "s", "b", queue="mail"),
            "no queue is named 'mail'; the queues are high_priority",
        ),
        (lambda s: s.send_email("b@example.com", "s", "b", priority="urgent"), "priority: must be low, normal or high"),
        (lambda s: s.send_email("b@example.com", "s", "b", priority=["high"]), r"priority: .* got \['high'\]"),
        (lambda s: s.send_email("b@example.com", "s", b"bytes"), "body: Input should be a valid string"),
        (lambda s: s.cleanup_old_tasks(max_age_hours=True), "max_age_hours: .*valid number; got True"),
        (lambda s: s.process_pending_tasks(max_tasks="7"), "max_tasks: .*valid integer; got '7'"),
        (lambda s: s.process_document("/tmp/x.pdf", extract_text="yes"), "extract_text: .*valid boolean; got 'yes'"),
        (lambda s: s.process_audio("/tmp/x.mp3", language="English"), "language: must be a code of BCP 47 .*'English'"),
        (lambda s: s.analyze_sentiment(" "), "text: must not be empty"),
        (lambda s: s.analyze_sentiment("x" * 2_000_000), "text: has 2000002 of the"),
        (lambda s: s.send_bulk_emails([]), "at least one dict"),
        (lambda s: s.send_bulk_emails([{}] * 1_000_001), "at most 1000000 mails are accepted in one bulk; got 1000001"),
        (lambda s: s.send_bulk_emails([{}], batch_size=0), "batch_size"),
        (lambda s: s.send_bulk_emails([{}], delay_between_batches=-1), "delay_between_batches"),
        (lambda s: s.cleanup_old_tasks(max_age_hours=-1), "max_age_hours: .*greater than or equal to 0; got -1"),
        (lambda s: s.cleanup_old_files("/tmp/x", max_age_hours=-1), "max_age_hours: .*; got -1"),
        (lambda s: s.cleanup_old_logs(max_age_hours=-1), "max_age_hours: .*; got -1"),
        (lambda s: s.retry_failed_tasks(max_age_hours=-1), "max_age_hours: .*; got -1"),
        (lambda s: s.cleanup_old_files("", max_age_hours=1), "directory"),
        (lambda s: s.process_pending_tasks(max_tasks=0), "max_tasks"),
        (lambda s: s.retry_failed_tasks(task_types=["mail"]), "task_types: must be of email"),
        (lambda s: s.get_task_status(""), "task_id: must be the text that a submit returned"),
        (lambda s: s.get_task_status(5), "task_id"),
        (lambda s: s.get_task_status("a\0b"), "task_id"),
        (lambda s: s.cancel_task("x" * 300), "task_id"),
        (lambda s: s.get_task_result("x", timeout=-1), "timeout: must be seconds, 0 or more; got -1"),
        (lambda s: s.get_task_result("x", timeout=True), "timeout"),
        (lambda s: s.get_task_result("x", timeout=float("nan")), "timeout"),
        (lambda s: s.purge_queue("nothing"), "no queue is named 'nothing'"),
        (lambda s: s.pause_queue("nothing"), "no queue is named 'nothing'"),
        (lambda s: s.resume_queue(7), "no queue is named 7"),
        (lambda s: s.drain("nothing"), "no queue is named 'nothing'"),
        (lambda s: s.set_limit("queue:email", "0/m"), "rate: must be 1 to 1000000 starts per s, m or h .* got '0/m'"),
        (lambda s: s.set_limit("queue:email", "-1/m"), "rate: .* got '-1/m'"),
        (lambda s: s.set_limit("queue:email", "5/x"), "rate: .* got '5/x'"),
        (lambda s: s.set_limit("queue:email", "1000001/h"), "rate: .* got '1000001/h'"),
        (lambda s: s.set_limit("queue:email", 5), "rate: .* got 5"),
        (lambda s: s.set_limit("queue:email", concurrency=0), "concurrency: must be 1 to 1000000, or none; got 0"),
        (lambda s: s.set_limit("queue:email", concurrency=True), "concurrency: .* got True"),
        (lambda s: s.set_limit("queue:email", concurrency="2"), "concurrency: .* got '2'"),
        (lambda s: s.set_limit("queue:email"), "rate, concurrency: one of them must be given"),
        (lambda s: s.set_limit("queue:mail", "1/m"), "scope: no queue is named 'mail'"),
        (
            lambda s: s.set_limit("category:emial", "1/m"),
            "scope: no category is named 'emial'; the categories are email, file_processing, .*default",
        ),
        (lambda s: s.set_limit("category:emial", "none"), "scope: no category is named 'emial'"),
        (
            lambda s: s.set_limit("task:email.send_emial", "1/m"),
            "scope: no task is named 'email.send_emial'; did you mean email.send_email",
        ),
        (lambda s: s.set_limit("task:celery.ping", "1/m"), "scope: no task is named 'celery.ping'"),
        (lambda s: s.set_limit("email", "1/m"), "scope: must be queue:, category:, task:, tenant: or a kind"),
        (lambda s: s.set_limit("queue:*", "1/m"), "scope: must be .* got 'queue:\\*'"),
        (lambda s: s.set_limit("pause:email", "1/m"), "scope: must be"),
        (lambda s: s.set_limit("provider:a\0b", "1/m"), "scope: must be"),
        (lambda s: s.set_limit("provider:" + "x" * 300, "1/m"), "scope: must be"),
        (lambda s: s.set_limit(None, "1/m"), "scope: must be .* got None"),
        (lambda s: s.clear_limit("turn:email"), "scope: must be"),
    ],
    ids=range(57),
)
def test_a_bad_argument_is_one_sentence_and_nothing_is_recorded(recorded, call, words):
    before = recorded()
    with pytest.raises(InvalidArgument, match=words) as error:
        call(celery_service)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, ValueError)
    assert recorded() == before


def test_an_argument_that_json_does_not_know_is_refused_before_it_is_recorded(recorded):
    before = recorded()
    with pytest.raises(InvalidArgument, match=r"The arguments of test.add must be JSON values: .*datetime.*as a text"):
        celery_app.send_task("test.add", args=[datetime.now(UTC)])
    assert recorded() == before


def test_an_unknown_queue_is_told_apart():
    with pytest.raises(UnknownQueue):
        celery_service.health_check(queue="nothing")


def test_an_id_that_was_never_submitted_is_unknown_and_has_no_result():
    assert celery_service.get_task_status("never")["status"] == "UNKNOWN"
    assert celery_service.cancel_task("never") is False
    with pytest.raises(UnknownTask, match="never submitted"):
        celery_service.get_task_result("never", timeout=0)


def test_a_short_tasks_result_is_looked_for_at_once_and_an_hours_waiter_looks_seldom():
    looks, waited = 0, 0.0
    while waited < 3600:
        looks, waited = looks + 1, waited + poll_pause(waited)

    assert poll_pause(0) <= 0.001
    assert looks < 3600 + 200


@pytest.fixture
def record():
    """A record of a task that no worker of this test sees."""
    task_id = f"t-{datetime.now(UTC).timestamp()}"
    parts().tasks.open(
        Draft(
            id=task_id,
            name="test.add",
            category="test",
            queue="low_priority",
            args=[],
            kwargs={},
            message={},
            due_at=datetime(2999, 1, 1, tzinfo=UTC),
        )
    )
    return task_id


def test_a_timeout_of_nothing_looks_once(record):
    with pytest.raises(TaskTimeout, match="no result after 0 s; it is PENDING and goes on"):
        celery_service.get_task_result(record, timeout=0)


def test_a_waiting_task_tells_what_it_waits_for_and_is_cancelled_for_good(record):
    status = celery_service.get_task_status(record)
    assert (status["status"], status["info"]["waits_for"], status["attempts"]) == ("PENDING", "due", 0)

    assert celery_service.cancel_task(record) is True
    assert celery_service.cancel_task(record) is False
    assert celery_service.get_task_status(record)["info"]["error_type"] == "TaskCancelled"
    with pytest.raises(TaskCancelled):
        celery_service.get_task_result(record, timeout=0)


def test_a_failed_task_raises_with_what_is_known_of_it(record):
    assert parts().moves.fail_waiting(record, Failure("It broke.", "PermanentError", "Traceback …"))
    with pytest.raises(TaskFailed, match=r"It broke\.") as failed:
        celery_service.get_task_result(record, timeout=0)
    assert failed.value.result == {"error": "It broke.", "error_type": "PermanentError"}
    assert (failed.value.error_type, failed.value.traceback) == ("PermanentError", "Traceback …")
    assert celery_service.get_task_status(record)["traceback"] == "Traceback …"


def test_an_artefact_is_read_by_the_address_that_results_name():
    uri = parts().storage.put(b"\x00bytes", mime="image/webp", task_id="of-a-test")
    assert celery_service.get_artefact(uri) == b"\x00bytes"
    parts().storage.remove("of-a-test")
    with pytest.raises(PermanentError, match="removed with its task"):
        celery_service.get_artefact(uri)
    with pytest.raises(InvalidArgument, match=r"uri: .*store://sha256/.*; got '/etc/passwd'"):
        celery_service.get_artefact("/etc/passwd")


def test_the_facade_has_what_this_version_promises_and_no_stub():
    public = {name for name, _ in inspect.getmembers(CeleryService, inspect.isfunction) if not name.startswith("_")}
    assert public == set(PROMISED_NOW)
    for name in public:
        assert inspect.getdoc(getattr(CeleryService, name)), name


def test_the_example_calls_every_method():
    called = set(re.findall(r"celery_service\.(\w+)", (PROJECT_ROOT / "src/examples/celery_example.py").read_text()))
    assert set(PROMISED_NOW) <= called


def test_importing_the_facade_loads_no_format_model_or_vendor_library():
    code = f"import services.celery_service, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_task_is_registered_under_the_name_that_the_facade_sends():
    celery_app.loader.import_default_modules()
    ours = {name for name in celery_app.tasks if not name.startswith(("celery.", "test."))}
    assert ours == {
        "email.send_email",
        "email.send_bulk_emails",
        "email.send_batch",
        "notification.send_notification",
        "notification.send_channel",
        "notification.send_webhook",
        "twilio_calls.queue_outbound_call",
        "twilio_calls.queue_bulk_calls",
        "twilio_calls.run_campaign",
        "twilio_calls.end_campaign",
        "twilio_calls.schedule_call",
        "twilio_calls.retry_failed_call",
        "twilio_calls.end_call",
        "twilio_calls.get_call_status",
        "twilio_calls.cleanup_stale_calls",
        "monitoring.follow_calls",
        "file_processing.process_file",
        "file_processing.process_document",
        "file_processing.process_image",
        "file_processing.process_video",
        "ai_processing.extract_text",
        "file_processing.enroll_person",
        "file_processing.process_audio",
        "ai_processing.process_ai_request",
        "ai_processing.generate_embedding",
        "ai_processing.generate_embeddings",
        "ai_processing.embed_part",
        "ai_processing.process_chat",
        "ai_processing.analyze_sentiment",
        "monitoring.health_check",
        "monitoring.get_system_stats",
        "monitoring.get_queue_stats",
        "monitoring.check_worker_heartbeats",
        "cleanup.cleanup_old_tasks",
        "cleanup.cleanup_old_files",
        "cleanup.cleanup_old_logs",
        "scheduling.act_on_tasks",
        "scheduling.process_pending_tasks",
        "scheduling.retry_failed_tasks",
    }
    assert all(entry["task"] in ours for entry in celery_app.conf.beat_schedule.values())


def test_celery_is_set_so_that_a_lost_worker_loses_nothing_and_nothing_runs_pickle():
    conf = celery_app.conf
    assert [queue.name for queue in conf.task_queues] == list(QUEUES)
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost, conf.worker_prefetch_multiplier) == (True, True, 1)
    assert (conf.accept_content, conf.task_serializer, conf.result_serializer) == (["json"], "json", "json")
    assert conf.broker_transport_options["global_keyprefix"] == "csai:"
    assert (conf.task_time_limit, conf.task_soft_time_limit) == (1800, 1500)
    assert conf.task_create_missing_queues is False


def test_each_scheduled_task_is_switched_by_its_setting():
    everything = schedule(Settings())
    assert set(everything) == {
        "process-pending-tasks",
        "worker-heartbeats",
        "health-check",
        "cleanup-old-tasks",
        "cleanup-old-files",
        "cleanup-old-logs",
    }
    assert everything["cleanup-old-tasks"]["kwargs"] == {"max_age_hours": 30 * 24}
    assert everything["cleanup-old-logs"]["kwargs"] == {"max_age_hours": 14 * 24}
    switches = {name: False for name in Settings.model_fields if name.startswith("schedule_")}
    assert len(switches) == len(everything)
    assert schedule(Settings(**switches)) == {}


def test_a_clean_up_knows_its_roots_and_what_it_must_never_touch():
    assert settings.tmp_dir in cleanup_roots()
    kept = protected_paths()
    assert {
        settings.run_dir,
        settings.storage_dir,
        settings.outbox_dir,
        settings.models_dir,
        settings.redis_dir,
    } <= set(kept)
    assert settings.data_dir / "records.db-wal" in kept
    assert {PROJECT_ROOT / "src", PROJECT_ROOT / ".env"} <= set(kept), "the project may lie below /tmp"
    assert settings.logs / "web.log" in kept, "a log that is open may be old"
