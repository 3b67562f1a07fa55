"""Something for every page of the dashboard to show: tasks of each state and kind, files, mails, calls, keys, acts."""

import io
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

from PIL import Image
from sqlalchemy import insert, update

from browsing import ANN
from call_rows import Phones
from config.settings import settings
from films import film, picture, steady
from processors import task_figures
from processors.ai_interfaces import CallPlan, Leave, Share, Usage
from processors.interfaces import Run
from records.incidents import Death, note
from records.passing_time import PassingTime
from records.task_minutes import NOBODY, task_minutes
from records.task_moves import Failure
from records.task_records import Draft
from services import api_keys, audit, saved_views, webhooks
from services.access import Caller
from services.api_keys import NewKey
from services.celery_service import celery_service
from services.webhooks import NewWebhook
from services.wiring import parts
from sounds import tone, written
from waiting import until

Words = Callable[[str], str]
"""Makes what a text of somebody's says; a test may add to it."""

SENTIMENT = "ai_processing.analyze_sentiment"


def waiting(task_id: str, **more: Any) -> str:
    """A task that is due much later."""
    given = {"name": SENTIMENT, "category": "ai_processing", "queue": "ai_processing", "delay": 3600.0} | more
    parts().tasks.open(Draft(task_id, **{"kwargs": {"text": "How nice.", "detailed": True}} | given))
    return task_id


def started(task_id: str, worker: str = "worker@host", **more: Any) -> int:
    """A task that runs; returns its run."""
    waiting(task_id, **{"delay": 0.0} | more)
    return parts().moves.start(task_id, 0, f"worker-of-{task_id}"[:36], worker, None).run


def says(task_id: str, run: int, progress: float, text: str) -> None:
    """Let a task say how far it is."""
    parts().moves.report(task_id, run, progress, text)
    until(lambda: parts().tasks.read(task_id).progress == progress, what="the progress is written")


def failed(task_id: str, error: str = "The text is empty.", kind: str = "PermanentError", **more: Any) -> str:
    """A task that has failed."""
    traceback = f'Traceback (most recent call last):\n  File "own.py", line 1\n{kind}: {error}'
    fingerprint = more.pop("fingerprint", "f1")
    run = started(task_id, **more)
    assert parts().moves.fail(task_id, run, Failure(error, kind, traceback, fingerprint))
    return task_id


def succeeded(task_id: str, result: Any, **more: Any) -> str:
    """A task that has ended with this result."""
    run = started(task_id, **{"name": "own.task", "category": "own", "queue": "default"} | more)
    assert parts().moves.succeed(task_id, run, result)
    return task_id


def logged(task_id: str, *lines: str) -> None:
    """Lines that a task logs."""
    before = len(parts().task_logs.of(task_id, 500))
    same = {"task_id": task_id, "run": 1, "at": datetime.now(UTC), "level": "INFO", "logger": "own"}
    parts().task_logs.keep([same | {"number": before + at, "text": text} for at, text in enumerate(lines, 1)])
    until(lambda: len(parts().task_logs.of(task_id, 500)) == before + len(lines), what="the lines are kept")


def furnish(owner: Caller, mark: str, words: Words = str) -> dict[str, str]:
    """Put something on every page.

    Args:
        owner: whose view of the list is saved.
        mark: what ids begin with.
        words: makes every text that somebody may choose.

    Returns:
        By what a task shows its id, and what the addresses of other pages hold, by its name.
    """
    tasks = {"waits": waiting(f"{mark}-waits", name=words("own.waits"), tenant=words("acme"), tags=[words("blue")])}
    tasks |= {"runs": _runs(f"{mark}-runs", words), "failed": _failed(f"{mark}-failed", words)}
    tasks |= _files(mark, words) | _others(mark, words) | _calls(mark) | _mails(mark, words)
    _usage(tasks["runs"], words)
    celery_service.add_schedule(
        words(f"{mark} tidy"), "cleanup.cleanup_old_logs", crontab="5 4 * * *", tenant=words("acme")
    )
    saved_views.save(owner, words(f"{mark} view"), "state=FAILURE")
    webhook = webhooks.add(ANN, NewWebhook(url=f"https://hooks.example.com/{mark}", tenant=words("acme")))
    celery_service.set_limit(f"tenant:{mark}", "50/m")
    key = api_keys.add(ANN, NewKey(name=words("billing"), tenant=words("acme")))
    details = {words("why"): words("because")}
    audit.record_act(ANN, "task.cancel", target=("task", tasks["failed"]), count=1, details=details)
    _count_minutes()
    parts().workers.start(f"worker-of-{mark}-runs", words("worker@host"), words("host"), 4711, 1)
    parts().workers.renew(f"worker-of-{mark}-runs", 120)
    told = {"schedule": f"{mark} tidy", "view": f"{mark} view", "tenant": "acme", "tag": "blue"}
    made = {"key": key["id"], "webhook": webhook["id"], "scope": f"tenant:{mark}"}
    return tasks | made | {name: words(text) for name, text in told.items()}


def _runs(task_id: str, words: Words) -> str:
    """A task that runs, at its second attempt, after a worker died with it."""
    run = started(task_id, words("worker@host"), name=words("own.runs"), queue=words("own"))
    says(task_id, run, 40, words("page 2 of 5"))
    logged(task_id, words("It has begun."), words("Page 1 is read."))
    death = Death("died", words("worker@host"), None, words("host"), 4710, -9, 512)
    parts().database.write(lambda connection: note(connection, task_id, 1, death))
    return task_id


def _failed(task_id: str, words: Words) -> str:
    arguments = {"text": words("Not nice."), words("more"): [words("x"), {"password": "hunter2"}]}
    failed(task_id, words("The text is empty."), words("EmptyText"), kwargs=arguments, args=[words("first")])
    logged(task_id, words("It is read."))
    return task_id


def _files(mark: str, words: Words) -> dict[str, str]:
    """Tasks that have read files, with pictures, sound and film to be had."""
    document, image, audio, video = (f"{mark}-{kind}" for kind in ("document", "image", "audio", "video"))

    def artefact(task_id: str, kind: str, mime: str, content: bytes, **more: Any) -> dict[str, Any]:
        uri = parts().storage.put(content, mime=mime, task_id=task_id)
        return {"kind": kind, "uri": uri, "mime": mime, "bytes": len(content)} | more

    page = artefact(document, "page_image", "image/webp", _picture(1, 320, 450), page=1, width=320, height=450)
    table = artefact(document, "table", "application/json", b"[]", name=words("table.json"))
    small = artefact(image, "thumbnail", "image/webp", _picture(2, 512, 288), width=512, height=288)
    sound = artefact(audio, "sound", "audio/mpeg", written(tone(1.0), "mp3"))
    captions = b"WEBVTT\n\n00:00.000 --> 00:01.000\n" + words("Hello.").encode() + b"\n"
    said = artefact(audio, "transcript", "text/vtt", captions)
    shots = film(steady(picture(1), picture(2)))
    moving = artefact(video, "film", "video/mp4", shots)
    frames = [
        artefact(video, "frame", "image/webp", _picture(at, 320, 180), t=at / 2, width=320, height=180)
        for at in range(4)
    ]
    segments = [
        {"start": 0, "end": 1, "speaker": words("Ann"), "text": words("Hello.")},
        {"start": 1, "end": 2, "speaker": words("Bob"), "text": words("Good day.")},
    ]
    results = {
        document: {
            "schema": "csai.document/1",
            "input": {"detected_type": "application/pdf"},
            "warnings": [{"code": words("no_text"), "message": words("Page 3 has none.")}],
            "artefacts": [page, table],
            "result": {
                "kind": "pdf",
                "text": words("All of it. " * 40),
                "characters": 440,
                "pages": [{"n": 1, "source": "ocr", "confidence": 0.9, "title": words("Invoice")}],
                "tables": [{"page": 1, "title": words("Sums"), "rows": [[words("what"), "sum"], [words("tea"), "3"]]}],
                "language": {"language": "en", "confidence": 0.9},
                "summary": {"text": words("An invoice.")},
                "metadata": {"author": words("Ann"), words("more"): words("x")},
            },
        },
        image: {
            "schema": "csai.image/1",
            "artefacts": [small],
            "result": {
                "format": "JPEG",
                "camera": words("Lumix"),
                "objects": [{"label": words("dog"), "confidence": 0.9, "bbox": [0.1, 0.2, 0.5, 0.6]}],
                "faces": [{"bbox": [0.5, 0, 0.9, 0.5], "confidence": 1, "match": {"name": words("Ann")}}],
                "ocr": {"text": words("STOP"), "lines": [{"text": words("STOP"), "bbox": [0, 0, 1, 0.5]}]},
                "tags": [{"tag": words("outdoors")}],
            },
        },
        audio: {
            "schema": "csai.audio/1",
            "input": {"detected_type": "audio/mpeg"},
            "artefacts": [said],
            "result": {"duration_s": 1.0, "transcript": {"text": "Hello.", "language": "en", "segments": segments}},
        },
        video: {
            "schema": "csai.video/1",
            "input": {"detected_type": "video/mp4"},
            "artefacts": frames,
            "result": {
                "duration_s": 2.0,
                "video": {"codec": "h264", "width": 160, "height": 90},
                "scenes": [{"start": 0, "end": 1}, {"start": 1, "end": 2}],
                "audio": {"result": {"transcript": {"segments": segments}}},
            },
        },
    }
    names = {audio: f"{sound['uri']}/{words('song')}.mp3", video: f"{moving['uri']}/{words('film')}.mp4"}
    for task_id, result in results.items():
        arguments = {"file_path": names.get(task_id, f"{page['uri']}/{words('invoice')}.pdf")}
        succeeded(task_id, result, name=f"file_processing.process_{task_id.rpartition('-')[2]}", kwargs=arguments)
    found = {"document": document, "image": image, "audio": audio, "video": video}
    return found | {"artefact": page["uri"].rpartition("/")[2]}


def _picture(seed: int, width: int, height: int) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(picture(seed, width=width, height=height)).save(stored, "WEBP")
    return stored.getvalue()


def _others(mark: str, words: Words) -> dict[str, str]:
    """Results of the kinds that have no files."""
    text = words("So it is.")
    results: dict[str, Any] = {
        "chat": {"schema": "csai.chat/1", "result": {"message": {"content": text}, "model": words("gpt")}},
        "text": {"schema": "csai.text/1", "result": {"text": text, "keywords": [{"text": words("tea")}]}},
        "archive": {
            "schema": "csai.archive/1",
            "result": {"members": [{"name": words("a/b.txt"), "status": "failed", "why": words("broken")}]},
        },
        "notified": {"status": "partial", "channels": {words("sms"): {"status": "failed", "error": words("no")}}},
        "plain": {words("found"): [words("a"), 1, None], "deep": {"er": {words("x"): True}}},
        "words": text,
    }
    return {kind: succeeded(f"{mark}-{kind}", result) for kind, result in results.items()}


def _calls(mark: str) -> dict[str, str]:
    phones = Phones(parts().database)
    call = phones.single(f"{mark}-call", "+15005550010")
    attempt = phones.placed(call, f"CA{mark}")
    phones.tell(attempt, f"CA{mark}", "ringing")
    phones.tell(attempt, f"CA{mark}", "completed", duration_seconds=12)
    campaign = f"{mark}-campaign"
    phones.campaign(campaign, ["+15005550011", "+15005550012"])
    return {"call": call, "campaign": campaign, "member": f"{campaign}:0"}


def _mails(mark: str, words: Words) -> dict[str, str]:
    """A mail that was sent as all mails are, and one with all that a mail can have."""
    page = f"<h1>{words('Hello')}</h1><p>A picture: <img src='cid:one' alt='' width=64 height=64></p>"
    sent = celery_service.send_email("ann@example.com", words("Sent"), words("Text."), html_body=page)
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ann@example.com", "bob@example.com", words("Your invoice")
    mail["X-Odd"] = words("odd")
    mail.set_content(words("Dear Bob, here it is."))
    mail.add_alternative(page, subtype="html")
    mail.get_payload()[1].add_related(_picture(3, 64, 64), "image", "webp", cid="<one>")
    mail.add_attachment(b"%PDF-", "application", "pdf", filename=words("invoice") + ".pdf")
    mail_id = f"{mark}-mail-0"
    settings.outbox_dir.mkdir(parents=True, exist_ok=True)
    (settings.outbox_dir / f"{mail_id}.eml").write_bytes(mail.as_bytes())
    item = {"to_email": "ann@example.com", "subject": "s", "body": words("Hello"), "html_body": words("<p>Hello</p>")}
    bulk = celery_service.send_bulk_emails([item], delay_seconds=3600)
    return {"sent": sent, "mail": mail_id, "bulk": bulk}


def _usage(task_id: str, words: Words) -> None:
    """A call of a provider's model."""
    run, tenant = Run(task_id, 1), words("acme")
    plan = CallPlan(
        account="a",
        provider="openai",
        model=words("gpt-5"),
        kind="chat",
        tokens=900,
        cost=0.5,
        currency="USD",
        requests_per_minute=None,
        tokens_per_minute=None,
        budget_per_day=None,
        seconds=60,
        patience=0,
        run=run,
        tenant=tenant,
    )
    leave = parts().ai_calls.ask(plan)
    assert isinstance(leave, Leave), leave
    parts().ai_calls.settle(leave, [Share(run, tenant, Usage(700, 120), 0.0123)])


def _count_minutes() -> None:
    """Let what has come and ended until now be counted, as soon as it may be."""
    PassingTime(parts().database).pass_by(300)
    until(lambda: not parts().minutes.count_next(), what="all minutes are counted")
    counted = parts().minutes.counted(1)
    assert counted
    alone = (task_minutes.c.minute == counted[1]) & (task_minutes.c.queue == NOBODY)
    looked = update(task_minutes).where(alone).values(depth=3, oldest_age_seconds=90.0)
    parts().database.write(lambda connection: connection.execute(looked))


BUSY = {"email": (40, 0.02, 0.08), "file_processing": (9, 0.3, 2.5), "ai_processing": (15, 0.1, 0.6)}
"""How many tasks a queue ends in a minute, and about how many seconds each waits and runs."""


def busy_hour() -> None:
    """Make up what was counted of an hour in which three queues were at work."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    rows = [_minute(now, ago, queue) for ago in range(2, 61) for queue in (*BUSY, NOBODY)]
    parts().minutes.prune(0)  # where time was let pass, minutes no longer begin with a minute
    parts().database.write(lambda connection: connection.execute(insert(task_minutes), rows))


def _minute(now: datetime, ago: int, queue: str) -> dict[str, Any]:
    many, wait, run = BUSY.get(queue, (0, 0.0, 0.0))
    tide = 1 + 0.4 * math.sin(ago / 7) + 0.1 * math.sin(ago * 2)
    ended = round(many * tide)
    waits, runs = task_figures.none(), task_figures.none()
    for at in range(ended):
        task_figures.count(waits, wait * tide**3 * (1 + at * 5 % 7))
        task_figures.count(runs, run * tide * (1 + at * 3 % 5))
    failed = int(many > 10 and ago % 8 < 2)
    sums = {"created": ended + ago % 3, "succeeded": ended - failed, "failed": failed, "cancelled": 0}
    sums |= {"depth": round(9 * tide**3), "oldest_age_seconds": tide**3}
    return {"minute": now - timedelta(minutes=ago), "queue": queue, "waits": waits, "runs": runs} | sums
