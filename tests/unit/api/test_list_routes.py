"""Lists of bulks, of campaigns and of what happened to a call, and failures by the like of them, over HTTP."""

import itertools
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from pydantic import TypeAdapter
from sqlalchemy import insert

from api.answers import CallAttempt
from processors.call_messages import progress_of
from processors.errors import InvalidArgument
from processors.interfaces import MemberEnd
from records.call_events import CallEvent, Waits
from records.call_tables import call_attempts, calls
from records.columns import Now
from records.members import insert_members
from records.task_moves import Failure
from records.task_records import Draft
from services import api_keys, cursors, task_traces
from services.access import Caller, reach
from services.api_keys import NewKey
from services.celery_service import celery_service
from services.wiring import parts

API = "/api/v1"
ANN = Caller("user", "ann", reach(("admin",)), origin="cli")
NUMBERS = ["+15554417701", "+15554417702"]
FREE = itertools.count(44_330_001)
"""Ends of numbers that nobody else calls."""

LATER = {"delay_seconds": 3600}


def of_tenant(tenant: str) -> dict[str, str]:
    made = api_keys.add(ANN, NewKey(name="of a test", scopes=["read"], tenant=tenant))
    return {"Authorization": f"Bearer {made['key']}"}


def campaign(**options) -> str:
    return celery_service.queue_bulk_calls(NUMBERS, **LATER, **options)


def bulk(**options) -> str:
    mails = [{"to_email": f"u{n}@example.com", "subject": "s", "body": "b"} for n in range(3)]
    return celery_service.send_bulk_emails(mails, **LATER, **options)


@pytest.mark.parametrize(
    "path", ["tasks?status=FAILURE", "keys?limit=1", "campaigns?tags=a", "audit?user=ann", "tasks/x?w=1"]
)
def test_a_parameter_that_a_route_does_not_have_is_refused_and_not_left_out(client, path):
    answer = client.get(f"{API}/{path}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:csai:invalid-argument")
    assert answer.json()["detail"].startswith(path.partition("?")[2].partition("=")[0] + ":")


LISTS = [("campaigns", campaign, "campaign_id", 2), ("batches", bulk, "task_id", 3)]


# --- Bulks and campaigns ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "submit", "name", "total"), LISTS)
def test_bulks_and_campaigns_are_listed_a_page_at_a_time_with_how_their_members_stand(
    client, path, submit, name, total
):
    tag = f"listed-{uuid4()}"
    made = [submit(tags=[tag]) for _ in range(3)]
    celery_service.send_email("ann@example.com", "s", "b", tags=[tag], **LATER)
    celery_service.pause_task(made[0])
    first = client.get(f"{API}/{path}", params={"tag": tag, "limit": 2}).json()
    second = client.get(f"{API}/{path}", params={"tag": tag, "limit": 2, "cursor": first["next_cursor"]}).json()
    found = first["items"] + second["items"]
    assert {one[name] for one in found} == set(made)
    assert [one["created_at"] for one in found] == sorted((one["created_at"] for one in found), reverse=True)
    assert second["next_cursor"] is None
    assert {(one["total"], one["counts"]["pending"]) for one in found} == {(total, total)}
    assert {one[name]: one["paused"] for one in found} == {made[0]: True, made[1]: False, made[2]: False}
    celery_service.cancel_task(made[1])
    (ended,) = client.get(f"{API}/{path}", params={"tag": tag, "state": "REVOKED"}).json()["items"]
    assert (ended[name], ended["finished_at"] is not None, ended["paused"]) == (made[1], True, False)


@pytest.mark.parametrize(("path", "submit", "name", "total"), LISTS)
def test_a_tenant_sees_its_own_bulks_and_campaigns_alone(client, path, submit, name, total):
    tag, acme = f"walled-{uuid4()}", f"acme-{uuid4()}"
    submit(tags=[tag])
    own = submit(tags=[tag], tenant=acme)
    assert len(client.get(f"{API}/{path}", params={"tag": tag}).json()["items"]) == 2
    answer = client.get(f"{API}/{path}", params={"tag": tag}, headers=of_tenant(acme)).json()
    assert [one[name] for one in answer["items"]] == [own]
    answer = client.get(f"{API}/{path}", params={"tag": tag, "tenant": acme}, headers=of_tenant("other")).json()
    assert answer == {"items": [], "next_cursor": None}


def test_a_campaigns_members_are_listed_by_their_state(client):
    campaign_id = campaign()
    parts().members.close_all(campaign_id, [MemberEnd(0, "failed", {"reason": "busy"})])
    for state, positions in {"failed": [0], "pending": [1], "done": []}.items():
        answer = client.get(f"{API}/campaigns/{campaign_id}", params={"state": state})
        assert [one["position"] for one in answer.json()["members"]] == positions
        assert {one["state"] for one in answer.json()["members"]} <= {state}
    assert client.get(f"{API}/campaigns/{campaign_id}", params={"state": "gone"}).status_code == 422
    with pytest.raises(InvalidArgument, match="state"):
        celery_service.get_campaign(campaign_id, state="gone")


@pytest.mark.parametrize("path", ["campaigns", "batches"])
@pytest.mark.parametrize("query", ["state=GONE", "limit=0", "limit=101", "created_from=yesterday", "cursor=AAAA"])
def test_a_list_of_bulks_refuses_what_is_no_filter(client, path, query):
    answer = client.get(f"{API}/{path}?{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:csai:invalid-argument")


def test_a_cursor_of_campaigns_is_none_of_bulks(client):
    tag = f"mixed-{uuid4()}"
    for submit in (campaign, bulk):
        submit(tags=[tag]), submit(tags=[tag])
    cursor = client.get(f"{API}/campaigns", params={"tag": tag, "limit": 1}).json()["next_cursor"]
    assert client.get(f"{API}/batches", params={"tag": tag, "cursor": cursor}).status_code == 422


# --- Calls ------------------------------------------------------------------------------------------------------


def called(tenant: str | None = None) -> str:
    """A member of a campaign that is being called a second time."""
    name = f"called-{uuid4()}"
    options = {"name": "twilio_calls.queue_bulk_calls", "category": "twilio_calls", "queue": "twilio_calls"}
    parts().tasks.open(Draft(name, **options, is_parent=True, tenant=tenant))
    call_id, numbers = f"{name}:0", {"to_number": f"+4917{next(FREE)}", "from_number": "+14155550100"}
    ids = [uuid4().hex for _ in range(2)]

    def work(connection):
        insert_members(connection, name, [{"to_number": numbers["to_number"]}])
        call = {"id": call_id, "campaign_id": name, "position": 0, "state": "dialing", "attempts": 2}
        connection.execute(insert(calls).values(**call, **numbers, created_at=Now()))
        for number, attempt_id in enumerate(ids, 1):
            own = {"id": attempt_id, "call_id": call_id, "number": number, "campaign_id": name, "account": "AC1"}
            moments = {"sending_at": Now(number - 60), "doubt_until": Now(60), "look_at": Now(60)}
            state = "not_taken" if number == 1 else "sending"
            connection.execute(insert(call_attempts).values(**own, **moments, **numbers, state=state, looks=0))

    parts().database.write(work)
    for at, status in enumerate(("initiated", "ringing")):
        fields = {"CallStatus": status, "SequenceNumber": str(at)}
        told = {"attempt_id": ids[1], "call_sid": f"CA{ids[1]}", "account": "AC1"}
        event = CallEvent("status", f"{name}:{at}", progress=progress_of(fields), raw=fields, **told)
        parts().call_events.receive(event, lambda _: Waits(90, 3_600))
    return call_id


def pages(client: TestClient, path: str) -> list[dict]:
    found, cursor = [], None
    while True:
        answer = client.get(path, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) <= 2
        found += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return found


def test_the_attempts_of_a_call_and_what_happened_are_told_a_page_at_a_time(client):
    call_id = called()
    first, second = pages(client, f"{API}/calls/{call_id}/attempts")
    assert (first["number"], first["state"], first["call_sid"]) == (1, "not_taken", None)
    assert (second["number"], second["state"], second["status"]) == (2, "placed", "ringing")
    assert first["ordered_at"] < second["ordered_at"] < second["placed_at"]
    assert first["ordered_at"].endswith("+00:00")
    TypeAdapter(list[CallAttempt]).validate_python(task_traces.attempts_of(call_id), extra="forbid")
    events = pages(client, f"{API}/calls/{call_id}/events")
    assert [(one["attempt"], one["what"]) for one in events[:2]] == [(1, "ordered"), (2, "ordered")]
    assert {one["what"] for one in events[2:]} == {"placed", "initiated", "ringing"}
    assert [one["at"] for one in events] == sorted(one["at"] for one in events)
    assert "+4917" not in f"{first}{second}{events}"


@pytest.mark.parametrize("what", ["attempts", "events"])
def test_a_call_is_its_tenants_and_what_is_no_call_has_neither_attempts_nor_events(client, what):
    call_id = called(tenant="calling")
    path = f"{API}/calls/{call_id}/{what}"
    assert client.get(path, headers=of_tenant("calling")).json()["items"]
    assert client.get(path, headers=of_tenant("other")).status_code == 404
    assert client.get(f"{API}/calls/never-was/{what}").status_code == 404
    mail = celery_service.send_email("ann@example.com", "s", "b", **LATER)
    assert client.get(f"{API}/calls/{mail}/{what}").json() == {"items": [], "next_cursor": None}
    cursor = cursors.sealed([1], f"{what} of another call")
    assert client.get(path, params={"cursor": cursor}).status_code == 422


# --- Failures ---------------------------------------------------------------------------------------------------


def test_failures_are_told_by_the_like_of_them_with_the_filter_that_finds_them(client):
    name = f"texts.failing_{uuid4().hex}"
    for number in range(3):
        task_id = f"{name}-{number}"
        parts().tasks.open(Draft(task_id, name, "ai_processing", "ai_processing", delay=3600))
        parts().moves.fail_waiting(task_id, Failure("password='planted' is wrong", "PermanentError", fingerprint="f1"))
    answer = client.get(f"{API}/failures", params={"hours": 1})
    (group,) = [one for one in answer.json()["groups"] if one["name"] == name]
    assert (group["count"], group["open"], group["error_type"]) == (3, 3, "PermanentError")
    found = client.get(f"{API}/tasks", params=group["filter"]).json()["items"]
    assert {one["task_id"] for one in found} == {f"{name}-{number}" for number in range(3)}
    assert client.get(f"{API}/failures", params={"hours": 721}).status_code == 422
