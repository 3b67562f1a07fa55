"""The header Idempotency-Key: a POST does its work once for it, needs none, or refuses it."""

from uuid import uuid4

import pytest

from records.audit import WantedActs
from records.task_records import Draft
from services import audit, task_acts
from services.celery_service import celery_service
from services.wiring import parts

API = "/api/v1"
HEADER = "Idempotency-Key"
REFUSING = {
    "POST /api/v1/effects/{key}/settle",
    "POST /api/v1/keys",
    "POST /api/v1/queues/{queue_name}/purge",
    "POST /api/v1/schedules",
    "POST /api/v1/tasks/kill-all",
    "POST /api/v1/webhooks",
    "POST /api/v1/webhooks/{webhook_id}/secret",
    "POST /api/v1/webhooks/{webhook_id}/test",
}


@pytest.fixture
def schedule(client):
    """The address of a schedule."""
    name = f"once {uuid4()}"
    body = {"name": name, "task": "monitoring.health_check", "every": 3600}
    assert client.post(f"{API}/schedules", json=body).status_code == 201
    yield f"{API}/schedules/{name}"
    client.delete(f"{API}/schedules/{name}")


def post(client, path: str, key: str, body: object = None):
    return client.post(path, json=body, headers={HEADER: key})


def waiting(tag: str) -> str:
    task_id = f"once-{uuid4()}"
    parts().tasks.open(Draft(task_id, "texts.none", "ai_processing", "low_priority", delay=3600, tags=[tag]))
    return task_id


def test_the_document_names_the_header_at_every_post_that_takes_it_and_the_others_refuse_it(client):
    refusing = set()
    for path, operations in client.get(f"{API}/openapi.json").json()["paths"].items():
        operation = operations.get("post")
        if operation is None or "x-scope" not in operation:  # what a provider tells
            continue
        if HEADER in {one["name"] for one in operation.get("parameters", ())}:
            answer = post(client, path, "k" * 256)
            assert (answer.status_code, "idempotency_key" in answer.json()["detail"]) == (422, True), path
            continue
        refusing.add(f"POST {path}")
        answer = post(client, path, "k")
        assert (answer.status_code, answer.json()["detail"].startswith(HEADER)) == (422, True), path
    assert refusing == REFUSING


def test_two_keys_at_once_are_refused(client, schedule):
    headers = [("Authorization", client.headers["Authorization"]), (HEADER, "one"), (HEADER, "other")]
    for path in (f"{schedule}/run", f"{API}/submit/analyze_sentiment"):
        answer = client.post(path, json={"text": "fine"}, headers=headers)
        assert answer.status_code == 422, (path, answer.text)
        assert "give one" in answer.json()["detail"]


def test_what_is_refused_for_its_key_was_not_done(client):
    task_id = waiting("kept")
    assert post(client, f"{API}/tasks/kill-all", "k").status_code == 422
    assert celery_service.get_task_status(task_id)["status"] == "PENDING"
    assert celery_service.cancel_task(task_id)


def test_what_is_the_same_twice_takes_a_key(client):
    task_id = waiting("twice")
    answers = [post(client, f"{API}/tasks/{task_id}/cancel", "k") for _ in range(2)]
    assert [(one.status_code, one.json()["changed"]) for one in answers] == [(200, True), (200, False)]


def test_a_schedule_is_run_once_for_a_key_and_again_for_another_or_none(client, schedule):
    first, same = (post(client, f"{schedule}/run", "monday") for _ in range(2))
    assert (first.status_code, same.status_code) == (202, 202)
    assert first.json() == same.json()
    assert first.headers["location"] == same.headers["location"]
    others = [post(client, f"{schedule}/run", "tuesday"), *(client.post(f"{schedule}/run") for _ in range(2))]
    made = {first.json()["task_id"], *(one.json()["task_id"] for one in others)}
    assert len(made) == 4
    for task_id in made:
        assert parts().tasks.read(task_id).name == "monitoring.health_check"


def test_two_schedules_run_with_one_key_are_two_tasks(client, schedule):
    other = f"once {uuid4()}"
    assert client.post(
        f"{API}/schedules", json={"name": other, "task": "monitoring.health_check", "every": 60}
    ).is_success
    runs = [post(client, f"{one}/run", "shared").json()["task_id"] for one in (schedule, f"{API}/schedules/{other}")]
    assert len(set(runs)) == 2
    celery_service.remove_schedule(other)


def test_an_act_on_many_is_begun_once_for_a_key_and_its_key_begins_no_other(client):
    tag, key = f"once-{uuid4()}", f"once-{uuid4()}"
    task_id = waiting(tag)
    meant = {"act": "cancel", "filter": {"tag": [tag]}, "count": 1}
    first, same = (post(client, f"{API}/acts", key, meant) for _ in range(2))
    assert (first.status_code, same.status_code) == (202, 202)
    assert first.json() == same.json()
    assert client.post(f"{API}/acts/{first.json()['task_id']}/undo").json() == {"changed": True}
    again = post(client, f"{API}/acts", key, meant)
    assert again.json() == first.json()
    other = post(client, f"{API}/acts", key, meant | {"filter": {"tag": [tag, "x"]}})
    assert (other.status_code, other.json()["type"]) == (409, "urn:csai:idempotency-conflict")
    assert other.json()["task_id"] == first.json()["task_id"]
    assert celery_service.cancel_task(task_id)


def test_of_two_acts_that_begin_with_one_key_at_once_one_begins_and_the_other_is_refused(client, monkeypatch):
    tag, key = f"once-{uuid4()}", f"once-{uuid4()}"
    task_id = waiting(tag)
    meant = {"act": "cancel", "filter": {"tag": [tag]}, "count": 1}
    between = []

    def counted(*given):
        monkeypatch.undo()
        between.append(post(client, f"{API}/acts", key, meant))
        return count_of(*given)

    count_of = task_acts.count_of
    monkeypatch.setattr(task_acts, "count_of", counted)
    other = post(client, f"{API}/acts", key, meant | {"count": 2})
    assert between[0].status_code == 202
    assert (other.status_code, other.json()["type"]) == (409, "urn:csai:idempotency-conflict")
    monkeypatch.setattr(task_acts, "count_of", counted)
    key = f"once-{uuid4()}"
    same = post(client, f"{API}/acts", key, meant)
    assert same.json() == between[1].json()
    for one in between:
        act_id = one.json()["task_id"]
        assert len(audit.acts(WantedActs(target_id=act_id), 9)) == 1
        assert celery_service.cancel_task(act_id)
    assert celery_service.cancel_task(task_id)


def test_a_tenant_s_key_begins_no_act_of_another_s(client):
    made = [
        client.post(f"{API}/keys", json={"name": "k", "scopes": ["operate"], "tenant": tenant}).json()
        for tenant in ("once-a", "once-b")
    ]
    begun = []
    for one in made:
        task_id = f"once-{uuid4()}"
        parts().tasks.open(
            Draft(task_id, "texts.none", "ai_processing", "low_priority", delay=3600, tenant=one["tenant"])
        )
        headers = {"Authorization": f"Bearer {one['key']}", HEADER: "shared"}
        answer = client.post(f"{API}/acts", json={"act": "cancel", "filter": {}, "count": 1}, headers=headers)
        assert answer.status_code == 202, answer.text
        begun.append(answer.json()["task_id"])
        client.post(f"{API}/acts/{begun[-1]}/undo")
        celery_service.cancel_task(task_id)
    assert len(set(begun)) == 2
