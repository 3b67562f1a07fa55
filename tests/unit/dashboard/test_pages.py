"""What the dashboard shows and does: what a task carries is text, secrets are masked, every act asks and is kept."""

import json
import re
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import update

from browsing import ANN, Html
from dashboard import figures, tails, words
from dashboard.app import all_pages
from dashboard.recent import FRESH_SECONDS, STALE_SECONDS, Recent
from dashboard.rendering import POLICY, static_files
from processors.health import Check, Health
from records import incidents
from records.audit import Act, WantedActs
from records.columns import Now
from records.incidents import Death
from records.schedules import schedules
from records.task_moves import Failure
from records.task_records import Draft
from records.workers import workers
from services import api_keys, audit, monitoring, users
from services.api_keys import NewKey
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.task_lines import TaskLines
from services.wiring import parts
from waiting import until

HOSTILE = """<img src=x onerror=alert(1)>"'><script>alert(2)</script>{{7*7}}\u202e&lt;"""
PRINTABLE = HOSTILE.replace("\u202e", "")
SENTIMENT = "ai_processing.analyze_sentiment"
NO_HTML = {"/plots"}
SECRET = "hunter2-planted"


def draft(task_id: str, **more) -> str:
    """A recorded task that waits, and that nobody publishes."""
    given = {"name": SENTIMENT, "category": "ai_processing", "queue": "ai_processing", "delay": 3600} | more
    parts().tasks.open(Draft(task_id, **given))
    return task_id


def started(task_id: str, worker: str = "w@h", **more) -> int:
    """A task that runs; returns its run."""
    draft(task_id, **{"delay": 0} | more)
    return parts().moves.start(task_id, 0, f"worker-of-{task_id}"[:36], worker, None).run


def failed(task_id: str, error: str = "no", traceback: str | None = None, **more) -> str:
    """A task that has failed."""
    run = started(task_id, **more)
    assert parts().moves.fail(task_id, run, Failure(error, "PermanentError", traceback))
    return task_id


def logged(task_id: str, text: str, number: int = 1) -> None:
    line = {"task_id": task_id, "run": 1, "number": number, "at": datetime.now(UTC), "level": "INFO", "logger": "x"}
    parts().task_logs.keep([line | {"text": text}])
    until(lambda: len(parts().task_logs.of(task_id, 10)) == number, what="the line is kept")


def acts(kind: str, target: str) -> list[tuple]:
    found = audit.acts(WantedActs(target_kind=kind, target_id=target), 20)
    return [(one.act, one.count, one.origin) for one in found]


def is_harmless(page: Html) -> None:
    """Nothing on a page is a script, a style or a picture that somebody brought."""
    for tag in page.tags:
        assert tag.name not in {"img", "style", "iframe", "object", "svg", "base"}, tag
        assert not [name for name in tag.attributes if name.startswith("on") or name == "style"], tag
        if tag.name == "script":
            assert tag.attributes["src"].startswith("/static/"), tag
            assert not tag.text.strip(), tag
        for name in ("href", "src", "action"):
            assert tag.attributes.get(name, "/").startswith(("/", "#")), tag
            assert not tag.attributes.get(name, "/").startswith("//"), tag


def own_task(name: str) -> str:
    """A task of an adopter that takes anything."""

    @celery_app.task(name=name)
    def takes(**given):
        return given

    return name


# --- What is hostile is text -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted():
    """A task, a worker, a schedule, a queue, a key and an act that carry what would be a script."""
    parts().workers.start("hostile-worker", HOSTILE, HOSTILE, 1, 1)
    parts().workers.renew("hostile-worker", 10, HOSTILE)
    task_id = f"x-{HOSTILE.replace('/', '')}"
    more = {"name": HOSTILE, "queue": HOSTILE, "tenant": HOSTILE, "tags": [HOSTILE], "args": [HOSTILE]}
    more |= {"kwargs": {HOSTILE: HOSTILE}}
    failed(task_id, HOSTILE, HOSTILE, worker=HOSTILE, **more)
    logged(task_id, HOSTILE)
    running = f"r-{HOSTILE.replace('/', '')}"
    draft(running, **more | {"delay": 0})
    run = parts().moves.start(running, 0, "hostile-worker", HOSTILE, None).run
    parts().moves.report(running, run, 50, HOSTILE)
    draft(f"w-{HOSTILE.replace('/', '')}", **more | {"delay": 0})
    celery_service.add_schedule(PRINTABLE, "cleanup.cleanup_old_logs", every=3600, tenant=PRINTABLE)
    api_keys.add(ANN, NewKey(name=PRINTABLE, tenant=PRINTABLE))
    parts().audit.add(Act("user", HOSTILE, "queue.purge", "cli", "queue", HOSTILE, 1, {HOSTILE: HOSTILE}))
    until(lambda: parts().tasks.read(running).progress == 50, what="the progress is written")
    return task_id, running


def test_whatever_a_task_carries_is_text_on_every_page(planted, admin):
    parts().workers.renew("hostile-worker", 10, HOSTILE)  # it lives
    quoted = [words.segment(one) for one in planted]
    schedule, actor = words.segment(PRINTABLE), words.segment(HOSTILE)
    key = next(one["id"] for one in api_keys.listed() if one["name"].startswith("<img"))
    paths = {
        "/": 1,
        "/queues": 1,
        "/workers": 3,
        "/schedules": 1,
        "/keys": 2,
        "/audit": 4,
        f"/tasks/{quoted[0]}": 7,
        f"/tasks/{quoted[1]}": 5,
        f"/tasks/{quoted[1]}/cancel": 1,
        f"/tasks/{quoted[0]}/replay": 2,
        f"/schedules/run?name={schedule}": 1,
        f"/schedules/change?name={schedule}": 1,
        f"/schedules/remove?name={schedule}": 1,
        f"/keys/{key}/revoke": 1,
        f"/audit?actor={actor}&act=queue.purge": 4,
    }
    for path, least in paths.items():
        page = admin.html(path)
        is_harmless(page)
        assert page.text.count("<img src=x onerror=alert(1)>") >= least, path
        assert "{{7*7}}" in page.text, path
    refused = Html(admin.get(f"/tasks/{schedule}").text)
    is_harmless(refused)
    for path in (f"/schedules/run?name={schedule}x", f"/queues/{schedule.replace('%2F', '')}/purge", f"/x{schedule}"):
        page = admin.html(path, 404)
        is_harmless(page)
    is_harmless(Html(admin.post("/login", {"name": HOSTILE, "password": "x"}).text))
    is_harmless(Html(admin.post("/keys", {"name": "", "scope": HOSTILE, "tenant": HOSTILE, "days": HOSTILE}).text))


def test_a_running_tasks_events_are_as_harmless(planted, admin):
    task_id = f"e-{HOSTILE.replace('/', '')}"
    draft(task_id, kwargs={"a": HOSTILE}, tenant=f"{HOSTILE}\r\nevent: end\rdata: x")
    logged(task_id, f"{HOSTILE}\n\nevent: state\ndata: forged\r\revent: end\n\n\u2028event: end")
    celery_service.cancel_task(task_id)
    text = admin.get(f"/tasks/{words.segment(task_id)}/events", Accept="text/event-stream").text
    events = [one.partition("\n")[0] for one in text.split("\n\n") if one.startswith("event: ")]
    assert sorted(events) == ["event: end", "event: logs", "event: state", "event: status"]
    assert all(line.startswith(("event: ", "data: ", ": ", ":")) for line in text.split("\n") if line)
    for one in text.split("\n\n"):
        is_harmless(Html("\n".join(line.removeprefix("data: ") for line in one.split("\n")[1:])))


def test_half_a_character_and_what_is_very_long_can_be_shown(admin):
    task_id = failed(
        "odd-1", "e\ud800" * 10, "t" * 200_000, kwargs={"half": "a\ud800b", "big": 2**80, "n": "y" * 300_000}
    )
    page = admin.html(f"/tasks/{task_id}")
    assert "\\ud800" in page.text
    assert str(2**80) in page.text
    assert "characters more)" in page.text
    assert len(page.text) < 300_000


# --- Every page ---------------------------------------------------------------------------------------------------


def test_every_page_has_the_policy_and_nothing_that_it_forbids(planted, admin, app):
    task_id = failed("policy-1", kwargs={"text": "x"})
    mail = {"to_email": "policy@example.com", "subject": "s", "body": "b"}
    bulk_id = celery_service.send_bulk_emails([mail], delay_seconds=3600)
    parameters = {
        "task_id": task_id,
        "position": "0",
        "queue": "email",
        "key_id": api_keys.listed()[0]["id"],
        "name": "never.css",
        "mail_id": "never",
        "number": "0",
        "sha256": "0" * 64,
        "user": "nobody",
        "webhook_id": "never",
        "campaign_id": celery_service.queue_bulk_calls(["+15554417703"]),
    }
    celery_service.add_schedule("policy", "cleanup.cleanup_old_logs", every=3600)
    for page in all_pages():
        if "GET" not in page.methods or page.path.endswith("/events") or page.path in NO_HTML:
            continue
        of = parameters | ({"task_id": bulk_id} if "{position}" in page.path else {})
        path = page.path.format(**of) + ("?name=policy" if page.path.startswith("/schedules/") else "")
        answer = admin.get(path)
        frames = "; frame-src 'self'" if page.path.endswith("{position}") else ""
        assert answer.headers["content-security-policy"] == POLICY + frames, path
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        if answer.status_code == 303:
            assert path == "/login"
            continue
        html = Html(answer.text)
        is_harmless(html)
        assert html.all("html")[0].attributes["lang"] == "en"
        assert html.all("a")[0].attributes["href"] == "#content"
        assert {"header", "main", "footer"} <= {tag.name for tag in html.tags}
        assert len(html.all("h1")) == 1
        ids = [tag.attributes["id"] for tag in html.tags if "id" in tag.attributes]
        assert len(ids) == len(set(ids)), path
        labels = {tag.attributes["for"] for tag in html.all("label")}
        for tag in html.tags:
            if tag.name in {"input", "select", "textarea", "progress"} and tag.attributes.get("type") != "hidden":
                assert tag.attributes["id"] in labels, (path, tag)
        for form in html.forms:
            assert form.method != "post" or len(form.fields["token"]) == 64, (path, form)
        for tag in html.all("th"):
            assert tag.attributes["scope"] in {"col", "row"}, (path, tag)
        assert len(html.all("table")) == len(html.all("caption"))
    assert "style-src 'self'" in POLICY
    assert "unsafe" not in POLICY


def test_no_link_is_dead(admin, viewer):
    for browser in (admin, viewer):
        seen, left = set(), {"/"}
        while left:
            path = left.pop()
            seen.add(path)
            answer = browser.get(path)
            assert answer.status_code == 200, path
            found = {link for link in Html(answer.text).links() if link.startswith("/")}
            left |= {link for link in found if not link.startswith("/tasks/") and "?" not in link} - seen
    assert len(seen) >= 4


def test_the_bar_says_where_a_page_belongs(viewer):
    task_id = draft("belongs-1")
    for path, current in (("/", ["/"]), ("/queues", ["/queues"]), (f"/tasks/{task_id}", ["/tasks"]), ("/nothing", [])):
        page = Html(viewer.get(path).text)
        assert [one.attributes["href"] for one in page.all("a") if "aria-current" in one.attributes][:1] == current


def test_what_is_not_there_is_a_page_here_and_a_problem_in_the_api(admin, app):
    assert "Not Found" in admin.html("/nothing", 404).text
    assert "never-was" in admin.html("/tasks/never-was", 404).text
    assert admin.html("/tasks/" + "x" * 300, 422).all("main")
    wrong = admin.client.put("/queues")
    assert (wrong.status_code, "GET" in wrong.headers["allow"]) == (405, True)
    for path in ("/api/v1/nothing", "/api/nothing"):
        assert admin.get(path).headers["content-type"] == "application/problem+json"
    assert admin.client.post("/livez").json()["type"] == "urn:csai:method-not-allowed"
    assert admin.client.get("/", headers={"Host": "evil.example"}).status_code == 421


def test_what_nobody_foresaw_is_a_page_without_its_text(admin, monkeypatch):
    def fail():
        raise KeyError("planted secret")

    monkeypatch.setattr(celery_service, "list_schedules", fail)
    answer = admin.get("/schedules")
    assert (answer.status_code, "log of" in answer.text) == (500, True)
    assert "planted" not in answer.text
    assert answer.headers["content-security-policy"] == POLICY


# --- Files --------------------------------------------------------------------------------------------------------


def test_files_are_kept_for_ever_under_names_that_change_with_them(admin):
    page = admin.html("/")
    addresses = {tag.attributes[name] for tag in page.tags for name in ("src", "href") if name in tag.attributes}
    files = {one for one in addresses if one.startswith("/static/")}
    assert len(files) == 8
    for address in files:
        answer = admin.get(address)
        assert answer.status_code == 200
        assert re.fullmatch(r"/static/[\w.-]+\.[0-9a-f]{16}\.(css|js|svg)", address)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-encoding"] == "gzip"
        assert admin.get(address, **{"Accept-Encoding": "identity"}).content == answer.content


def test_no_other_file_can_be_had(admin):
    for name in ("app.css", "app.0000000000000000.css", "..%2Fapp.py", "%2e%2e/app.py", "vendor/htmx.min.js", "%00"):
        assert admin.get(f"/static/{name}").status_code == 404, name
    assert static_files().address("app.css").startswith("/static/app.")


def test_a_first_page_is_small(admin):
    page = admin.get("/")
    total = len(page.content)
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        total += int(admin.get(address).headers["content-length"])
    assert total < 100_000


# --- Secrets ------------------------------------------------------------------------------------------------------


def test_no_secret_of_a_task_is_on_any_page(admin):
    arguments = {"password": SECRET, "nested": {"api_key": SECRET}, "url": f"https://u:{SECRET}@host/", "text": "x"}
    text = f"bad: {{'password': '{SECRET}', 'a': 1}} and https://u:{SECRET}@host/"
    task_id = failed("secret-1", text, f"Traceback\n{text}", kwargs=arguments, args=[{"token": SECRET}])
    logged(task_id, text)
    run = started("secret-2", kwargs=arguments)
    assert parts().moves.succeed("secret-2", run, {"credentials": SECRET, "ok": 1})
    paths = [
        f"/tasks/{task_id}",
        f"/tasks/{task_id}/replay",
        "/tasks/secret-2",
        "/audit",
        "/workers",
        "/",
        "/schedules",
    ]
    for path in paths:
        answer = admin.get(path)
        assert (answer.status_code, SECRET in answer.text) == (200, False), path
    assert SECRET not in admin.get(f"/tasks/{task_id}/events").text


# --- Queues -------------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(monkeypatch):
    """Two tasks that wait in a queue, one of them for another attempt, and no broker to be asked."""
    monkeypatch.setattr("services.steering._take_strangers", lambda _queue: [])
    first, second = (f"queue-{number}-{datetime.now(UTC).timestamp()}" for number in (1, 2))
    draft(first, queue="low_priority", delay=0)
    run = started(second, queue="low_priority", delay=0)
    assert parts().moves.try_again(second, run, 3_600, Failure("not yet", "ValueError"))
    return [first, second]


def test_a_queue_is_purged_after_a_page_that_names_the_count_of_all_that_is_cancelled(operator, waiting):
    page = operator.html("/queues/low_priority/purge")
    count = parts().moves.count_waiting("low_priority")
    assert count > figures.queues().queues["low_priority"].depth
    assert f"Purge low_priority: cancel {count} tasks" in page.text
    assert f"{count} tasks wait in it now" in page.text
    before = len(acts("queue", "low_priority"))
    answer = operator.submit("/queues/low_priority/purge")
    assert (answer.status_code, answer.headers["location"]) == (303, "/queues")
    assert {celery_service.get_task_status(one)["status"] for one in waiting} == {"REVOKED"}
    kept = acts("queue", "low_priority")
    assert kept[0] == ("queue.purge", count, "dashboard")
    assert len(kept) == before + 1
    said = operator.html("/queues").all("p")
    assert f"{count} tasks of the queue low_priority were cancelled." in [tag.text for tag in said]
    assert "were cancelled" not in operator.html("/queues").text  # told once


def test_a_purge_asks_again_where_more_wait_than_were_confirmed(operator, waiting):
    form = operator.html("/queues/low_priority/purge").forms[-1]
    more = draft(f"{waiting[0]}-more", queue="low_priority", delay=0)
    answer = operator.post("/queues/low_priority/purge", form.fields)
    assert (answer.status_code, "There are more now than there were" in answer.text) == (409, True)
    assert celery_service.get_task_status(more)["status"] == "PENDING"
    again = Html(answer.text).forms[-1]
    assert int(again.fields["count"]) == int(form.fields["count"]) + 1
    assert operator.post("/queues/low_priority/purge", again.fields).status_code == 303
    assert celery_service.get_task_status(more)["status"] == "REVOKED"
    for count in ("", "-1", "many"):
        assert operator.post("/queues/low_priority/purge", again.fields | {"count": count}).status_code == 422


def test_a_queue_is_paused_drained_and_resumed(operator):
    for act, paused in (("pause", True), ("resume", False), ("drain", True), ("resume", False)):
        answer = operator.submit(f"/queues/twilio_calls/{act}")
        assert answer.headers["location"] == "/queues"
        assert acts("queue", "twilio_calls")[0] == (f"queue.{act}", None, "dashboard")
        row = next(tag for tag in operator.html("/queues").all("tr") if "twilio_calls" in tag.text)
        assert ("paused" in row.text, "open" in row.text) == (paused, not paused)
        assert ("Resume" in row.text, "Pause" in row.text) == (paused, not paused)
    before = len(acts("queue", "twilio_calls"))
    assert operator.submit("/queues/twilio_calls/resume").status_code == 303
    assert "was not paused" in operator.html("/queues").text
    assert len(acts("queue", "twilio_calls")) == before  # what changed nothing is no act


def test_asking_changes_nothing(operator, monkeypatch):
    for name in ("pause_queue", "resume_queue", "drain", "purge_queue"):
        monkeypatch.setattr(celery_service, name, lambda _queue: pytest.fail("it was done"))
    for act in ("pause", "resume", "drain", "purge"):
        assert operator.get(f"/queues/email/{act}").status_code == 200
        assert operator.client.head(f"/queues/email/{act}").status_code == 200


def test_who_listens_is_shown_as_soon_as_it_is_known(viewer, monkeypatch):
    monkeypatch.setattr(figures, "consumers", lambda: Recent(lambda: {"email": 3737}))
    known = figures.consumers()
    until(known.value, what="it was found out")
    monkeypatch.setattr(figures, "consumers", lambda: known)
    row = next(tag for tag in viewer.html("/queues").all("tr") if "email" in tag.text)
    assert words.number(3737) in row.text
    monkeypatch.setattr(figures, "consumers", lambda: Recent(dict, lambda: float("nan")))
    assert "…" in viewer.html("/queues").text


def test_a_queues_rates_are_shown(viewer, monkeypatch):
    rates = {"came_per_minute": 2.4, "ended_per_minute": 1234.5}
    monkeypatch.setattr(monitoring, "_rates", lambda _parts: {"email": rates})
    row = next(tag for tag in viewer.html("/queues").all("tr") if "email" in tag.text)
    assert "2.4" in row.text
    assert words.number(1234) in row.text


def test_the_overview_tells_of_health(viewer, monkeypatch):
    health = Health(
        status="degraded",
        checks=[Check(name="workers", status="degraded", detail="no worker <lives>", seconds=0.1)],
        version="1",
        checked_at=datetime.now(UTC).isoformat(),
    )
    known = Recent(lambda: health)
    monkeypatch.setattr(figures, "health", lambda: known)
    until(known.value, what="it was found out")
    page = viewer.html("/")
    assert "degraded" in page.text
    assert "no worker <lives>" in page.text


# --- Workers ------------------------------------------------------------------------------------------------------


def test_workers_are_shown_with_what_each_runs_and_those_that_died_with_how(viewer):
    rows = parts().workers
    for number, name in enumerate(("alive", "silent", "killed", "goodbye")):
        rows.start(f"{name}-of-the-page", f"{name}@page", "page-host", 100 + number, 99, 50)
    draft("of-a-worker", delay=0)
    parts().moves.start("of-a-worker", 0, "alive-of-the-page", "alive@page", None)
    rows.note_exit("killed@page", "page-host", 99, 102, -9)
    died = workers.c.id.in_(["silent-of-the-page", "killed-of-the-page"])
    parts().database.write(lambda c: c.execute(update(workers).where(died).values(stopped_at=Now(), lost=True)))
    rows.stop("goodbye-of-the-page")

    page = viewer.html("/workers")
    told = [" ".join(tag.text.split()) for tag in page.all("tr") if "@page" in tag.text]
    assert "alive@page page-host 100 99 50 MB" in told[0]
    assert told[0].endswith(f"{SENTIMENT} of-a-worker")
    assert sorted(one.split("UTC")[0][:-21] for one in told[1:]) == [
        "killed@page page-host 102 50 MB ✗ killed by SIGKILL",
        "silent@page page-host 101 50 MB ✗ fell silent",
    ]
    parts().moves.give_back("of-a-worker", 1)


def test_without_workers_the_page_says_so(viewer, monkeypatch):
    monkeypatch.setattr("dashboard.pages.workers.living_workers", list)
    monkeypatch.setattr("dashboard.pages.workers.dead_workers", list)
    page = viewer.html("/workers")
    assert ("No worker lives." in page.text, "Died" in page.text) == (True, False)


# --- Limits -------------------------------------------------------------------------------------------------------


def limit_row(browser, scope: str) -> str:
    return next((" ".join(tag.text.split()) for tag in browser.html("/queues").all("tr") if scope in tag.text), "")


def test_a_limit_is_set_changed_and_cleared_on_its_pages(operator, viewer):
    scope = "tenant:of-the-page"
    assert operator.submit("/limits", {"scope": scope, "rate": "50/m"}).headers["location"] == "/queues"
    assert f"{scope} 50/m none somebody 0 0 0 Change" in limit_row(operator, scope)
    assert acts("limit", scope) == [("limit.set", None, "dashboard")]
    assert "Change" not in limit_row(viewer, scope)
    path = f"scope={words.segment(scope)}"
    assert {f"/limits?{path}", f"/limits/clear?{path}"} <= set(operator.html("/queues").links())
    operator.submit(f"/limits?{path}", {"rate": "", "concurrency": "3"})
    assert f"{scope} 50/m 3 somebody" in limit_row(operator, scope)
    assert "Clear 1 limit: tenant:of-the-page?" in operator.html(f"/limits/clear?{path}").text
    assert operator.submit(f"/limits/clear?{path}").headers["location"] == "/queues"
    assert limit_row(operator, scope) == ""
    assert acts("limit", scope)[0] == ("limit.clear", None, "dashboard")
    assert operator.get(f"/limits/clear?{path}").status_code == 422


def test_without_a_limit_the_page_says_so(viewer, monkeypatch):
    monkeypatch.setattr(celery_service, "get_limits", list)
    assert "Nothing is limited." in viewer.html("/queues").text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scope": ""}, "scope"),
        ({"scope": HOSTILE}, "scope"),
        ({"scope": "queue:nowhere"}, "nowhere"),
        ({"rate": "fast"}, "rate"),
        ({"rate": "", "concurrency": ""}, "rate, concurrency"),
        ({"concurrency": "-1"}, "concurrency"),
        ({"concurrency": "9999999999"}, "concurrency"),
        ({"concurrency": "١"}, "concurrency"),
    ],
    ids=range(8),
)
def test_a_limit_that_cannot_be_is_named_and_what_was_typed_is_kept(operator, fields, said):
    given = {"scope": "tenant:never-limited", "rate": "5/m", "concurrency": ""} | fields
    answer = operator.submit("/limits", given)
    page = Html(answer.text)
    assert (answer.status_code, said in page.text) == (422, True)
    is_harmless(page)
    for name, value in given.items():
        assert next(tag.attributes["value"] for tag in page.tags if tag.attributes.get("id") == name) == value
    assert limit_row(operator, "tenant:never-limited") == ""


# --- Schedules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "a/b", "..", "x?y#z&name=plain", "ü  %2F"])
def test_a_schedule_is_steered_whatever_its_name(operator, name):
    celery_service.add_schedule(name, "cleanup.cleanup_old_logs", every=3600)
    path = f"name={words.segment(name)}"
    assert any(path in link for link in operator.html("/schedules").links())
    for act, paused in (("pause", True), ("resume", False)):
        assert "It runs cleanup.cleanup_old_logs." in operator.html(f"/schedules/{act}?{path}").text
        assert operator.submit(f"/schedules/{act}?{path}").headers["location"] == "/schedules"
        found = next(one for one in celery_service.list_schedules() if one["name"] == name)
        assert found["paused"] is paused
        assert acts("schedule", name)[0] == (f"schedule.{act}", None, "dashboard")
    answer = operator.submit(f"/schedules/run?{path}")
    task_id = answer.headers["location"].removeprefix("/tasks/")
    assert celery_service.get_task_status(task_id)["name"] == "cleanup.cleanup_old_logs"
    assert acts("schedule", name)[0][0] == "schedule.run"
    assert "was submitted: this one" in operator.html(answer.headers["location"]).text
    celery_service.remove_schedule(name)
    assert operator.get(f"/schedules/run?{path}").status_code == 404


def test_a_schedule_is_run_once_for_each_time_that_it_was_asked(operator):
    celery_service.add_schedule("clicked", "cleanup.cleanup_old_logs", every=3600)
    fields = operator.html("/schedules/run?name=clicked").forms[-1].fields
    runs = [operator.post("/schedules/run", fields).headers["location"] for _ in range(2)]
    assert runs[0] == runs[1]
    assert operator.submit("/schedules/run?name=clicked").headers["location"] != runs[0]
    celery_service.remove_schedule("clicked")


CLEANUP = "cleanup.cleanup_old_logs"


def schedule_named(name: str) -> dict:
    return next(one for one in celery_service.list_schedules() if one["name"] == name)


def test_a_schedule_is_added_changed_and_removed_on_its_pages(operator):
    name = "of a page/../x"
    fields = {"name": name, "task": CLEANUP, "crontab": "30 2 * * mon-fri", "kwargs": '{"max_age_hours": 9}'}
    assert "/schedules/add" in operator.html("/schedules").links()
    assert operator.submit("/schedules/add", fields).headers["location"] == "/schedules"
    made = schedule_named(name)
    assert [made[one] for one in ("task", "crontab", "kwargs", "priority")] == [
        CLEANUP, "30 2 * * mon-fri", {"max_age_hours": 9}, "normal",
    ]  # fmt: skip
    assert acts("schedule", name)[0] == ("schedule.add", None, "dashboard")
    path = f"/schedules/change?name={words.segment(name)}"
    assert path in operator.html("/schedules").links()
    page = operator.html(path)
    assert json.loads(page.all("textarea")[0].text) == {"max_age_hours": 9}
    given = {"crontab": "", "every": "600", "kwargs": '{"max_age_hours": 9}', "priority": "low", "catch_up": "none"}
    assert operator.submit(path, given).headers["location"] == "/schedules"
    changed = schedule_named(name)
    assert [changed[one] for one in ("crontab", "every", "kwargs", "priority", "catch_up")] == [
        None, 600.0, {"max_age_hours": 9}, "low", "none",
    ]  # fmt: skip
    assert acts("schedule", name)[0][0] == "schedule.change"
    kept = audit.acts(WantedActs(target_kind="schedule", target_id=name), 1)[0]
    assert set(kept.details) == {"crontab", "every", "priority", "catch_up"}  # what was edited, and nothing else
    question = operator.html(f"/schedules/remove?name={words.segment(name)}")
    assert f"Remove 1 schedule: {name}?" in question.text
    operator.submit(f"/schedules/remove?name={words.segment(name)}")
    assert name not in [one["name"] for one in celery_service.list_schedules()]
    assert acts("schedule", name)[0][0] == "schedule.remove"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "name"),
        ({"task": "no.such_task"}, "task"),
        ({"every": "soon"}, "every: must be seconds"),
        ({"every": "inf"}, "every"),
        ({"every": "60", "crontab": "* * * * *"}, "crontab"),
        ({"every": "", "crontab": ""}, "every"),
        ({"crontab": "x", "every": ""}, "crontab"),
        ({"timezone": "Moon/Base"}, "timezone"),
        ({"kwargs": "["}, "must be a JSON object"),
        ({"kwargs": '{"colour": 1}'}, "colour"),
        ({"kwargs": '{"log_directory": "/etc"}'}, "log_directory"),
        ({"queue": "nowhere"}, "nowhere"),
        ({"priority": "highest"}, "priority"),
        ({"catch_up": "some"}, "catch_up"),
    ],
    ids=range(14),
)
def test_a_schedule_that_cannot_be_is_named_and_what_was_typed_is_kept(operator, fields, said):
    given = {"name": "never made", "task": CLEANUP, "every": "600", "kwargs": "{}", "timezone": "UTC"}
    given |= {"queue": "", "priority": "normal", "catch_up": "latest", "tenant": PRINTABLE}
    answer = operator.submit("/schedules/add", given | fields)
    page = Html(answer.text)
    assert (answer.status_code, said in page.text) == (422, True), page.text
    is_harmless(page)
    assert next(tag.attributes["value"] for tag in page.tags if tag.attributes.get("id") == "tenant") == PRINTABLE
    assert "never made" not in [one["name"] for one in celery_service.list_schedules()]


def test_a_secret_of_a_schedule_stays_what_it_is_and_is_shown_nowhere(operator, admin):
    own = "own.schedule_with_a_secret"
    celery_service.add_schedule("secretive", own_task(own), every=3600, kwargs={"password": SECRET, "text": "a"})
    path = "/schedules/change?name=secretive"
    page = operator.html(path)
    assert SECRET not in page.text
    shown = json.loads(page.all("textarea")[0].text)
    assert shown == {"password": "***", "text": "a"}
    operator.submit(path, {"kwargs": json.dumps(shown | {"text": "b"}), "every": "3600", "priority": "normal"})
    assert parts().schedules.read("secretive").kwargs == {"password": SECRET, "text": "b"}
    other = json.dumps(shown | {"token": "***"})
    assert operator.submit(path, {"kwargs": other}).status_code == 422
    operator.submit(path, {"kwargs": json.dumps({"password": f"{SECRET}-2"}), "every": "3600"})
    assert SECRET not in admin.get("/audit").text + operator.get("/schedules").text


def test_a_schedule_of_the_settings_is_neither_changed_nor_removed(operator):
    celery_service.add_schedule("of the settings", CLEANUP, every=3600)
    parts().database.write(
        lambda c: c.execute(update(schedules).where(schedules.c.name == "of the settings").values(source="settings"))
    )
    links = operator.html("/schedules").links()
    assert "/schedules/pause?name=of%20the%20settings" in links
    for act in ("change", "remove"):
        assert f"/schedules/{act}?name=of%20the%20settings" not in links
        assert operator.submit(f"/schedules/{act}?name=of%20the%20settings", {"every": "60"}).status_code == 422
    assert schedule_named("of the settings")["every"] == 3600


# --- Tasks --------------------------------------------------------------------------------------------------------


def test_a_task_is_shown_with_all_that_is_known_of_it(viewer):
    task_id = failed("shown-1", "it broke", "Traceback: here", kwargs={"text": "hello"}, tags=["blue"], tenant="acme")
    logged(task_id, "a line of it")
    page = viewer.html(f"/tasks/{task_id}")
    for text in ("FAILURE", "PermanentError:", "it broke", "Traceback: here", "hello", "blue", "acme", "a line of it"):
        assert text in page.text, text
    assert "sse-connect" not in str(page.tags)  # it has ended
    assert not {f"/tasks/{task_id}/cancel", f"/tasks/{task_id}/replay"} & set(page.links())
    run = started("shown-2")
    parts().moves.report("shown-2", run, 40, "half way")
    until(lambda: parts().tasks.read("shown-2").progress == 40, what="the progress is written")
    page = viewer.html("/tasks/shown-2")
    assert page.all("progress")[0].attributes["value"] == "40.0"
    assert "half way" in page.text
    assert "/tasks/shown-2/events?after=0" in [tag.attributes.get("sse-connect") for tag in page.all("div")]
    parts().moves.succeed("shown-2", run, {"found": [1, 2]})
    assert '"found": [' in viewer.html("/tasks/shown-2").text


def test_where_nothing_came_of_a_task_nothing_is_shown_as_its_result(viewer):
    run = started("x-came")
    assert parts().moves.succeed("x-came", run, None)
    pages = {task_id: viewer.html(f"/tasks/{task_id}") for task_id in (failed("x-came-to-nothing"), "x-came")}
    shown = {task_id: "Result" in [tag.text for tag in page.all("h2")] for task_id, page in pages.items()}
    assert shown == {"x-came-to-nothing": False, "x-came": True}


def test_a_tasks_attempts_are_told_in_the_order_of_time(viewer):
    task_id = draft("attempts-1", delay=0)
    run = parts().moves.start(task_id, 0, "gone-worker", "w@h", None).run
    TaskLines(task_id, run).note(f"Attempt 1 failed on w@h: TransientError: <no> 'password': '{SECRET}'")
    until(lambda: parts().task_logs.of(task_id, 1), what="it is noted")
    assert parts().moves.try_again(task_id, run, 0, Failure("no", "TransientError"))
    death = Death("died", "w@h", "gone-worker", "host-9", 4711, -9, 300)
    parts().database.write(lambda c: incidents.note(c, task_id, 2, death))
    run = parts().moves.start(task_id, 1, "other-worker", "x@h", None).run
    parts().moves.succeed(task_id, run, 1)

    page = viewer.html(f"/tasks/{task_id}")
    table = next(tag for tag in page.all("table") if "What happened to the task" in tag.text)
    told = [" ".join(row.text.split()) for row in page.all("tr") if row.text in table.text][1:]
    whats = ("submitted", "failed for now", "taken back", "started", "ended: SUCCESS")
    assert [what for one in told for what in whats if what in one] == list(whats)
    assert "TransientError: <no>" in told[1]
    assert "w@h (process 4711 on host-9) was killed by SIGKILL; it had held up to 300 MB" in told[2]
    assert "on x@h" in told[3]
    assert SECRET not in page.text
    waits = viewer.html(f"/tasks/{draft('attempts-2')}").text
    assert ("due" in waits, "started" in waits) == (True, False)


def test_a_member_of_a_campaign_is_shown_although_it_has_no_record(viewer):
    campaign = celery_service.queue_bulk_calls(["+15554417702"])
    assert "with the campaign" in viewer.html(f"/tasks/{campaign}:0").text
    assert viewer.get(f"/tasks/{campaign}").status_code == 200
    celery_service.cancel_task(campaign)


def test_a_task_is_cancelled_after_a_page_that_says_so(operator):
    task_id = draft("cancelled-1")
    assert f"/tasks/{task_id}/cancel" in operator.html(f"/tasks/{task_id}").links()
    assert "Cancel 1 task?" in operator.html(f"/tasks/{task_id}/cancel").text
    assert operator.submit(f"/tasks/{task_id}/cancel").headers["location"] == f"/tasks/{task_id}"
    assert "The task is cancelled." in operator.html(f"/tasks/{task_id}").text
    assert operator.post(f"/tasks/{task_id}/cancel").status_code == 303
    assert "nothing left to cancel" in operator.html(f"/tasks/{task_id}").text
    question = operator.html(f"/tasks/{task_id}/cancel")
    assert "It has ended: nothing is left to cancel." in question.text
    assert [one.action for one in question.forms] == ["/logout"]
    assert acts("task", task_id) == [("task.cancel", 1, "dashboard")]


def test_the_page_before_a_bulk_is_cancelled_names_how_many_parts_it_has(operator):
    bulk = celery_service.send_bulk_emails(
        [{"to_email": f"p{n}@example.com", "subject": "s", "body": "b"} for n in "abc"]
    )
    assert "Cancel 1 task with 3 parts?" in operator.html(f"/tasks/{bulk}/cancel").text
    celery_service.cancel_task(bulk)


@pytest.mark.parametrize(("stored", "edited"), [(0, False), (1, True), (True, 1), ([0], [False])])
def test_a_number_that_is_edited_into_a_yes_or_no_is_submitted_as_that(operator, stored, edited):
    task_id = failed(f"edited-{uuid4()}", name="own.edited", kwargs={"given": stored})
    arguments = json.dumps({"given": edited})
    new = operator.submit(f"/tasks/{task_id}/replay", {"arguments": arguments}).headers["location"]
    assert json.dumps(parts().tasks.read(new.removeprefix("/tasks/")).kwargs) == arguments
    other = operator.submit(f"/tasks/{task_id}/replay")
    assert "with other arguments" in other.text


def test_a_failed_task_is_submitted_again_with_edited_arguments_and_its_secrets(operator):
    task_id = failed("replayed-1", kwargs={"text": "bad", "detailed": True})
    page = operator.html(f"/tasks/{task_id}/replay")
    shown = json.loads(page.all("textarea")[0].text)
    assert shown == {"text": "bad", "detailed": True}
    answer = operator.submit(f"/tasks/{task_id}/replay", {"arguments": json.dumps(shown | {"text": "good"})})
    new_id = answer.headers["location"].removeprefix("/tasks/")
    again = parts().tasks.read(new_id)
    assert (again.kwargs, again.retry_of) == ({"text": "good", "detailed": True}, task_id)
    assert new_id in operator.html(f"/tasks/{task_id}").text
    until(lambda: ("task.replay", 1, "dashboard") in acts("task", task_id), what="the act is kept")
    assert not [link for link in operator.html(f"/tasks/{task_id}").links() if link.endswith("/cancel")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{", "must be a JSON object"),
        ("[1]", "must be a JSON object"),
        ("[" * 100_000, "must be a JSON object"),
        ("{}", "text must stay"),
        ('{"text": "x", "colour": 1}', "colour"),
        ('{"text": "x", "file_path": "/etc/passwd"}', "file_path"),
        ('{"text": NaN}', ""),
        (json.dumps({"text": f"store://sha256/{'0' * 64}"}), "there is no file at"),
    ],
    ids=range(8),
)
def test_arguments_that_cannot_be_are_named_and_what_was_typed_is_kept(operator, arguments, said):
    task_id = "replayed-2"
    if parts().tasks.read(task_id) is None:
        failed(task_id, kwargs={"text": "bad"})
    answer = operator.submit(f"/tasks/{task_id}/replay", {"arguments": arguments})
    assert answer.status_code == 422, answer.text
    page = Html(answer.text)
    assert said in page.text
    assert page.all("textarea")[0].text.strip() == arguments
    assert parts().tasks.read(task_id).retried_as is None


def test_what_cannot_be_repeated_says_why(operator):
    task_id = draft("replayed-3")
    assert "cannot be submitted again: it is PENDING" in operator.html(f"/tasks/{task_id}/replay").text
    assert len(operator.html(f"/tasks/{task_id}/replay").forms) == 1  # the log-out
    answer = operator.post(f"/tasks/{task_id}/replay", {"arguments": "{}"})
    assert (answer.status_code, "cannot be replayed" in answer.text) == (422, True)


def watched(browser, task_id: str, then, path: str = "") -> list[tuple[str, str]]:
    """The events of a task, each with its text; `then` is called at the first one."""
    found = []
    with browser.client.stream(
        "GET", path or f"/tasks/{task_id}/events", headers={"Accept": "text/event-stream"}
    ) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("event: "):
                found.append((line.removeprefix("event: "), ""))
                if len(found) == 1:
                    then()
            elif line.startswith("data: "):
                found[-1] = (found[-1][0], found[-1][1] + line.removeprefix("data: "))
    return found


def test_a_watcher_is_told_each_change_and_the_end(viewer):
    task_id = draft("watched-1", delay=0)
    told = watched(viewer, task_id, lambda: celery_service.cancel_task(task_id))
    states = [Html(text).text.split()[-1] for name, text in told if name == "state"]
    assert states == ["PENDING", "REVOKED"]
    assert told[-1] == ("end", "")
    assert not [text for name, text in told if name in {"logs", "lines"}]  # it has logged nothing
    assert viewer.get("/tasks/never-was/events").status_code == 404


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("dashboard.pages.tasks.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("web.watching.LOOKING_SECONDS", 0.05)


def test_a_watcher_is_told_those_lines_alone_that_the_page_does_not_show(viewer, quick):
    task_id = draft("watched-2", delay=0)
    logged(task_id, "before you <look>")
    page = viewer.html(f"/tasks/{task_id}")
    assert "before you <look>" in page.text
    path = next(tag.attributes["sse-connect"] for tag in page.tags if "sse-connect" in tag.attributes)
    assert re.fullmatch(rf"/tasks/{task_id}/events\?after=[0-9]+", path)

    def goes_on():
        logged(task_id, "while you <look>", 2)
        celery_service.cancel_task(task_id)

    told = watched(viewer, task_id, goes_on, path)
    assert [(name, "while you &lt;look&gt;" in text, "before" in text) for name, text in told if "l" in name] == [
        ("lines", True, False)
    ]
    for other in ("", "?after=1", "?after=x", "?after=99999999999999999999"):  # who comes back gets them all, once
        told = watched(viewer, task_id, lambda: None, f"/tasks/{task_id}/events{other}")
        assert [(name, text.count("before"), text.count("while")) for name, text in told if "l" in name] == [
            ("logs", 1, 1)
        ]


def test_lines_are_read_and_masked_once_for_all_who_look(viewer, monkeypatch):
    task_id = draft("watched-3", delay=0)
    logged(task_id, "password=hunter2")
    really, read = parts().task_logs.of, []
    monkeypatch.setattr(parts().task_logs, "of", lambda *given, **more: read.append(given) or really(*given, **more))
    celery_service.cancel_task(task_id)
    for _ in range(3):
        viewer.html(f"/tasks/{task_id}")
        watched(viewer, task_id, lambda: None)
    assert len(read) == 1


def test_who_misses_more_lines_than_a_page_shows_gets_the_last_ones_anew(viewer, monkeypatch):
    monkeypatch.setattr(tails, "LINES", 2)
    task_id = draft("watched-4")
    logged(task_id, "one")
    first = tails.newest(task_id)
    logged(task_id, "two", 2)
    assert tails.tail(task_id, first.place, first.place + 1).event == "lines"
    logged(task_id, "three", 3)
    last = tails.newest(task_id)
    anew = tails.tail(task_id, first.place, last.place)
    assert (anew.event, anew.place) == ("logs", last.place)
    assert ["one" in anew.html, "two" in anew.html, "three" in anew.html] == [False, True, True]


def test_who_has_logged_out_is_told_nothing_more(viewer, quick, monkeypatch):
    task_id = draft("watched-5", delay=0)
    told = watched(viewer, task_id, lambda: users.log_out(viewer.session()))
    assert told[-1] == ("end", "")
    assert celery_service.get_task_status(task_id)["status"] == "PENDING"


# --- Keys ---------------------------------------------------------------------------------------------------------


def test_a_form_of_a_key_that_is_sent_again_makes_no_other_one(admin):
    fields = admin.html("/keys").forms[-1].fields | {"name": "sent twice", "days": "3"}
    first, again = (admin.client.post("/keys", data=fields) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 422)
    assert "This form was sent before" in again.text
    (made,) = (one for one in api_keys.listed() if one["name"] == "sent twice")
    acts = audit.acts(WantedActs(target_kind="key", target_id=made["id"]), 5)
    assert [one.act for one in acts] == ["key.add"]


def test_a_key_is_shown_once_and_revoked_after_a_page_that_names_it(admin):
    answer = admin.submit("/keys", {"name": "of the dashboard", "scope": "submit", "tenant": "acme", "days": "3"})
    assert answer.status_code == 201
    key = re.search(r"csai_[\w-]{43}", Html(answer.text).text)[0]
    made = api_keys.listed()[0]
    assert (made["name"], made["scopes"], made["tenant"]) == ("of the dashboard", ["read", "submit"], "acme")
    headers = {"Authorization": f"Bearer {key}"}
    assert admin.client.get("/api/v1/tasks/never", headers=headers).status_code == 404
    assert key not in admin.get("/keys").text
    assert key not in admin.get("/audit").text
    assert "Revoke 1 key: of the dashboard?" in admin.html(f"/keys/{made['id']}/revoke").text
    assert admin.submit(f"/keys/{made['id']}/revoke").headers["location"] == "/keys"
    assert "The key of the dashboard is revoked." in admin.html("/keys").text
    assert [one[0::2] for one in acts("key", made["id"])] == [("key.revoke", "dashboard"), ("key.add", "dashboard")]
    assert admin.get("/keys/0000000000000000/revoke").status_code == 404


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "name"),
        ({"scope": "root"}, "scopes"),
        ({"scope": "admin", "tenant": "acme"}, "cannot be an admin's"),
        ({"days": "0"}, "days"),
        ({"days": "99999999999999999999"}, "days"),
        ({"days": "soon"}, "days"),
    ],
    ids=range(6),
)
def test_a_key_that_cannot_be_is_named_and_what_was_typed_is_kept(admin, fields, said):
    before = len(api_keys.listed())
    answer = admin.submit("/keys", {"name": "kept", "scope": "read"} | fields)
    assert (answer.status_code, said in Html(answer.text).text) == (422, True)
    if "name" not in fields:
        assert 'value="kept"' in answer.text
    assert len(api_keys.listed()) == before


# --- Audit --------------------------------------------------------------------------------------------------------


def test_acts_are_filtered_by_the_address_and_followed_page_by_page(admin, monkeypatch):
    monkeypatch.setattr("dashboard.pages.audit.ROWS", 2)
    for number in range(5):
        parts().audit.add(Act("user", "paging", "thing.change", "cli", "thing", f"t{number}", number))
    path, found = "/audit?actor=paging&act=thing.change", []
    while path:
        page = admin.html(path)
        found += re.findall(r"thing (t\d)", page.text)
        path = next((tag.attributes["href"] for tag in page.all("a") if tag.text == "Older acts"), None)
        assert page.all("input")[1].attributes["value"] == "paging"
    assert found == ["t4", "t3", "t2", "t1", "t0"]
    assert "There is no such act" in admin.html("/audit?target_id=never").text
    assert "There is no such act" in admin.html("/audit?actor=%00%27;--").text


@pytest.mark.parametrize(
    "after", ["x", "2026-01-01,1", "2026-01-01T00:00:00,", ",1", "0001-01-01T00:00:00+23:59,1", "'", "a" * 90]
)
def test_a_place_that_is_none_is_refused(admin, after):
    assert admin.client.get("/audit", params={"after": after}).status_code == 422


def test_the_audit_is_filtered_by_time_page_by_page(admin, monkeypatch):
    monkeypatch.setattr("dashboard.pages.audit.ROWS", 2)
    for number in range(3):
        parts().audit.add(Act("user", "timing", "thing.change", "cli", "thing", f"timed-{number}", number))
    page = admin.html("/audit?actor=timing&at_from=2026-01-31T13:00&at_before=2999-01-31T13:00:00")
    values = {tag.attributes["name"]: tag.attributes["value"] for tag in page.all("input") if "value" in tag.attributes}
    assert (values["at_from"], values["at_before"]) == ("2026-01-31T13:00:00", "2999-01-31T13:00:00")
    (older,) = [link for link in page.links() if "after=" in link]
    assert ("timed-2" in page.text, "timed-0" in page.text) == (True, False)
    assert "timed-0" in admin.html(older).text
    assert "There is no such act" in admin.html("/audit?actor=timing&at_before=2026-01-31T13:00").text
    assert admin.get("/audit?at_from=yesterday").status_code == 422


def test_a_page_of_the_audit_leads_on_over_http_as_in_the_dashboard_and_nowhere_else(admin, monkeypatch):
    monkeypatch.setattr("dashboard.pages.audit.ROWS", 2)
    for number in range(4):
        parts().audit.add(Act("user", "both", "thing.change", "cli", "thing", f"b{number}", number))
    wanted = WantedActs(actor="both")
    cursor = audit.page(wanted, 2)["next_cursor"]
    page = admin.client.get("/audit", params={"actor": "both", "after": cursor})
    assert re.findall(r"thing (b\d)", Html(page.text).text) == ["b1", "b0"]
    assert [one["target"]["id"] for one in audit.page(wanted, 2, cursor)["items"]] == ["b1", "b0"]
    for params in ({"after": cursor}, {"actor": "both", "after": f"{cursor}x"}):
        assert admin.client.get("/audit", params=params).status_code == 422


# --- What takes long ----------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_takes_long_is_found_out_beside_who_asks_and_not_shown_when_it_is_old():
    clock, answers = Clock(), iter([1, 2, ValueError("no"), 3])

    def find():
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    recent = Recent(find, clock)
    assert recent.value(30) == 1
    assert recent.value() == 1
    clock.now += FRESH_SECONDS
    assert recent.value() in (1, 2)
    until(lambda: recent.value() == 2, what="it is found out again")
    clock.now += STALE_SECONDS
    assert recent.value(30) is None  # it failed, and what was found is too old
    until(lambda: recent.value() == 3, what="it is tried again")


def test_words_are_short():
    assert [words.span(one) for one in (None, 0, 59.6, 61, 3_700, 90_000)] == [
        "\N{EN DASH}", "0 s", "1 min 0 s", "1 min 1 s", "1 h 1 min", "1 d 1 h",
    ]  # fmt: skip
    assert words.utc("2026-01-01T01:00:00+02:00") == "2025-12-31 23:00:00 UTC"
    assert words.number(1234567).split() == ["1", "234", "567"]


def test_a_task_with_a_slash_in_its_id_has_its_page(admin):
    task_id = draft("of/a/strangers/events")
    page = admin.html(f"/tasks/{words.segment(task_id)}")
    assert task_id in page.text
    assert f"/tasks/{words.segment(task_id)}/cancel" in page.links()
    assert admin.html(f"/tasks/{words.segment(task_id)}/cancel").forms
    admin.html(f"/tasks/{task_id}", 404)
