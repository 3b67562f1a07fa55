"""Every method of the facade, called once, with its progress and its result: `make example`.

The service must run (`make run`). Mail goes where EMAIL_URL says: into the outbox, unless you set it. Phones ring at
`csai phone-simulator` alone: where nothing is configured the tasks of calls say so, and where a real account is, they
are left out. The last rows purge a queue and cancel all that waits: run it where nothing else does.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from config.settings import LOOPBACK_HOSTS, settings
from processors.errors import InvalidArgument, PermanentError, ResultError, UnknownGroup, UnknownSchedule, WorkError
from services.celery_service import celery_service

FINAL = {"SUCCESS", "FAILURE", "REVOKED"}
POLL_SECONDS = 0.1
LONGEST_SECONDS = 120
SAMPLES = Path(__file__).parent / "samples"
MEDIA = ("sign.png", "tones.mp3", "talk.mp3", "face.png", "film.mp4", "delivery.zip")
DOCUMENTS = sorted(path for path in SAMPLES.iterdir() if path.name not in MEDIA)

BOUNCE = b"""\
Date: Sun, 1 Mar 2026 12:30:00 +0100
Subject: Undelivered Mail Returned to Sender
Message-ID: <4Xk@example.org>
Content-Type: multipart/report; report-type=delivery-status; boundary=4Xk

--4Xk
Content-Type: message/delivery-status

Reporting-MTA: dns; example.org

Final-Recipient: rfc822; gone@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <gone@example.com>: User unknown

--4Xk--
"""
"""A mail server's report that a mail could not be delivered, as it comes."""

console = Console()


@dataclass
class Row:
    """What became of one call."""

    method: str
    good: bool
    outcome: str
    seconds: float


def main() -> int:
    """Run everything; exit code 0 when every row is good."""
    parts = (
        mail,
        notifications,
        phone,
        files,
        people,
        ai,
        figures,
        by_name,
        scheduling,
        schedules,
        failures,
        cleaning,
        limiting,
        steering,
    )
    rows = [row for part in parts for row in part()]
    table = Table("method", "", "outcome", "seconds", title="celery_service", expand=False)
    for row in rows:
        table.add_row(row.method, "[green]good[/]" if row.good else "[red]bad[/]", row.outcome, f"{row.seconds:.2f}")
    console.print(table)
    good = sum(row.good for row in rows)
    console.print(f"{good} of {len(rows)} rows are good.")
    return 0 if good == len(rows) else 1


def mail() -> Iterator[Row]:
    """Send one mail, a later one, one that is submitted twice and sent once, and a bulk."""
    yield task(
        "send_email",
        lambda: celery_service.send_email(
            to_email=["ann@example.com", "Jürgen Müller <j.mueller@example.com>"],
            subject="Your report · Ihr Bericht",
            body="<h1>Ready</h1><p>Your report is <a href='https://example.com/report'>here</a>.</p>",
            cc=["office@example.com"],
            bcc=["archive@example.com"],
            priority="high",
        ),
        lambda result: f"{result['status']}: {len(result['accepted'])} recipients by {result['transport']}",
    )
    yield task(
        "send_email delay_seconds=1",
        lambda: celery_service.send_email("ann@example.com", "Later", "A second later.", delay_seconds=1),
        lambda result: f"{result['status']}, a second later",
    )
    key = f"example-{uuid4()}"
    twice = partial(celery_service.send_email, "ann@example.com", "Once", "You get this once.", idempotency_key=key)
    yield call("send_email idempotency_key=…", lambda: {twice(), twice()}, lambda ids: f"2 submits, {len(ids)} task")

    def recipients() -> list[dict[str, Any]]:
        until_final("get_deliveries", once := twice())
        return celery_service.get_deliveries(once)

    yield call(
        "get_deliveries", recipients, lambda found: ", ".join(f"{one['address']} {one['state']}" for one in found)
    )
    newsletter = [
        {"to_email": f"reader{number}@example.com", "subject": "News", "body": f"Hello reader {number}"}
        for number in range(25)
    ]
    yield task(
        "send_bulk_emails",
        lambda: celery_service.send_bulk_emails(newsletter, batch_size=10, delay_between_batches=0.5),
        lambda result: f"{result['status']}: {result['sent']} of {result['total']} sent",
    )
    yield from steered(newsletter[:3])
    yield from not_mailed()


def steered(newsletter: list[dict[str, str]]) -> Iterator[Row]:
    """Pause a bulk that is to come, let it go on, stop it, and send what it has not sent."""
    later = celery_service.send_bulk_emails(newsletter, delay_seconds=3600)
    yield call("pause_task", lambda: celery_service.pause_task(later), lambda paused: "paused" if paused else "it was")
    yield call("resume_task", lambda: celery_service.resume_task(later), lambda went_on: "resumed" if went_on else "—")
    celery_service.cancel_task(later)
    yield task(
        "resend_failed",
        lambda: celery_service.resend_failed(later),
        lambda result: f"{result['sent']} of {result['total']} that were cancelled are sent",
    )


def not_mailed() -> Iterator[Row]:
    """Mail somebody no more, and again; take a bounce, and see what was told of mails."""
    address = "gone@example.com"
    yield call(
        "suppress_email",
        lambda: celery_service.suppress_email(address, reason="unsubscribe", list_name="news"),
        lambda made: f"{made['address']} gets no more of {made['list_name']}",
    )
    yield call("get_suppressions", celery_service.get_suppressions, lambda found: f"{len(found)} are not mailed")
    yield call(
        "unsuppress_email",
        lambda: celery_service.unsuppress_email(address, "news"),
        lambda done: "mailed again" if done else "nobody had suppressed it",
    )
    yield call("unsubscribe_url", lambda: celery_service.unsubscribe_url(address, "news"), lambda url: f"{url:.60}…")
    yield call(
        "receive_bounce",
        lambda: celery_service.receive_bounce(BOUNCE),
        lambda new: f"{len(new)} new: " + ", ".join(f"{one['address']} {one['kind']}" for one in new),
    )
    yield call(
        "get_email_events",
        lambda: celery_service.get_email_events(address=address),
        lambda found: f"{len(found)} events of {address}",
    )


def notifications() -> Iterator[Row]:
    """Say how somebody is reached, tell that one something, gather a digest, and read the inbox."""
    user_id = "12345"
    yield call(
        "set_contact",
        lambda: celery_service.set_contact(
            user_id,
            email="ann@example.com",
            time_zone="Europe/Berlin",
            quiet_hours={"from": "22:00", "to": "07:00"},
            preferences={"types": {"newsletter": False}},
        ),
        lambda contact: f"{contact['email']}, in {contact['time_zone']}",
    )
    yield call("get_contact", lambda: celery_service.get_contact(user_id), lambda one: f"quiet: {one['quiet_hours']}")
    yield task(
        "send_notification",
        lambda: celery_service.send_notification(
            user_id,
            "welcome",
            "Welcome",
            "Good to have you here.",
            channels=["email", "inbox"],
            critical=True,  # or the example would wait where it is night in Berlin
        ),
        describe_notification,
    )
    yield task(
        "send_notification newsletter",
        lambda: celery_service.send_notification(user_id, "newsletter", "News", "All of it."),
        describe_notification,
    )
    gather = partial(celery_service.send_notification, user_id, "comment", channels=["inbox"], digest=3600)
    yield call(
        "send_notification digest=3600",
        lambda: {gather(title=f"Comment {number}", message="Well said.") for number in range(3)},
        lambda ids: f"3 submits, {len(ids)} notification when the hour is over",
    )
    inbox = celery_service.get_inbox(user_id)
    yield call("get_inbox", lambda: celery_service.get_inbox(user_id), lambda found: f"{found['unread']} unread")
    yield call(
        "mark_inbox",
        lambda: celery_service.mark_inbox(user_id, [one["id"] for one in inbox["items"]], "read"),
        lambda count: f"{count} read",
    )
    yield call("delete_contact", lambda: celery_service.delete_contact(user_id), lambda gone: f"deleted: {gone}")


def describe_notification(result: dict[str, Any]) -> str:
    """Say what became of each channel."""
    told = (f"{name} {one.get('reason', one['status'])}" for name, one in result["channels"].items())
    return f"{result['status']}: {', '.join(told)}"


def phone() -> Iterator[Row]:
    """Call somebody, now, a second later and again; ask about the call, end it; and call several."""
    if settings.twilio_account_sid and urlsplit(settings.twilio_base_url).hostname not in LOOPBACK_HOSTS:
        why = "nobody is called: TWILIO_ACCOUNT_SID is set, and TWILIO_BASE_URL is not the simulator's"
        yield Row("queue_outbound_call", good=True, outcome=why, seconds=0.0)
        return
    sids = ["CA1234567890abcdef"]  # nobody's, where no call could be made
    yield phone_task(
        "queue_outbound_call",
        lambda: celery_service.queue_outbound_call(
            "+1 202 555 0100",
            call_metadata={"message": "Hello. Your order 17 is ready.", "customer_id": "12345"},
            delay_seconds=0.5,
        ),
        lambda result: sids.append(result["call_sid"]) or f"{result['call_sid']} is {result['status']}",
    )
    yield phone_task(
        "get_call_status",
        lambda: celery_service.get_call_status(sids[-1]),
        lambda result: f"{result['call_info'].get('status', 'not known')}, by the {result['source']}",
    )
    yield phone_task(
        "end_call", lambda: celery_service.end_call(sids[-1]), lambda result: f"ended at {result['ended_at']}"
    )
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    yield phone_task(
        "schedule_call",
        lambda: celery_service.schedule_call("+12025550101", schedule_time=soon, timezone="Europe/Berlin"),
        lambda result: f"{result['status']}, which was due at {result['scheduled_time']}",
    )
    yield phone_task(
        "retry_failed_call",
        lambda: celery_service.retry_failed_call("failed_task_123", "+12025550102", retry_delay=1),
        lambda result: f"{result['status']}; the original call is known: {result['original_found']}",
    )
    yield from campaign()
    yield phone_task(
        "cleanup_stale_calls",
        lambda: celery_service.cleanup_stale_calls(max_age_hours=24),
        lambda result: f"asked about {result['looked_at']} calls; {result['active_calls_remaining']} go on",
    )


def campaign() -> Iterator[Row]:
    """Call several people, one of whom does not want that; and steer calls that are to come."""
    stranger, numbers = "+12025550199", ["+12025550110", "+1 202 555 0111", "+12025550199"]
    yield call("add_opt_out", lambda: celery_service.add_opt_out(stranger, "by letter"), lambda new: f"new: {new}")
    yield call("get_opt_outs", celery_service.get_opt_outs, lambda found: f"{len(found)} are not called")
    yield phone_task(
        "queue_bulk_calls",
        lambda: celery_service.queue_bulk_calls(
            numbers,
            call_metadata={"message": "Hello. The doors open at nine."},
            delay_between_calls=1,
            max_concurrent_calls=2,
        ),
        lambda result: f"{result['successful_calls']} of {result['total_calls']} answered: {result['by_state']}",
    )
    later = celery_service.queue_bulk_calls(numbers, delay_seconds=3600)
    yield call("pause_campaign", lambda: celery_service.pause_campaign(later), lambda done: f"paused: {done}")
    yield call("resume_campaign", lambda: celery_service.resume_campaign(later), lambda done: f"resumed: {done}")
    yield call("cancel_campaign", lambda: celery_service.cancel_campaign(later), lambda done: f"cancelled: {done}")
    yield call(
        "get_campaign", lambda: celery_service.get_campaign(later), lambda one: f"{one['status']}: {one['counts']}"
    )
    yield call(
        "export_campaign",
        lambda: celery_service.export_campaign(later),
        lambda text: f"{len(text.splitlines())} lines of CSV",
    )
    yield call("remove_opt_out", lambda: celery_service.remove_opt_out(stranger), lambda gone: f"removed: {gone}")


def phone_task(method: str, submit: Callable[[], str], describe: Callable[[Any], str]) -> Row:
    """Submit a task of calls; without Twilio's settings, which nothing can stand for, its error is what must come."""
    row = task(method, submit, describe)
    return replace(row, good=True) if "Phone calls are not configured" in row.outcome else row


def files() -> Iterator[Row]:
    """Read every kind of document that lies beside this file, a picture, sound, a film and an archive."""
    for path in DOCUMENTS:
        yield task(
            f"process_document {path.name}", partial(celery_service.process_document, str(path)), describe_document
        )
    yield task(
        "process_file report.pdf",
        lambda: celery_service.process_file(
            str(SAMPLES / "report.pdf"), processing_options={"generate_summary": False}
        ),
        lambda result: f"went to {result['route']}, because {result['why']}",
    )
    yield task(
        "process_file delivery.zip",
        lambda: celery_service.process_file(
            str(SAMPLES / "delivery.zip"), processing_options={"generate_summary": False}
        ),
        describe_archive,
    )
    yield task(
        "process_image sign.png",
        lambda: celery_service.process_image(str(SAMPLES / "sign.png"), detect_objects=False),
        describe_picture,
    )
    yield task(
        "process_audio tones.mp3",
        lambda: celery_service.process_audio(str(SAMPLES / "tones.mp3"), language="en"),
        describe_sound,
    )
    yield task(
        "process_audio talk.mp3", lambda: celery_service.process_audio(str(SAMPLES / "talk.mp3")), describe_sound
    )
    yield task(
        "process_video film.mp4",
        lambda: celery_service.process_video(str(SAMPLES / "film.mp4")),
        describe_film,
    )


def describe_film(result: dict[str, Any]) -> str:
    """Say how long a film is and where its scenes begin."""
    found = result["result"]
    starts = ", ".join(f"{scene['start']:g} s ({scene['detector']})" for scene in found["scenes"])
    return f"{found['video']['codec']}, {found['duration_s']:g} s, {len(found['frames'])} frames, scenes at {starts}"


def describe_sound(result: dict[str, Any]) -> str:
    """Say what was heard, and by what."""
    found = result["result"]
    engine = next((one["engine"] for one in result["provenance"] if one["step"] == "transcribe"), "nothing")
    words = len(found["transcript"]["text"].split()) if found["transcript"] else 0
    speakers = "?" if found["speakers"] is None else len(found["speakers"])
    loudness = found["features"]["summary"]["integrated_lufs"]
    return f"{found['duration_s']:.0f} s, {loudness:.0f} LUFS, {speakers} speakers, {words} words, by {engine}"


def describe_document(result: dict[str, Any]) -> str:
    """Say what was read, and by what."""
    found = result["result"]
    language = (found["language"] or {"language": "?"})["language"]
    engines = ", ".join(one["engine"] for one in result["provenance"] if one["step"] != "summary")
    return f"{found['kind']}, {len(found['pages'])} pages, {found['characters']} characters, {language}, by {engines}"


def describe_archive(result: dict[str, Any]) -> str:
    """Say what became of each member."""
    members = result["detail"]["result"]["members"]
    return ", ".join(f"{one['name']}: {one['route'] or one['why']}" for one in members)


def describe_picture(result: dict[str, Any]) -> str:
    """Say how large a picture is and what is written in it, and fetch its first thumbnail."""
    found = result["result"]
    words = " ".join(found["ocr"]["text"].split())
    thumbnail = celery_service.get_artefact(result["artefacts"][0]["uri"])
    return f"{found['width']} by {found['height']}: {words}; a thumbnail of {len(thumbnail)} bytes"


def people() -> Iterator[Row]:
    """Enroll somebody who was drawn, see who is enrolled, and forget that one again."""
    name = "Somebody drawn"
    yield task(
        "enroll_person",
        lambda: celery_service.enroll_person(name, str(SAMPLES / "face.png"), consent="Nobody's: it is a drawing."),
        lambda result: f"{result['name']} is known by {result['encodings']} encoding",
    )
    yield call("list_people", celery_service.list_people, lambda found: ", ".join(one["name"] for one in found))
    yield call(
        "forget_person",
        lambda: celery_service.forget_person(name),
        lambda gone: "forgotten" if gone else "nobody has this name",
    )


def ai() -> Iterator[Row]:
    """Ask models: those that run here, and for a chat the provider that is set."""
    yield task(
        "generate_embedding",
        lambda: celery_service.generate_embedding(text="Sample text for embedding", model="text-embedding-ada-002"),
        lambda result: f"{result['result']['dimensions']} dimensions, by {result['result']['model']}",
    )
    sentences = ["Bread is baked.", "Rolls come from an oven.", "Shares have fallen."]
    many = partial(celery_service.generate_embeddings, sentences)
    yield task("generate_embeddings", many, lambda result: "{done} of {total} texts".format(**result["result"]))
    yield call(
        "get_vectors",
        lambda: dict(celery_service.get_vectors(_ended(many()))),
        lambda vectors: f"bread is {vectors[0] @ vectors[1]:.2f} like rolls, {vectors[0] @ vectors[2]:.2f} like shares",
    )
    yield chat(
        lambda: celery_service.process_chat(
            message="Hello, how are you?",
            context=[
                {"role": "user", "content": "Previous message"},
                {"role": "assistant", "content": "Previous response"},
            ],
            model="gpt-4",
        )
    )
    yield task(
        "analyze_sentiment",
        lambda: celery_service.analyze_sentiment(text="I love this product!", detailed=True),
        lambda result: f"{result['result']['label']}, {result['result']['polarity']:+.2f}",
    )
    yield task(
        "extract_text",
        lambda: celery_service.extract_text(
            content="<p>Ask <a href='mailto:ann@example.com'>ann@example.com</a> before 24 December 2026.</p>",
            content_type="html",
            language="en",
        ),
        lambda result: ", ".join(f"{one['kind']} {one['value']}" for one in result["result"]["entities"]),
    )
    yield task(
        "process_ai_request",
        lambda: celery_service.process_ai_request("sentiment", {"text": "Not bad at all."}),
        lambda result: f"{result['result']['request_type']}: {result['result']['output']['label']}",
    )
    yield call(
        "get_ai_usage", celery_service.get_ai_usage, lambda lines: f"{len(lines)} models of providers were asked"
    )


def _ended(task_id: str) -> str:
    celery_service.get_task_result(task_id, timeout=120)
    return task_id


def chat(submit: Callable[[], str]) -> Row:
    """Chat; without a provider, which nothing can stand for, its error is what must come."""
    row = task("process_chat", submit, lambda result: str(result["result"]["message"]["content"]))
    return replace(row, good=True) if "set OPENAI_API_KEY" in row.outcome else row


def figures() -> Iterator[Row]:
    """Look at the service."""
    yield task(
        "health_check",
        celery_service.health_check,
        lambda result: f"{result['status']}: {', '.join(one['name'] for one in result['checks'])}",
    )
    yield task(
        "get_system_stats",
        celery_service.get_system_stats,
        lambda result: f"{result['cpu']['count']} processors, {result['memory']['percent']:.0f} % of memory used",
    )
    yield task(
        "get_queue_stats",
        celery_service.get_queue_stats,
        lambda result: f"{len(result['queues'])} queues, {result['totals']['depth']} tasks wait",
    )
    yield call(
        "get_worker_stats",
        celery_service.get_worker_stats,
        lambda result: f"{len(result['stats'])} workers: {', '.join(result['stats'])}",
    )


def by_name() -> Iterator[Row]:
    """Submit a task by its name, as one does with tasks of one's own, and ask for a group."""
    yield task(
        "submit",
        lambda: celery_service.submit("monitoring.get_system_stats", queue="low_priority"),
        lambda result: f"{result['cpu']['count']} processors, asked for by name",
    )
    yield call(
        "submit_many",
        lambda: celery_service.submit_many(
            "ai_processing.extract_text",
            [{"content": f"<p>Page {page}</p>", "content_type": "html"} for page in range(100)],
        ),
        lambda ids: f"{len(ids)} tasks in one call",
    )
    yield call("get_group", lambda: group_or_reason("no-such-group"), str)


def group_or_reason(group_id: str) -> str:
    """Say how far a group is, or why that cannot be said."""
    try:
        group = celery_service.get_group(group_id)
    except UnknownGroup as error:
        return str(error)
    return f"{group['done']} of {group['total']} done"


def scheduling() -> Iterator[Row]:
    """Publish what waits, retry what failed, settle what is in doubt."""
    yield task(
        "process_pending_tasks",
        lambda: celery_service.process_pending_tasks(max_tasks=100, task_types=["email"]),
        lambda result: f"{result['published']} published, {result['left']} wait",
    )
    yield task(
        "retry_failed_tasks",
        lambda: celery_service.retry_failed_tasks(max_retries=3, task_types=["email"]),
        lambda result: f"{len(result['retried'])} retried, {len(result['skipped'])} skipped",
    )
    yield call(
        "get_effects_in_doubt",
        celery_service.get_effects_in_doubt,
        lambda found: f"{len(found)} effects or mails are in doubt",
    )
    yield call("settle_effect", settle_nothing, lambda why: f"refused, as it should be: {why}")


def settle_nothing() -> str:
    """Try to settle an effect that nobody knows; returns why that is refused."""
    try:
        celery_service.settle_effect("example:no-such-effect", absent=True)
    except InvalidArgument as refusal:
        return str(refusal)
    raise PermanentError("An effect that nobody knows was settled.")


def failures() -> Iterator[Row]:
    """Let a task fail, look at it, and run it again with what was wrong put right."""
    task_id = celery_service.process_document("/nowhere/report.pdf", generate_summary=False)
    until_final("process_document", task_id)
    yield call(
        "get_failed_tasks",
        lambda: celery_service.get_failed_tasks(task_types=["file_processing"], search="/nowhere/report.pdf"),
        lambda tasks: f"{len(tasks)} failed: {', '.join({one['info']['error_type'] for one in tasks})}",
    )
    yield task(
        "replay_task",
        lambda: celery_service.replay_task(task_id, {"file_path": str(SAMPLES / "report.pdf")}),
        lambda result: f"now it is {result['status']}",
    )
    yield call(
        "get_task_logs", lambda: celery_service.get_task_logs(task_id), lambda lines: f"it logged {len(lines)} lines"
    )
    yield call(
        "search_task_logs",
        lambda: celery_service.search_task_logs("report.pdf"),
        lambda lines: f"{len(lines)} lines of any task tell of it",
    )


def schedules() -> Iterator[Row]:
    """Clean up every night, once now, and then no more."""
    name = "example: clean up every night"
    with suppress(UnknownSchedule):
        celery_service.remove_schedule(name)  # of an example that was interrupted
    yield call(
        "add_schedule",
        lambda: celery_service.add_schedule(
            name,
            "cleanup.cleanup_old_tasks",
            crontab="30 2 * * *",
            timezone="Europe/Berlin",
            kwargs={"max_age_hours": 24 * 365},
        ),
        lambda schedule: f"next at {schedule['next_at']}",
    )
    yield call(
        "change_schedule",
        lambda: celery_service.change_schedule(name, crontab="0 3 * * mon-fri", catch_up="none"),
        lambda schedule: f"now {schedule['crontab']} in {schedule['timezone']}",
    )
    yield call("pause_schedule", lambda: celery_service.pause_schedule(name), lambda one: f"paused: {one['paused']}")
    yield task(
        "run_schedule_now",
        lambda: celery_service.run_schedule_now(name),
        lambda result: f"{result['deleted_count']} records went",
    )
    yield call(
        "resume_schedule",
        lambda: celery_service.resume_schedule(name),
        lambda schedule: f"next at {schedule['next_at']}",
    )
    yield call(
        "list_schedules",
        celery_service.list_schedules,
        lambda found: f"{len(found)}, {sum(one['source'] == 'settings' for one in found)} of them from the settings",
    )
    yield call("remove_schedule", lambda: celery_service.remove_schedule(name), lambda _: "removed")


def cleaning() -> Iterator[Row]:
    """Clean up: first what would go, then nothing that is younger than a year."""
    with tempfile.TemporaryDirectory(prefix="csai-example-") as folder:
        Path(folder, "note.txt").write_text("a file that is too young to go")
        yield task(
            "cleanup_old_files",
            lambda: celery_service.cleanup_old_files(folder, max_age_hours=168, dry_run=True),
            lambda result: f"{result['deleted_count']} files would go",
        )
    yield task(
        "cleanup_old_logs",
        lambda: celery_service.cleanup_old_logs(max_age_hours=24 * 365),
        lambda result: f"{result['deleted_count']} logs went",
    )
    yield task(
        "cleanup_old_tasks",
        lambda: celery_service.cleanup_old_tasks(max_age_hours=24 * 365),
        lambda result: f"{result['deleted_count']} records went",
    )


def limiting() -> Iterator[Row]:
    """Limit a key of your own, and pause a queue."""
    yield call(
        "set_limit",
        lambda: celery_service.set_limit("provider:example", rate="50/m", concurrency=5),
        lambda limit: f"{limit['scope']}: {limit['rate']}, {limit['concurrency']} at once",
    )
    yield call("get_limits", celery_service.get_limits, lambda limits: f"{len(limits)} limits are in force")
    yield call(
        "clear_limit", lambda: celery_service.clear_limit("provider:example"), lambda limit: f"now {limit['rate']}"
    )
    yield call(
        "pause_queue",
        lambda: celery_service.pause_queue("low_priority"),
        lambda paused: "paused" if paused else "it was paused before",
    )
    yield call("drain", lambda: celery_service.drain("low_priority"), lambda count: f"{count} tasks still run")
    yield call(
        "resume_queue",
        lambda: celery_service.resume_queue("low_priority"),
        lambda resumed: "resumed" if resumed else "it was not paused",
    )


def steering() -> Iterator[Row]:
    """Watch, cancel, purge."""
    task_id = celery_service.send_email("later@example.com", "Cancelled", "Nobody reads this.", queue="low_priority")
    yield call("get_task_status", lambda: celery_service.get_task_status(task_id), lambda status: str(status["status"]))
    yield call(
        "cancel_task",
        lambda: celery_service.cancel_task(task_id),
        lambda done: "cancelled" if done else "it was done already",
    )
    yield call("get_active_tasks", celery_service.get_active_tasks, lambda tasks: f"{len(tasks)} tasks run or wait")
    yield call("purge_queue", lambda: celery_service.purge_queue("low_priority"), lambda count: f"{count} tasks purged")
    yield call(
        "kill_all_tasks", celery_service.kill_all_tasks, lambda result: f"{result['killed_count']} tasks cancelled"
    )


def task(method: str, submit: Callable[[], str], describe: Callable[[Any], str]) -> Row:
    """Submit a task, show its progress, and return its row."""
    began = time.monotonic()
    try:
        task_id = submit()
        until_final(method, task_id)
        outcome, good = describe(celery_service.get_task_result(task_id, timeout=0)), True
    except (WorkError, ResultError) as error:
        outcome, good = str(error), False
    return Row(method, good, outcome, time.monotonic() - began)


def until_final(method: str, task_id: str) -> None:
    """Show a task's progress until it has ended, or for two minutes."""
    began = time.monotonic()
    with progress_bar(method) as show:
        while (status := celery_service.get_task_status(task_id))["status"] not in FINAL:
            show(status["info"] or {})
            if time.monotonic() - began > LONGEST_SECONDS:
                break
            time.sleep(POLL_SECONDS)


def call(method: str, do: Callable[[], Any], describe: Callable[[Any], str]) -> Row:
    """Call a method that answers at once, and return its row."""
    began = time.monotonic()
    try:
        outcome, good = describe(do()), True
    except WorkError as error:
        outcome, good = str(error), False
    return Row(method, good, outcome, time.monotonic() - began)


@contextmanager
def progress_bar(method: str) -> Generator[Callable[[dict[str, Any]], None]]:
    """Show a bar while a task waits and runs."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[does]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(method, total=100, does="waits")

        def show(info: dict[str, Any]) -> None:
            progress.update(bar, completed=float(info.get("progress", 0)), does=str(info.get("status", "waits")))

        yield show


if __name__ == "__main__":
    sys.exit(main())
