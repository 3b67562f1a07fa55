"""Tasks over HTTP: waiting for one, watching it, and steering it, each by those who may see it."""

import asyncio
import json
import re
import threading
from urllib.request import Request, urlopen

import pytest

from call_faults import web_application
from call_rows import Phones
from config.settings import PROJECT_ROOT, settings
from processors.emails import DELIVERY_STATES
from processors.interfaces import MemberEnd
from records.audit import WantedActs
from records.task_moves import Failure
from records.task_records import Draft
from services import audit
from services.access import Caller, admin_key, reach
from services.api_keys import NewKey, add, listed
from services.celery_app import TASK_MODULES, celery_app
from services.celery_service import celery_service
from services.own_tasks import import_task_modules
from services.wiring import parts
from waiting import until
from web.watching import Watch

ANN = Caller("user", "ann", reach(("admin",)), origin="cli")
WAITS = "/api/v1/tasks/{}?wait=30"
NUMBERS = [f"+1555778{at:04}" for at in range(1000, 1003)]

import_task_modules()
OUR_TASKS = sorted(name for name, task in celery_app.tasks.items() if type(task).__module__ in TASK_MODULES)


def draft(task_id: str, **more) -> str:
    """A recorded task that waits, and that nobody publishes."""
    parts().tasks.open(Draft(task_id, "texts.none", "ai_processing", "ai_processing", delay=3600, **more))
    return task_id


@pytest.fixture
def phones() -> Phones:
    return Phones(parts().database)


def acts_on(task_id: str) -> list[str]:
    found = audit.acts(WantedActs(target_kind="task", target_id=task_id), 10)
    return [one.act for one in found]


def key_of(**more) -> dict[str, str]:
    made = add(ANN, NewKey(name="of a test", scopes=["operate"], **more))
    return {"Authorization": f"Bearer {made['key']}"}


# --- Waiting ----------------------------------------------------------------------------------------------------


def test_waiting_ends_as_soon_as_the_task_does(client):
    task_id = draft("wait-1")
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(client.get(WAITS.format(task_id))))
    waiter.start()
    until(lambda: client.app.state.watching._count == 1, 30, "somebody waits")
    assert celery_service.cancel_task(task_id)
    waiter.join(30)
    assert answers[0].json()["status"] == "REVOKED"
    assert client.app.state.watching._count == 0


def test_a_task_that_has_ended_is_answered_at_once_and_one_that_goes_on_after_the_wait(client):
    task_id = draft("wait-2")
    assert client.get(f"/api/v1/tasks/{task_id}?wait=0.01").json()["status"] == "PENDING"
    celery_service.cancel_task(task_id)
    assert client.get(WAITS.format(task_id)).json()["status"] == "REVOKED"
    assert client.get(WAITS.format("never-was")).status_code == 404


@pytest.mark.parametrize("wait", ["-1", "61", "inf", "nan", "long"])
def test_a_wait_has_bounds(client, wait):
    assert client.get(f"/api/v1/tasks/wait-2?wait={wait}").status_code == 422


def test_more_than_may_wait_are_told_so(client, monkeypatch):
    task_id = draft("wait-3")
    monkeypatch.setattr(client.app.state.watching, "_most", 0)
    answer = client.get(WAITS.format(task_id))
    assert (answer.status_code, "already wait" in answer.json()["detail"]) == (503, True)


@pytest.mark.parametrize("place", [WAITS, "/api/v1/tasks/{}/events"])
def test_more_than_may_wait_with_one_key_are_told_so_and_other_keys_come_in(client, monkeypatch, place):
    task_id, own = draft(f"wait-4-{len(place)}"), key_of()
    key_id = listed()[0]["id"]
    watching = client.app.state.watching
    monkeypatch.setattr(watching, "_most_of_one", 1)
    monkeypatch.setitem(watching._of, key_id, 1)
    answer = client.get(place.format(task_id), headers=own)
    assert (answer.status_code, answer.json()["type"]) == (429, "urn:csai:too-many-requests")
    assert "with this key" in answer.json()["detail"]
    celery_service.cancel_task(task_id)
    assert client.get(place.format(task_id)).status_code == 200


def test_a_campaigns_member_is_waited_for_and_one_that_goes_on_is_told_as_it_stands(client, phones):
    [call_id] = phones.campaign("wait-campaign", NUMBERS[:1])
    assert client.get(f"/api/v1/tasks/{call_id}?wait=0.01").json()["status"] == "PENDING"
    attempt_id = phones.placed(call_id, "CAw")
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(client.get(WAITS.format(call_id))))
    waiter.start()
    until(lambda: client.app.state.watching._count == 1, 30, "somebody waits")
    phones.tell(attempt_id, "CAw", "completed", duration_seconds=42)
    waiter.join(30)
    assert answers[0].json()["status"] == "SUCCESS"
    assert celery_service.cancel_task("wait-campaign"), "nothing is left that another test would list"


def test_a_wait_that_runs_out_tells_how_the_task_stands_then(client, monkeypatch):
    task_id = draft("wait-5")
    monkeypatch.setattr(Watch, "change", ends_meanwhile(task_id))
    assert client.get(f"/api/v1/tasks/{task_id}?wait=0.01").json()["status"] == "REVOKED"


def ends_meanwhile(task_id: str):
    """Return a wait of which the end of a task was not told."""

    async def change(_watch: Watch, _seconds: float) -> bool:
        celery_service.cancel_task(task_id)
        await asyncio.sleep(0.01)
        return False

    return change


# --- Watching ---------------------------------------------------------------------------------------------------


def test_events_tell_each_change_and_end_with_the_task(client):
    task_id = draft("events-1")
    statuses = []
    with client.stream("GET", f"/api/v1/tasks/{task_id}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                statuses.append(json.loads(line.removeprefix("data: "))["status"])
                celery_service.cancel_task(task_id)
    assert statuses == ["PENDING", "REVOKED"]
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["cache-control"] == "no-store"


def infos(client, task_id: str, then) -> list[dict]:
    """Return what the events of a task told; `then` is done after each, with how many there were."""
    told = []
    with client.stream("GET", f"/api/v1/tasks/{task_id}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                told.append(json.loads(line.removeprefix("data: ")))
                then(len(told))
    return told


def test_events_of_a_campaign_and_its_member_tell_what_becomes_of_calls(client, phones):
    [first, _] = phones.campaign("events-campaign", NUMBERS[:2])
    attempt_ids = []

    def go_on(count: int) -> None:
        if count == 1:
            attempt_ids.append(phones.placed(first, "CAe"))
        elif count == 2:
            phones.tell(attempt_ids[0], "CAe", "completed", duration_seconds=42)

    assert [one["status"] for one in infos(client, first, go_on)] == ["PENDING", "PROGRESS", "SUCCESS"]

    def end(count: int) -> None:
        if count == 1:
            parts().members.close_all("events-campaign", [MemberEnd(1, "cancelled", None)])
        else:
            celery_service.cancel_task("events-campaign")

    told = infos(client, "events-campaign", end)
    assert [one["status"] for one in told] == ["PROGRESS", "PROGRESS", "REVOKED"]
    assert [one["info"]["progress"] for one in told[:2]] == [50.0, 100.0]


def test_nobody_watches_a_task_that_is_not_there(client):
    assert client.get("/api/v1/tasks/never-was/events").status_code == 404


# --- Steering ---------------------------------------------------------------------------------------------------


def test_cancelling_is_told_and_written_down_once(client):
    task_id = draft("cancel-1")
    answers = [client.post(f"/api/v1/tasks/{task_id}/cancel").json() for _ in range(2)]
    assert answers == [{"changed": True}, {"changed": False}]
    assert acts_on(task_id) == ["task.cancel"]
    assert client.post("/api/v1/tasks/never-was/cancel").status_code == 404


def test_arguments_that_are_no_text_of_utf_8_are_answered_as_their_escapes(client):
    odd = {"a": "x\ud800\0", "ü": [1.5, None]}
    task_id = draft("no-text-1", kwargs=odd, tags=["no-text"])
    parts().moves.fail_waiting(task_id, Failure("it broke", "PermanentError"))
    failed = client.get("/api/v1/tasks/failed", params={"limit": 1_000}).json()["items"]
    assert next(one["kwargs"] for one in failed if one["task_id"] == task_id) == odd
    (listed,) = client.get("/api/v1/tasks", params={"tag": "no-text", "whole": "true"}).json()["items"]
    assert listed["kwargs"] == odd
    assert client.get(f"/api/v1/tasks/{task_id}").status_code == 200


def test_killing_all_is_told_and_written_down(client, monkeypatch):
    killed = {"killed_count": 3, "failed_count": 0, "failed_task_ids": []}
    monkeypatch.setattr(celery_service, "kill_all_tasks", lambda: killed)
    count = client.post("/api/v1/tasks/kill-all/count").json()["count"]
    assert client.post("/api/v1/tasks/kill-all", json={"count": count}).json() == killed
    assert audit.acts(WantedActs(act="task.kill_all"), 1)[0].count == 3


def test_killing_all_wants_the_count_and_is_a_409_where_there_are_more_by_then(client, monkeypatch):
    monkeypatch.setattr(celery_service, "kill_all_tasks", lambda: pytest.fail("all was killed"))
    count = client.post("/api/v1/tasks/kill-all/count").json()["count"]
    task_id = draft("kill-1")
    for body in (None, {}, {"count": None}, {"count": -1}, {"count": "9"}):
        assert client.post("/api/v1/tasks/kill-all", json=body).status_code == 422
    answer = client.post("/api/v1/tasks/kill-all", json={"count": count})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:csai:count-changed")
    assert answer.json()["count"] == count + 1
    assert celery_service.cancel_task(task_id)


def test_a_number_that_opts_out_and_in_again_is_told_and_written_down(client):
    assert client.post("/api/v1/opt-outs", json={"phone_number": "+15554417709"}).status_code < 300
    assert client.delete("/api/v1/opt-outs/+15554417709").status_code < 300
    found = audit.acts(WantedActs(target_kind="number"), 2)
    assert [one.act for one in found] == ["opt_out.remove", "opt_out.add"]


def test_every_act_has_a_name_that_the_audit_takes():
    source = "".join(path.read_text() for path in (PROJECT_ROOT / "src").rglob("*.py"))
    names = re.findall(r'"((?:[a-z_-]+)\.[a-z_-]+)"(?=, (?:target|count|sure|celery_service))', source)
    assert len(names) > 20
    assert [name for name in names if not audit.ACT.fullmatch(name)] == []


def test_only_what_has_parts_can_be_paused(client):
    answer = client.post(f"/api/v1/tasks/{draft('pause-1')}/pause")
    assert (answer.status_code, "has no parts" in answer.json()["detail"]) == (422, True)


def failed(task_id: str, **kwargs) -> str:
    """A task that has failed."""
    name = "ai_processing.analyze_sentiment"
    parts().tasks.open(Draft(task_id, name, "ai_processing", "ai_processing", kwargs=kwargs))
    started = parts().moves.start(task_id, 0, "worker-of-a-test", "w@h", None)
    assert parts().moves.fail(task_id, started.run, Failure("no", "PermanentError"))
    return task_id


def test_a_failed_task_is_submitted_again_with_other_arguments_once(client):
    task_id = failed("replay-1", text="bad", detailed=True)
    answers = [client.post(f"/api/v1/tasks/{task_id}/replay", json={"arguments": {"text": "good"}}) for _ in range(2)]
    assert [one.status_code for one in answers] == [202, 202], answers[0].text
    assert answers[0].json() == answers[1].json()
    again = parts().tasks.read(answers[0].json()["task_id"])
    assert (again.kwargs, again.retry_of) == ({"text": "good", "detailed": True}, task_id)
    assert answers[0].headers["location"] == f"/api/v1/tasks/{again.id}"
    assert client.post(f"/api/v1/tasks/{again.id}/replay").status_code == 422
    assert client.post(f"/api/v1/tasks/{failed('replay-2', text='x')}/replay").status_code == 202


def test_a_task_is_told_with_what_a_replay_of_it_may_change_and_with_how_its_attempts_went(client):
    task_id = failed("whole-1", text="bad", api_key="hush")
    answer = client.get(f"/api/v1/tasks/{task_id}/whole")
    found = answer.json()
    assert (answer.status_code, found["status"], found["category"]) == (200, "FAILURE", "ai_processing")
    assert (found["args"], found["kwargs"]["text"], found["runs"]) == ([], "bad", 1)
    assert "hush" not in answer.text
    assert [one["what"] for one in found["timeline"]] == ["submitted", "started", "ended: FAILURE"]
    assert {*client.get(f"/api/v1/tasks/{task_id}").json()} < {*found}
    assert client.get("/api/v1/tasks/never-was/whole").status_code == 404


def test_a_replay_takes_no_path_that_a_submit_would_not_take(client):
    answer = client.post(f"/api/v1/tasks/{failed('replay-3')}/replay", json={"arguments": {"file_path": "/etc/passwd"}})
    assert (answer.status_code, "file_path" in answer.json()["detail"]) == (422, True)


def test_what_became_of_a_mail_is_listed_by_recipients_a_page_at_a_time(client):
    path = f"/api/v1/tasks/{draft('mailed', tenant='acme')}/deliveries"
    parts().deliveries.open("mailed", {0: {"b@example.com": "to", "a@example.com": "cc"}, 1: {"a@example.com": "to"}})
    first = client.get(path, params={"limit": 2}).json()["items"]
    assert [one["id"] for one in first] == ["0:a@example.com", "0:b@example.com"]
    assert first[0] | {"created_at": None} == {
        "id": "0:a@example.com",
        "position": 0,
        "address": "a@example.com",
        "role": "cc",
        "state": "queued",
        "attempts": 0,
        "code": None,
        "enhanced": None,
        "text": "",
        "created_at": None,
        "handed_at": None,
        "closed_at": None,
        "next_attempt_at": None,
    }
    assert [one["id"] for one in client.get(path, params={"after": first[-1]["id"]}).json()["items"]] == [
        "1:a@example.com"
    ]
    assert client.get(path, params={"states": ["accepted", "refused"]}).json() == {"items": []}
    assert len(client.get(path, params={"states": DELIVERY_STATES}).json()["items"]) == 3
    assert len(client.get(path, headers=key_of(tenant="acme")).json()["items"]) == 3
    assert client.get(path, headers=key_of(tenant="other")).status_code == 404
    assert client.get("/api/v1/tasks/nobody-mailed/deliveries").status_code == 404
    for wrong in (
        {"states": "lost"},
        {"after": "a@example.com"},
        {"after": "1:"},
        {"limit": 0},
        {"after": "9" * 20 + ":a"},
    ):
        answer = client.get(path, params=wrong)
        assert answer.status_code == 422, answer.text


def test_a_tenants_key_sees_and_steers_its_own_tasks_alone(client):
    own, others = draft("tenant-1", tenant="acme"), draft("tenant-2", tenant="other")
    key = key_of(tenant="acme")
    for task_id, expected in ((own, 200), (others, 404), (draft("tenant-3"), 404)):
        for path in ("", "?wait=0.01", "/logs", "/whole"):
            assert client.get(f"/api/v1/tasks/{task_id}{path}", headers=key).status_code == expected, (task_id, path)
    assert client.get(f"/api/v1/tasks/{others}/events", headers=key).status_code == 404
    for act in ("cancel", "pause", "resume", "replay", "resend"):
        assert client.post(f"/api/v1/tasks/{others}/{act}", headers=key).status_code == 404, act
    assert client.post(f"/api/v1/tasks/{own}/cancel", headers=key).json() == {"changed": True}
    assert celery_service.get_task_status(others)["status"] == "PENDING"


def test_a_tenants_submit_is_its_tenants(client):
    key = key_of(tenant="acme")
    answer = client.post("/api/v1/submit/analyze_sentiment", json={"text": "of a tenant"}, headers=key)
    assert parts().tasks.read(answer.json()["task_id"]).tenant == "acme"
    body = {"text": "of a tenant", "tenant": "other"}
    assert client.post("/api/v1/submit/analyze_sentiment", json=body, headers=key).status_code == 403
    call = {"original_task_id": draft("tenant-4", tenant="other"), "to_number": "+1234567890"}
    assert client.post("/api/v1/submit/retry_failed_call", json=call, headers=key).status_code == 404


def test_the_services_own_tasks_are_submitted_by_their_methods_with_a_small_key(client):
    made = add(ANN, NewKey(name="small", scopes=["submit"]))
    body = {"name": "cleanup.cleanup_old_tasks", "arguments": {"max_age_hours": 0}}
    answer = client.post("/api/v1/submit", json=body, headers={"Authorization": f"Bearer {made['key']}"})
    assert (answer.status_code, "scope operate" in answer.json()["detail"]) == (403, True)


@pytest.mark.parametrize("name", OUR_TASKS)
def test_no_tenants_key_submits_a_task_of_the_service_by_its_name(client, name):
    body = {"name": name, "arguments": {}}
    answer = client.post("/api/v1/submit", json=body, headers=key_of(tenant="acme"))
    assert (answer.status_code, "not a tenant's key" in answer.json()["detail"]) == (403, True)
    many = {"name": name, "many": [{}]}
    assert client.post("/api/v1/submit/submit_many", json=many, headers=key_of(tenant="acme")).status_code == 403
    schedule = {"name": f"of acme: {name}", "task": name, "every": 60.0}
    assert client.post("/api/v1/schedules", json=schedule, headers=key_of(tenant="acme")).status_code == 403


def test_our_tasks_are_those_that_a_tenants_key_could_harm_others_with():
    assert {"scheduling.act_on_tasks", "scheduling.retry_failed_tasks", "cleanup.cleanup_old_tasks"} < set(OUR_TASKS)
    assert {"twilio_calls.end_call", "monitoring.health_check", "email.send_bulk_emails"} < set(OUR_TASKS)


def test_a_tenants_key_replays_tasks_of_the_service_with_their_own_arguments_alone(client):
    task_id, key = "replayed-for-acme", key_of(tenant="acme")
    kwargs = {"act": "cancel", "filter": {}, "created_before": "2020-01-01T00:00:00Z", "wall": "acme", "most": 1}
    parts().tasks.open(Draft(task_id, "scheduling.act_on_tasks", "scheduling", "default", kwargs, tenant="acme"))
    run = parts().moves.start(task_id, 0, "worker-of-replays", "w@h", None).run
    assert parts().moves.fail(task_id, run, Failure("no", "PermanentError"))
    place = f"/api/v1/tasks/{task_id}/replay"
    answer = client.post(place, json={"arguments": {"wall": None}}, headers=key)
    assert (answer.status_code, "own arguments" in answer.json().get("detail", "")) == (403, True)
    again = client.post(place, headers=key)
    assert again.status_code == 202, again.text
    assert parts().tasks.read(again.json()["task_id"]).kwargs["wall"] == "acme"
    celery_service.cancel_task(again.json()["task_id"])


# --- Over a real socket -----------------------------------------------------------------------------------------


def test_a_reader_that_leaves_is_not_waited_for():
    task_id = draft("events-2")
    with web_application() as url:
        asked = Request(
            f"{url}/api/v1/tasks/{task_id}/events", headers={"Authorization": f"Bearer {admin_key(settings)}"}
        )
        with urlopen(asked, timeout=30) as stream:
            assert stream.readline() == b"event: status\n"
    # the server has ended, because nobody held it
