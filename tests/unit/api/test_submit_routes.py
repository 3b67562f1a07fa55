"""Submits over HTTP: every method of the facade by its name, its arguments checked as the facade checks them."""

import inspect
from pathlib import Path

import pytest

from api.examples import EXAMPLES
from api.routes.submit import MOST_BYTES
from config.settings import settings
from records.audit import WantedActs
from services import audit
from services.celery_service import CeleryService, celery_service
from services.facade_methods import methods
from services.wiring import parts
from waiting import until

OWN = {"submit", "replay_task", "resend_failed", "run_schedule_now"}
"""What returns an id as well, and has a route of its own or takes a task that exists."""


@pytest.fixture
def rooted(tmp_path, monkeypatch):
    """A folder of FILE_ROOTS."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setattr(settings, "file_roots", [root])
    return root


def submit(client, method: str, body: dict, **headers):
    return client.post(f"/api/v1/submit/{method}".rstrip("/"), json=body, headers=headers)


def refusal(answer) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == 422, answer.text
    return answer.json()["detail"]


# --- Every method -----------------------------------------------------------------------------------------------


def test_every_method_that_submits_has_a_route_and_an_example():
    taking = {
        name
        for name, function in vars(CeleryService).items()
        if not name.startswith("_")
        and "queue" in (kinds := inspect.signature(function).parameters)
        and "options" in kinds
    }
    assert taking == set(methods()) - OWN
    assert set(EXAMPLES) == set(methods())


@pytest.mark.parametrize("method", sorted(set(EXAMPLES) - {"submit", "submit_many"}))
def test_the_example_of_a_method_is_accepted_and_recorded_as_the_facade_records_it(client, monkeypatch, method):
    if method == "cleanup_old_files":  # the only one that wants a setting
        monkeypatch.setattr(settings, "file_roots", [Path("/tmp")])
    answer = submit(client, method, EXAMPLES[method] | {"tags": [f"over-http-{method}"]})
    assert answer.status_code == 202, answer.text
    task_id = answer.json()["task_id"]
    assert answer.json() == {"task_id": task_id}
    assert answer.headers["location"] == f"/api/v1/tasks/{task_id}"
    ours = parts().tasks.read(task_id)
    facades = parts().tasks.read(getattr(celery_service, method)(**EXAMPLES[method] | {"idempotency_key": None}))
    assert (ours.name, ours.kwargs, ours.queue, ours.priority) == (
        facades.name,
        facades.kwargs,
        facades.queue,
        facades.priority,
    )
    assert ours.tags == [f"over-http-{method}"]


def test_a_task_of_any_name_is_submitted_by_it(client):
    answer = submit(client, "", {"name": "texts.none", "arguments": {}})
    assert "no task is named 'texts.none'" in refusal(answer)
    body = {"name": "ai_processing.analyze_sentiment", "arguments": {"text": "fine"}, "priority": "high"}
    record = parts().tasks.read(submit(client, "", body).json()["task_id"])
    assert (record.name, record.kwargs["text"], record.priority) == (body["name"], "fine", "high")
    assert refusal(submit(client, "", {"name": "ai_processing.analyze_sentiment", "arguments": {"words": "fine"}}))
    assert refusal(submit(client, "", {"name": "celery.backend_cleanup", "arguments": {}}))


SENTIMENTS = {"name": "ai_processing.analyze_sentiment", "many": [{"text": f"text {n}"} for n in range(1_000)]}


def test_many_tasks_of_one_name_are_submitted_at_once_and_are_one_act(client):
    body = SENTIMENTS | {"tags": ["many"], "priority": "high"}
    answer = submit(client, "submit_many", body)
    assert (answer.status_code, list(answer.json())) == (202, ["task_ids"]), answer.text
    ids = answer.json()["task_ids"]
    records = [parts().tasks.read(one) for one in ids]
    assert [one.kwargs["text"] for one in records] == [one["text"] for one in SENTIMENTS["many"]]
    assert {(one.priority, tuple(one.tags)) for one in records} == {("high", ("many",))}
    (act,) = until(lambda: audit.acts(WantedActs(target_kind="task", target_id=ids[0]), 9))
    assert (act.act, act.count, act.details) == ("task.submit", 1_000, {"method": "submit_many"})


def test_the_same_key_is_the_same_many(client):
    key = {"Idempotency-Key": "one-key-of-many"}
    first = submit(client, "submit_many", SENTIMENTS, **key).json()
    assert submit(client, "submit_many", SENTIMENTS, **key).json() == first
    other = submit(client, "submit_many", SENTIMENTS | {"many": SENTIMENTS["many"][:2]}, **key)
    assert (other.status_code, other.json()["task_id"]) == (409, first["task_ids"][0])


def test_a_bad_one_of_many_is_named_by_its_place(client, rooted):
    good, name = SENTIMENTS["many"][0], SENTIMENTS["name"]
    for bad, words in (({"text": 5}, "many[1].text"), ({"words": "x"}, "many[1]."), ("x", "many.1: ")):
        assert words in refusal(submit(client, "submit_many", {"name": name, "many": [good, bad]}))
    assert "many: must have" in refusal(submit(client, "submit_many", {"name": name, "many": []}))
    body = {"name": "file_processing.process_document", "many": [{"file_path": "/etc/passwd"}]}
    assert "many.0.file_path" in refusal(submit(client, "submit_many", body))


def test_many_may_have_as_large_a_body_as_other_methods_with_many_items(client):
    large = [{"text": "x" * 900_000} for _ in range(9)]
    assert len(large) * 900_000 > MOST_BYTES
    assert submit(client, "submit_many", SENTIMENTS | {"many": large}).status_code == 202


def test_each_of_many_keeps_the_upload_that_it_names_and_no_others(client):
    kept = [client.post("/api/v1/uploads", params={"name": f"{n}.txt"}, content=f"kept for {n}").json() for n in (1, 2)]
    many = [{"file_path": one["file_path"]} for one in kept]
    referred = list[tuple[str, str]]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(parts().storage), "refer", lambda _self, uri, task_id: referred.append((task_id, uri)))
        answer = submit(client, "submit_many", {"name": "file_processing.process_document", "many": many})
    assert referred == list(zip(answer.json()["task_ids"], [one["uri"] for one in kept], strict=True))


# --- What is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "body", "words"),
    [
        ("send_email", {}, "to_email: Field required"),
        ("send_email", {"to_email": "a@example.com", "subject": "s", "body": "b", "colour": 1}, "colour"),
        ("send_email", {"to_email": 5, "subject": "s", "body": "b"}, "to_email"),
        ("send_email", {"to_email": "a@example.com", "subject": "s", "body": "b", "queue": "mine"}, "queue"),
        ("send_email", {"to_email": "a@example.com", "subject": "s", "body": "b", "session": {}}, "session"),
        ("send_email", {"to_email": "a@example.com", "subject": "s\nBcc: x", "body": "b"}, "subject"),
        ("queue_outbound_call", {"to_number": "12"}, "to_number"),
        ("schedule_call", {"to_number": "+1234567890", "schedule_time": "2001-01-01T00:00:00Z"}, "schedule_time"),
        ("queue_bulk_calls", {"phone_numbers": []}, "phone_numbers"),
        ("process_chat", {"message": "m", "context": [{"role": "cook", "content": "x"}]}, "context"),
        ("generate_embedding", {"text": "x" * 1_000_001}, "text"),
        ("health_check", {"due_at": "yesterday"}, "due_at"),
        ("health_check", {"delay_seconds": 1, "due_at": "2090-01-01T00:00:00Z"}, "due_at"),
        ("health_check", {"priority": "urgent"}, "priority"),
        ("health_check", {"tags": "one"}, "tags"),
    ],
)
def test_a_bad_argument_is_named_and_nothing_is_recorded(client, method, body, words):
    answer = submit(client, method, body, **{"Idempotency-Key": f"never-{method}-{words}-{len(str(body))}"})
    assert words in refusal(answer)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"a": NaN}', b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(client, body):
    answer = client.post("/api/v1/submit/health_check", content=body)
    assert refusal(answer)


def test_a_body_that_is_too_large_is_refused_before_it_is_read_whole(client):
    taken = 0

    def pieces():
        nonlocal taken
        while taken < 100 * MOST_BYTES:
            taken += 1_000_000
            yield b" " * 1_000_000

    assert client.post("/api/v1/submit/health_check", content=pieces()).status_code == 413


def test_a_method_that_does_not_submit_is_none_here(client):
    assert submit(client, "kill_all_tasks", {}).status_code == 404
    assert submit(client, "_checked", {}).status_code == 404


@pytest.mark.parametrize("method", ["", *sorted(set(EXAMPLES) - {"submit"})])
def test_nobody_submits_without_a_key(client, method):
    answer = client.post(f"/api/v1/submit/{method}".rstrip("/"), json={}, headers={"Authorization": ""})
    assert answer.status_code == 401


# --- The same key again -----------------------------------------------------------------------------------------


def test_the_same_idempotency_key_in_header_or_argument_is_one_task(client):
    body = {"text": "once"}
    first = submit(client, "analyze_sentiment", body, **{"Idempotency-Key": "one-key"}).json()
    assert submit(client, "analyze_sentiment", body, **{"Idempotency-Key": "one-key"}).json() == first
    assert submit(client, "analyze_sentiment", body | {"idempotency_key": "one-key"}).json() == first
    other = submit(client, "analyze_sentiment", {"text": "another"}, **{"Idempotency-Key": "one-key"})
    assert (other.status_code, other.json()["task_id"]) == (409, first["task_id"])
    both = submit(client, "analyze_sentiment", body | {"idempotency_key": "b"}, **{"Idempotency-Key": "a"})
    assert "they differ" in refusal(both)
    assert "idempotency_key" in refusal(submit(client, "analyze_sentiment", body, **{"Idempotency-Key": "k" * 256}))


# --- Paths ------------------------------------------------------------------------------------------------------


def test_a_path_is_taken_below_file_roots_alone(client, rooted):
    inside = rooted / "report.pdf"
    for path in (inside, f"{rooted}/a/../report.pdf", f"file://{inside}"):
        assert submit(client, "process_document", {"file_path": str(path)}).status_code == 202, path
    (rooted / "away").symlink_to("/etc")
    for path in (
        "/etc/passwd",
        f"{rooted}/../secret",
        f"{rooted}x/report.pdf",
        f"{rooted}/away/passwd",
        "report.pdf",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        f"file://elsewhere{inside}",
        f"file:///{rooted}/%2e%2e/secret",
        "ftp://example.com/x",
        "s3://bucket/x",
        "",
        f"{rooted}/a\0b",
    ):
        assert "file_path" in refusal(submit(client, "process_document", {"file_path": path})), path


def test_paths_deep_in_arguments_are_looked_at_too(client, rooted):
    mail = {"to_email": "a@example.com", "subject": "s", "body": "b"}
    attached = mail | {"attachments": [{"path": "/etc/passwd"}]}
    assert "attachments.0.path" in refusal(submit(client, "send_email", attached))
    assert "emails.1.attachments.0.path" in refusal(submit(client, "send_bulk_emails", {"emails": [mail, attached]}))
    shown = mail | {"html_body": "<img src='cid:a'>", "inline_images": {"a": {"path": "/etc/passwd"}}}
    assert "inline_images.a.path" in refusal(submit(client, "send_email", shown))
    assert "directory" in refusal(submit(client, "cleanup_old_files", {"directory": "/etc"}))
    by_name = {"name": "file_processing.process_document", "arguments": {"file_path": "/etc/passwd"}}
    assert "arguments.file_path" in refusal(submit(client, "", by_name))
    assert submit(client, "process_image", {"file_path": "https://example.com/a.png"}).status_code == 202


def test_without_file_roots_no_path_is_taken(client, tmp_path):
    assert "FILE_ROOTS" in refusal(submit(client, "process_image", {"file_path": str(tmp_path / "a.png")}))
