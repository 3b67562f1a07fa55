"""Steering over HTTP: what the facade does, answers with, and that each change is written down once."""

from uuid import uuid4

import pytest

from records.audit import WantedActs
from records.task_moves import Failure
from records.task_records import Draft
from services import audit, retrying
from services import celery_service as celery_service_module
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.wiring import parts
from waiting import until

API = "/api/v1"


def acts_on(kind: str, target: str) -> list[str]:
    """What was done to it, the oldest first."""
    found = audit.acts(WantedActs(target_kind=kind, target_id=target), 20)
    return [one.act for one in found][::-1]


def waiting(**more) -> str:
    task_id = f"steered-{uuid4()}"
    parts().tasks.open(Draft(task_id, "texts.none", "ai_processing", "low_priority", delay=3600, **more))
    return task_id


def refusal(answer, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


# --- Queues -----------------------------------------------------------------------------------------------------


def test_a_queue_is_paused_resumed_and_drained_and_each_change_is_written_down(client):
    before = len(acts_on("queue", "low_priority"))
    assert client.post(f"{API}/queues/low_priority/pause").json() == {"changed": True}
    assert client.post(f"{API}/queues/low_priority/pause").json() == {"changed": False}
    assert client.get(f"{API}/queues").json()["queues"]["low_priority"]["paused"] is True
    assert client.post(f"{API}/queues/low_priority/resume").json() == {"changed": True}
    assert client.post(f"{API}/queues/low_priority/drain").json() == {"running": 0}
    assert client.post(f"{API}/queues/low_priority/resume").json() == {"changed": True}
    acts = ["queue.pause", "queue.resume", "queue.drain", "queue.resume"]
    assert acts_on("queue", "low_priority")[before:] == acts


def test_purging_tells_how_many_were_cancelled_and_leaves_what_is_due_later(client):
    due, later = f"steered-{uuid4()}", waiting()
    parts().tasks.open(Draft(due, "texts.none", "ai_processing", "low_priority"))
    answer = client.post(f"{API}/queues/low_priority/purge", json={"count": 1_000})
    assert answer.json()["cancelled"] >= 1
    assert celery_service.get_task_status(due)["status"] == "REVOKED"
    assert celery_service.get_task_status(later)["status"] == "PENDING"


def test_a_purge_is_counted_first_and_is_a_409_where_more_wait_than_were_confirmed(client):
    purge = f"{API}/queues/ai_processing/purge"
    first, second = (f"steered-{uuid4()}" for _ in range(2))
    parts().tasks.open(Draft(first, "texts.none", "ai_processing", "ai_processing"))
    count = client.post(f"{purge}/count").json()["count"]
    assert count >= 1
    parts().tasks.open(Draft(second, "texts.none", "ai_processing", "ai_processing"))
    answer = client.post(purge, json={"count": count})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:csai:count-changed")
    assert answer.json()["count"] == count + 1
    assert {celery_service.get_task_status(one)["status"] for one in (first, second)} == {"PENDING"}
    assert client.post(purge, json={"count": count + 1}).json() == {"cancelled": count + 1}
    assert client.post(f"{purge}/count").json() == {"count": 0}
    for body in (None, {}, {"count": None}, {"count": -1}, {"count": "7"}, {"many": 7}):
        assert refusal(client.post(purge, json=body))


@pytest.mark.parametrize("act", ["pause", "resume", "drain", "purge", "purge/count"])
def test_a_queue_that_nobody_knows_is_named(client, act):
    body = {"count": 1} if act == "purge" else None
    assert "no queue is named 'mine'" in refusal(client.post(f"{API}/queues/mine/{act}", json=body))


@pytest.mark.parametrize(("path", "place"), [("queues", ()), ("overview", ("now",))])
def test_how_queues_stand_is_told_without_asking_the_workers_which_takes_a_second(client, monkeypatch, path, place):
    asked = []
    monkeypatch.setattr(celery_app.control, "broadcast", lambda *what, **_: asked.append(what))
    answer = client.get(f"{API}/{path}")
    assert answer.status_code == 200, answer.text
    assert asked == []
    found = answer.json()
    for name in place:
        found = found[name]
    assert {one["consumers"] for one in found["queues"].values()} == {None}


# --- Limits -----------------------------------------------------------------------------------------------------


def test_a_limit_is_set_seen_and_cleared(client):
    scope = "tenant:steered"
    assert client.put(f"{API}/limits/{scope}", json={"rate": "5/m", "concurrency": 2}).status_code == 200
    found = {one["scope"]: one for one in client.get(f"{API}/limits").json()["items"]}
    assert (found[scope]["rate"], found[scope]["concurrency"]) == ("5/m", 2)
    assert client.delete(f"{API}/limits/{scope}").status_code == 200
    assert scope not in {one["scope"] for one in client.get(f"{API}/limits").json()["items"]}
    assert acts_on("limit", scope) == ["limit.set", "limit.clear"]


@pytest.mark.parametrize("body", [{"rate": "5/d"}, {"rate": 5}, {"concurrency": "many"}, {"colour": 1}, []])
def test_a_limit_that_is_none_is_refused(client, body):
    assert refusal(client.put(f"{API}/limits/tenant:steered", json=body))


# --- Schedules --------------------------------------------------------------------------------------------------


def test_a_schedule_lives_through_all_its_acts(client):
    name = f"steered {uuid4()}"
    body = {"name": name, "task": "monitoring.health_check", "every": 3600}
    assert client.post(f"{API}/schedules", json=body).status_code == 201
    assert "there is a schedule named" in refusal(client.post(f"{API}/schedules", json=body))
    assert client.patch(f"{API}/schedules/{name}", json={"every": 7200}).json()["every"] == 7200
    assert client.post(f"{API}/schedules/{name}/pause").json()["next_at"] is None
    assert client.post(f"{API}/schedules/{name}/resume").json()["next_at"] is not None
    answer = client.post(f"{API}/schedules/{name}/run")
    assert answer.status_code == 202
    assert celery_service.cancel_task(answer.json()["task_id"]) in (True, False)
    assert name in {one["name"] for one in client.get(f"{API}/schedules").json()["items"]}
    assert client.delete(f"{API}/schedules/{name}").status_code == 204
    acts = ["add", "change", "pause", "resume", "run", "remove"]
    assert acts_on("schedule", name) == [f"schedule.{act}" for act in acts]
    for answer in (client.delete(f"{API}/schedules/{name}"), client.post(f"{API}/schedules/{name}/run")):
        assert "schedule" in refusal(answer, 404)


def test_what_has_a_slash_in_its_name_is_reached_with_the_slash_encoded(client):
    schedule = {"name": "report/month", "task": "monitoring.health_check", "every": 3600.0}
    assert client.post(f"{API}/schedules", json=schedule).status_code == 201
    for path, answered in (("/pause", 200), ("/resume", 200), ("/run", 202)):
        assert client.post(f"{API}/schedules/report%2Fmonth{path}").status_code == answered, path
    assert client.patch(f"{API}/schedules/report%2Fmonth", json={"every": 60.0}).json()["name"] == "report/month"
    assert client.delete(f"{API}/schedules/report%2fmonth").status_code == 204
    task_id = f"of/{waiting()}/whole"
    parts().tasks.open(Draft(task_id, "texts.none", "ai_processing", "low_priority", delay=3600))
    path = f"{API}/tasks/{task_id.replace('/', '%2F')}"
    assert client.get(path).json()["task_id"] == client.get(f"{path}/whole").json()["task_id"] == task_id
    assert client.patch(f"{API}/contacts/shop%2Fann", json={"email": "ann@example.com"}).status_code == 200
    assert client.get(f"{API}/contacts/shop%2Fann").json()["email"] == "ann@example.com"
    assert client.get(f"{API}/contacts/shop%2Fann/inbox").json()["items"] == []
    assert client.get(f"{API}/contacts/shop/ann").status_code == 404


def test_a_schedule_takes_no_path_that_a_submit_would_not_take(client):
    body = {
        "name": "of a path",
        "task": "file_processing.process_image",
        "every": 60,
        "kwargs": {"file_path": "/etc/passwd"},
    }
    assert "file_path" in refusal(client.post(f"{API}/schedules", json=body))


@celery_app.task(name="test.reads_by_position", bind=True)
def reads_by_position(_self, title: str, file_path: str, *more: object) -> str:
    return title + file_path


@celery_app.task(name="test.takes_two_words", bind=True)
def takes_two_words(_self, title: str, word: str) -> str:
    return title + word


@pytest.mark.parametrize(
    "args",
    [["a", "/etc/passwd"], ["a", "https://example.com/a", {"path": "/etc/passwd"}], [{"directory": "/etc"}, "b"]],
)
def test_nor_does_it_take_one_by_position(client, args):
    body = {"name": f"by position {uuid4()}", "task": "test.reads_by_position", "every": 60, "args": args}
    assert "FILE_ROOTS" in refusal(client.post(f"{API}/schedules", json=body))
    made = client.post(f"{API}/schedules", json=body | {"args": ["a", "https://example.com/a"]})
    assert made.status_code == 201, made.text
    path = f"{API}/schedules/{body['name']}"
    assert "args.1" in refusal(client.patch(path, json={"args": ["a", "/etc/passwd"]}))
    assert client.patch(path, json={"every": 90}).status_code == 200
    assert client.delete(path).status_code == 204


def test_what_was_no_path_does_not_become_one_with_another_task(client):
    body = {"name": f"changed {uuid4()}", "task": "test.takes_two_words", "every": 60, "args": ["a", "/etc/passwd"]}
    assert client.post(f"{API}/schedules", json=body).status_code == 201
    path = f"{API}/schedules/{body['name']}"
    assert "args.1.file_path" in refusal(client.patch(path, json={"task": "test.reads_by_position"}))
    assert client.delete(path).status_code == 204


# --- People -----------------------------------------------------------------------------------------------------


def test_opt_outs_and_suppressions_are_added_listed_and_removed(client):
    number, address = "+491701234588", f"steered-{uuid4()}@example.com"
    assert client.post(f"{API}/opt-outs", json={"phone_number": number, "reason": "asked"}).json() == {"changed": True}
    assert client.post(f"{API}/opt-outs", json={"phone_number": number}).json() == {"changed": False}
    assert client.delete(f"{API}/opt-outs/{number}").json() == {"changed": True}
    assert client.post(f"{API}/suppressions", json={"address": address}).json()["address"] == address
    (found,) = client.get(f"{API}/suppressions", params={"address": address}).json()["items"]
    assert found["reason"] == "manual"
    assert client.delete(f"{API}/suppressions", params={"address": address}).json() == {"changed": True}
    assert client.delete(f"{API}/suppressions", params={"address": address}).json() == {"changed": False}
    assert acts_on("address", address) == ["suppression.add", "suppression.remove"]
    assert "phone_number" in refusal(client.post(f"{API}/opt-outs", json={"phone_number": "12"}))


def test_contacts_and_inboxes_are_read_and_changed(client):
    person = f"steered-{uuid4()}"
    assert client.get(f"{API}/contacts/{person}").status_code == 404
    assert client.patch(f"{API}/contacts/{person}", json={"email": "a@example.com"}).json()["email"] == "a@example.com"
    assert "email" in refusal(client.patch(f"{API}/contacts/{person}", json={"email": "nobody"}))
    assert client.get(f"{API}/contacts/{person}/inbox").json() == {"items": [], "unseen": 0, "unread": 0}
    assert client.post(f"{API}/contacts/{person}/inbox/mark", json={"ids": [1], "mark": "read"}).json() == {"marked": 0}
    assert client.delete(f"{API}/contacts/{person}").json() == {"changed": True}
    assert acts_on("person", person) == ["contact.set", "contact.delete"]


def test_marks_in_an_inbox_are_written_down(client):
    person = f"steered-{uuid4()}"
    item = parts().inbox.write(person, person, "welcome", "Hello", "Good day.", None)
    body = {"ids": [item], "mark": "read"}
    assert client.post(f"{API}/contacts/{person}/inbox/mark", json=body).json() == {"marked": 1}
    until(lambda: acts_on("person", person) == ["inbox.mark"], what="it is in the audit")


# --- Acts on many -----------------------------------------------------------------------------------------------


def test_an_act_on_many_is_counted_begun_and_undone(client):
    tag = f"steered-{uuid4()}"
    task_id = waiting(tags=[tag])
    meant = {"act": "cancel", "filter": {"tag": [tag]}}
    assert client.post(f"{API}/acts/count", json=meant).json() == {"count": 1, "too_many": False}
    more = waiting(tags=[tag])
    answer = client.post(f"{API}/acts", json=meant | {"count": 1})
    assert (answer.status_code, answer.json()["type"], answer.json()["count"]) == (409, "urn:csai:count-changed", 2)
    begun = client.post(f"{API}/acts", json=meant | {"count": 2})
    assert begun.status_code == 202
    undo = f"{API}/acts/{begun.json()['task_id']}/undo"
    assert [client.post(undo).json() for _ in range(2)] == [{"changed": True}, {"changed": False}]
    assert {celery_service.get_task_status(one)["status"] for one in (task_id, more)} == {"PENDING"}
    assert client.post(f"{API}/acts/{task_id}/undo").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"act": "purge", "filter": {}},
        {"act": "cancel", "filter": {"colour": "red"}},
        {"act": "cancel", "filter": {"state": ["GONE"]}},
        {"act": "cancel", "filter": []},
        {"act": "cancel"},
    ],
)
def test_an_act_that_is_none_is_refused(client, body):
    assert refusal(client.post(f"{API}/acts/count", json=body))


# --- Looking ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["workers", "workers/inspected", "effects", "people", "usage", "tasks/active", "tasks/failed", "health", "tasks"],
)
def test_what_can_be_looked_at_is_answered(client, path):
    away = path in ("health", "workers/inspected")  # no broker answers here
    assert client.get(f"{API}/{path}").status_code == (503 if away else 200)


def test_lists_of_whole_tasks_end_where_they_are_large(client, monkeypatch):
    text = {"text": "x" * 10_000}
    for task_id in (f"steered-{uuid4()}" for _ in range(3)):
        parts().tasks.open(Draft(task_id, "texts.none", "ai_processing", "low_priority", kwargs=text))
        assert parts().moves.fail_waiting(task_id, Failure("no", "ValueError"))
        parts().tasks.open(Draft(f"{task_id}-waits", "texts.none", "ai_processing", "low_priority", kwargs=text))
    for path, module in (("tasks/active", celery_service_module), ("tasks/failed", retrying)):
        assert len(client.get(f"{API}/{path}").json()["items"]) >= 3
        monkeypatch.setattr(module, "MOST_BYTES", 100)
        assert len(client.get(f"{API}/{path}").json()["items"]) == 1


def test_tasks_are_listed_by_filters_a_page_at_a_time(client):
    tag = f"steered-{uuid4()}"
    ids = {waiting(tags=[tag]) for _ in range(3)}
    first = client.get(f"{API}/tasks", params={"tag": tag, "limit": 2, "state": "PENDING"}).json()
    second = client.get(
        f"{API}/tasks", params={"tag": tag, "limit": 2, "state": "PENDING", "cursor": first["next_cursor"]}
    ).json()
    assert {one["task_id"] for one in first["items"] + second["items"]} == ids
    assert second["next_cursor"] is None
    for query in ("state=GONE", "limit=0", "created_from=yesterday", "text=%00", "cursor=AAAA", "text=a&part=b"):
        assert refusal(client.get(f"{API}/tasks?{query}")), query


def test_the_document_names_the_scope_and_the_problems_of_each_route(client):
    document = client.get(f"{API}/openapi.json").json()
    operations = {
        one["operationId"]: one for path in document["paths"].values() for one in path.values() if "operationId" in one
    }
    assert operations["purge_queue"]["x-scope"] == "operate"
    assert {"401", "403", "422", "429"} <= set(operations["send_email"]["responses"])
    assert "security" not in operations["is_alive"]
    described = [
        (name, field)
        for name, one in operations.items()
        for field, schema in one.get("requestBody", {})
        .get("content", {})
        .get("application/json", {})
        .get("schema", {})
        .get("properties", {})
        .items()
        if not schema.get("description")
    ]
    assert described == []


@pytest.mark.parametrize(
    "path", ["campaigns/{}?after={}", "contacts/{}/inbox?before={}", "email/events?after={}", "suppressions?after={}"]
)
@pytest.mark.parametrize("number", [2**31, 2**63, 2**70])
def test_a_place_that_no_column_has_is_no_fault_of_ours(client, path, number):
    campaign = celery_service.queue_bulk_calls(["+15554417705"], delay_seconds=3600)
    with pytest.raises(ValueError, match="after"):
        celery_service.get_campaign(campaign, number)
    given = [campaign, number] if path.count("{}") > 1 else [number]
    answer = client.get(f"{API}/{path.format(*given)}")
    assert answer.status_code in (200, 422), answer.text


def test_an_item_that_no_column_has_is_no_fault_of_ours(client):
    answer = client.post(f"{API}/contacts/anybody/inbox/mark", json={"ids": [2**70], "mark": "read"})
    assert answer.status_code in (200, 422), answer.text
