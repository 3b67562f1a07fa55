"""Who may do what over HTTP: every route says it, every key is held to it, and what is done is written down."""

import asyncio
import json
import logging
import pkgutil
import re
import threading
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from sqlalchemy import update

from api import app, guards, routes
from api.app import create_app
from api.guards import Door, GuardedRoute, address_of, everybody, guarded, require
from api.routes import tasks
from config.settings import PROJECT_ROOT, Settings, ensure_folders, settings
from examples.celery_example import BOUNCE
from processors.errors import ConfigurationError, ServiceUnavailable
from records.api_keys import api_keys as key_rows
from records.audit import WantedActs
from records.audit import audit as audit_rows
from records.columns import Now
from services import api_keys, audit, cursors
from services.access import SCOPES, Caller, admin_key, digest_of, new_key, reach
from services.api_keys import NewKey
from services.celery_service import celery_service
from services.facade_methods import OF_ALL_TENANTS, OPERATING, SUBMITTING
from services.wiring import parts
from waiting import until

ANN = Caller("user", "ann", reach(("admin",)), origin="cli")

ROUTES = {
    ("GET", "/api/v1/audit"): "admin",
    ("POST", "/api/v1/acts"): "operate",
    ("POST", "/api/v1/acts/count"): "operate",
    ("POST", "/api/v1/acts/{task_id}/undo"): "operate",
    ("GET", "/api/v1/batches"): "read",
    ("GET", "/api/v1/calls/{call_id}/attempts"): "read",
    ("GET", "/api/v1/calls/{call_id}/events"): "read",
    ("GET", "/api/v1/campaigns"): "read",
    ("GET", "/api/v1/campaigns/{campaign_id}"): "read",
    ("GET", "/api/v1/campaigns/{campaign_id}/export"): "operate",
    ("POST", "/api/v1/campaigns/{campaign_id}/pause"): "operate",
    ("POST", "/api/v1/campaigns/{campaign_id}/resume"): "operate",
    ("POST", "/api/v1/campaigns/{campaign_id}/cancel"): "operate",
    ("GET", "/api/v1/contacts/{user_id}"): "operate",
    ("PATCH", "/api/v1/contacts/{user_id}"): "operate",
    ("DELETE", "/api/v1/contacts/{user_id}"): "operate",
    ("GET", "/api/v1/contacts/{user_id}/inbox"): "read",
    ("POST", "/api/v1/contacts/{user_id}/inbox/mark"): "submit",
    ("GET", "/api/v1/openapi.json"): "read",
    ("GET", "/api/v1/effects"): "read",
    ("POST", "/api/v1/effects/{key:path}/settle"): "operate",
    ("POST", "/api/v1/email/bounces"): "submit",
    ("GET", "/api/v1/email/events"): "operate",
    ("GET", "/api/v1/email/unsubscribe-url"): "operate",
    ("GET", "/api/v1/tasks/{task_id}/vectors"): "read",
    ("POST", "/api/v1/email/events/{provider}"): None,
    ("GET", "/api/v1/failures"): "read",
    ("GET", "/api/v1/groups/{group_id}"): "read",
    ("GET", "/livez"): None,
    ("HEAD", "/livez"): None,
    ("GET", "/readyz"): None,
    ("HEAD", "/readyz"): None,
    ("GET", "/api/v1/health"): "read",
    ("GET", "/api/v1/overview"): "read",
    ("POST", "/api/v1/uploads"): "submit",
    ("GET", "/api/v1/artefacts/{sha256}"): "read",
    ("HEAD", "/api/v1/artefacts/{sha256}"): "read",
    ("GET", "/api/v1/keys"): "admin",
    ("POST", "/api/v1/keys"): "admin",
    ("DELETE", "/api/v1/keys/{key_id}"): "admin",
    ("GET", "/api/v1/limits"): "read",
    ("PUT", "/api/v1/limits/{scope}"): "operate",
    ("DELETE", "/api/v1/limits/{scope}"): "operate",
    ("GET", "/api/v1/logs"): "read",
    ("GET", "/api/v1/opt-outs"): "operate",
    ("POST", "/api/v1/opt-outs"): "operate",
    ("DELETE", "/api/v1/opt-outs/{phone_number}"): "operate",
    ("GET", "/api/v1/people"): "operate",
    ("DELETE", "/api/v1/people/{name}"): "operate",
    ("GET", "/api/v1/queues"): "read",
    ("POST", "/api/v1/queues/{queue}/pause"): "operate",
    ("POST", "/api/v1/queues/{queue}/resume"): "operate",
    ("POST", "/api/v1/queues/{queue}/drain"): "operate",
    ("POST", "/api/v1/queues/{queue_name}/purge"): "operate",
    ("POST", "/api/v1/queues/{queue_name}/purge/count"): "operate",
    ("GET", "/api/v1/schedules"): "read",
    ("POST", "/api/v1/schedules"): "operate",
    ("PATCH", "/api/v1/schedules/{name}"): "operate",
    ("DELETE", "/api/v1/schedules/{name}"): "operate",
    ("POST", "/api/v1/schedules/{name}/pause"): "operate",
    ("POST", "/api/v1/schedules/{name}/resume"): "operate",
    ("POST", "/api/v1/schedules/{name}/run"): "operate",
    ("GET", "/api/v1/suppressions"): "operate",
    ("POST", "/api/v1/suppressions"): "operate",
    ("DELETE", "/api/v1/suppressions"): "operate",
    ("GET", "/api/v1/tasks"): "read",
    ("GET", "/api/v1/tasks/active"): "read",
    ("GET", "/api/v1/tasks/failed"): "read",
    ("POST", "/api/v1/tasks/kill-all"): "admin",
    ("POST", "/api/v1/tasks/kill-all/count"): "admin",
    ("GET", "/api/v1/tasks/{task_id}"): "read",
    ("GET", "/api/v1/tasks/{task_id}/whole"): "read",
    ("GET", "/api/v1/tasks/{task_id}/events"): "read",
    ("GET", "/api/v1/tasks/{task_id}/deliveries"): "read",
    ("GET", "/api/v1/tasks/{task_id}/logs"): "read",
    ("POST", "/api/v1/tasks/{task_id}/cancel"): "operate",
    ("POST", "/api/v1/tasks/{task_id}/pause"): "operate",
    ("POST", "/api/v1/tasks/{task_id}/resume"): "operate",
    ("POST", "/api/v1/tasks/{task_id}/replay"): "operate",
    ("POST", "/api/v1/tasks/{task_id}/resend"): "operate",
    ("POST", "/api/v1/twilio/incoming-call"): None,
    ("POST", "/api/v1/twilio/heard"): None,
    ("POST", "/api/v1/twilio/call-status"): None,
    ("POST", "/api/v1/twilio/answered-by"): None,
    ("POST", "/api/v1/twilio/recording"): None,
    ("GET", "/api/v1/unsubscribe/{token}"): None,
    ("HEAD", "/api/v1/unsubscribe/{token}"): None,
    ("POST", "/api/v1/unsubscribe/{token}"): None,
    ("GET", "/api/v1/usage"): "read",
    ("GET", "/api/v1/webhooks"): "admin",
    ("POST", "/api/v1/webhooks"): "admin",
    ("PATCH", "/api/v1/webhooks/{webhook_id}"): "admin",
    ("DELETE", "/api/v1/webhooks/{webhook_id}"): "admin",
    ("POST", "/api/v1/webhooks/{webhook_id}/secret"): "admin",
    ("POST", "/api/v1/webhooks/{webhook_id}/test"): "admin",
    ("GET", "/api/v1/workers"): "read",
    ("GET", "/api/v1/workers/inspected"): "read",
    ("POST", "/api/v1/submit"): "submit",
    ("POST", "/api/v1/submit/submit_many"): "submit",
} | {("POST", f"/api/v1/submit/{name}"): "operate" if name in OPERATING else "submit" for name in SUBMITTING}
"""Of every route the scope that it wants; None: it is open."""

FOR_TENANTS = {
    ("GET", "/api/v1/tasks"),
    ("POST", "/api/v1/uploads"),
    ("GET", "/api/v1/tasks/{task_id}/vectors"),
    ("POST", "/api/v1/acts"),
    ("POST", "/api/v1/acts/count"),
    ("POST", "/api/v1/acts/{task_id}/undo"),
    ("GET", "/api/v1/campaigns/{campaign_id}"),
    ("GET", "/api/v1/campaigns/{campaign_id}/export"),
    ("GET", "/api/v1/batches"),
    ("GET", "/api/v1/calls/{call_id}/attempts"),
    ("GET", "/api/v1/calls/{call_id}/events"),
    ("GET", "/api/v1/campaigns"),
    ("POST", "/api/v1/campaigns/{campaign_id}/pause"),
    ("POST", "/api/v1/campaigns/{campaign_id}/resume"),
    ("POST", "/api/v1/campaigns/{campaign_id}/cancel"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/api/v1/tasks/{task_id}"),
    ("GET", "/api/v1/tasks/{task_id}/whole"),
    ("GET", "/api/v1/tasks/{task_id}/events"),
    ("GET", "/api/v1/tasks/{task_id}/deliveries"),
    ("GET", "/api/v1/tasks/{task_id}/logs"),
    ("POST", "/api/v1/tasks/{task_id}/cancel"),
    ("POST", "/api/v1/tasks/{task_id}/pause"),
    ("POST", "/api/v1/tasks/{task_id}/resume"),
    ("POST", "/api/v1/tasks/{task_id}/replay"),
    ("POST", "/api/v1/tasks/{task_id}/resend"),
    ("POST", "/api/v1/submit"),
    ("POST", "/api/v1/submit/submit_many"),
    ("GET", "/api/v1/artefacts/{sha256}"),
    ("HEAD", "/api/v1/artefacts/{sha256}"),
} | {("POST", f"/api/v1/submit/{name}") for name in SUBMITTING if name not in OF_ALL_TENANTS}
"""Where a tenant's key may come in, because the route keeps to that tenant's tasks."""


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, clock: Clock):
    """The application as a client on this machine sees it, with a clock that stands still."""
    ensure_folders(settings)
    monkeypatch.setattr(app, "Door", lambda own: Door(own, clock))
    with TestClient(create_app(settings), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def admin() -> dict[str, str]:
    return bearer(admin_key(settings))


def key_of(*scopes: str, **more) -> dict[str, str]:
    """The header that brings a new key."""
    return bearer(api_keys.add(ANN, NewKey(name="of a test", scopes=list(scopes), **more))["key"])


def own_routes() -> dict[tuple[str, str], GuardedRoute]:
    """All routes of the application, found as it finds them."""
    modules = [import_module(f"api.routes.{one.name}") for one in pkgutil.iter_modules(routes.__path__)]
    return {
        (method, route.path): route for module in modules for route in module.router.routes for method in route.methods
    }


# --- Every route names its scope -------------------------------------------------------------------------------


def test_every_route_says_who_may_use_it_and_this_table_says_the_same(client):
    known = own_routes()
    assert {name: route.guard().scope for name, route in known.items()} == ROUTES
    assert {name for name, route in known.items() if route.guard().scope and route.guard().tenants} == FOR_TENANTS
    assert {id(route) for route in client.app.routes} == {id(route) for route in known.values()}


@pytest.mark.parametrize(("method", "path"), [name for name, scope in ROUTES.items() if scope])
def test_a_route_takes_its_scope_and_more_and_names_it_to_who_has_less(client, method, path):
    scope = ROUTES[method, path]
    for given in SCOPES:
        answer = client.request(method, path, headers=key_of(given))
        if SCOPES.index(given) >= SCOPES.index(scope):
            assert answer.status_code not in (401, 403), (given, answer.text)
        else:
            assert answer.status_code == 403
            if method != "HEAD":  # whose answer has no body
                assert answer.json()["type"] == "urn:csai:forbidden"
                assert f"scope {scope}" in answer.json()["detail"]
            assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{scope}"'


@pytest.mark.parametrize(("method", "path"), [name for name, scope in ROUTES.items() if scope])
def test_without_a_key_or_with_one_that_is_none_nobody_comes_in(client, method, path):
    for headers in ({}, bearer(new_key()), bearer("csai_"), {"X-API-Key": " "}):
        answer = client.request(method, path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("method", "path"), [name for name, scope in ROUTES.items() if scope])
def test_a_tenants_key_comes_in_only_where_the_route_keeps_to_its_tenant(client, method, path):
    if ROUTES[method, path] == "admin":
        return  # no tenant's key has that scope
    answer = client.request(method, path, headers=key_of("operate", tenant="acme"))
    if (method, path) in FOR_TENANTS:
        assert answer.status_code not in (401, 403), answer.text
    else:
        assert answer.status_code == 403
        assert method == "HEAD" or "no tenant's" in answer.json()["detail"]


def nameless(path: str) -> str:
    """The path of a route without the names of what varies in it."""
    return re.sub(r"{[^}]+}", "{}", path)


def test_what_the_page_says_of_routes_and_scopes_is_true():
    page = (PROJECT_ROOT / "docs/api.md").read_text()
    rows = re.findall(r"^\| `([A-Z]+) ([^`?]+)[^`]*` \| ([a-z]+)(, tenants too)? \|", page, re.MULTILINE)
    told = {(method, nameless(path)): (scope, bool(tenants)) for method, path, scope, tenants in rows}
    scopes = {(method, nameless(path)): scope for (method, path), scope in ROUTES.items()}
    assert len(told) == len(re.findall(r"^\| `[A-Z]+ /", page, re.MULTILINE)) >= 9
    assert {name: scopes[name] for name in told} == {name: scope for name, (scope, _) in told.items()}
    for_tenants = {(method, nameless(path)) for method, path in FOR_TENANTS}
    assert {name for name, (_, tenants) in told.items() if tenants} <= for_tenants
    assert all(f"| `{scope}` |" in page for scope in SCOPES)


def test_a_route_that_says_nothing_ends_the_start():
    with pytest.raises(ConfigurationError, match="/silent must say once who may use it"):
        APIRouter(route_class=GuardedRoute).get("/silent")(lambda: None)
    with pytest.raises(ConfigurationError, match="/twice must say once"):
        APIRouter(route_class=GuardedRoute, dependencies=[everybody(), require("read")]).get("/twice")(lambda: None)
    plain = APIRouter(dependencies=[require("admin")])
    plain.get("/plain")(lambda: None)
    with pytest.raises(ConfigurationError, match="route_class=GuardedRoute"):
        guarded(plain)
    with pytest.raises(ValueError, match="one of read, submit, operate, admin"):
        require("root")


@pytest.mark.parametrize(("path", "admins"), [("/api/v1/keys", False), ("/api/v1/keys", True)])
def test_the_key_is_asked_for_before_a_byte_of_the_body_is_read_and_of_a_long_one_no_more_than_allowed(
    client, path, admins
):
    key = admin_key(settings) if admins else new_key()
    headers = {"host": "localhost", "content-type": "application/json", "authorization": f"Bearer {key}"}
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "client": ("192.0.2.1", 1),
    }  # fmt: skip
    read, statuses = [], []

    async def receive():
        read.append(100_000)
        return {"type": "http.request", "body": b" " * 100_000, "more_body": True}

    async def send(message):
        statuses.append(message.get("status"))

    asyncio.run(client.app(scope, receive, send))
    assert statuses[0] == (413 if admins else 401)
    assert sum(read) == (1_100_000 if admins else 0)


# --- Keys that are good no more --------------------------------------------------------------------------------


def test_a_revoked_key_is_refused_within_five_seconds_and_says_why(client, admin, clock):
    made = client.post("/api/v1/keys", headers=admin, json={"name": "soon over"}).json()
    own = bearer(made["key"])
    assert client.get("/api/v1/tasks/never", headers=own).status_code == 404
    ended = client.delete(f"/api/v1/keys/{made['id']}", headers=admin)
    assert (ended.status_code, ended.json()["revoked_at"] is not None) == (200, True)
    clock.now += 4.9
    answer = client.get("/api/v1/tasks/never", headers=own)
    assert (answer.status_code, "was revoked at" in answer.json()["detail"]) == (401, True)
    again = client.delete(f"/api/v1/keys/{made['id']}", headers=admin)
    used = {"last_used_at": None}  # it is written a little later
    assert again.json() | used == ended.json() | used


def test_an_expired_key_is_refused(client, clock):
    own = key_of("read", expires_at=datetime.now(UTC) + timedelta(days=1))
    assert client.get("/api/v1/tasks/never", headers=own).status_code == 404
    digest = digest_of(own["Authorization"].partition(" ")[2])
    parts().database.write(
        lambda c: c.execute(update(key_rows).where(key_rows.c.digest == digest).values(expires_at=Now(-1)))
    )
    clock.now += 5
    answer = client.get("/api/v1/tasks/never", headers=own)
    assert (answer.status_code, "expired at" in answer.json()["detail"]) == (401, True)


def test_a_key_in_use_costs_no_statement(client, monkeypatch):
    own = key_of("admin")
    assert client.get("/api/v1/keys", headers=own).status_code == 200
    monkeypatch.setattr(type(parts().api_keys), "find", lambda *_: pytest.fail("it was looked up again"))
    assert client.get("/api/v1/keys", headers=own).status_code == 200


def test_while_the_database_is_away_the_files_key_comes_in_and_the_others_are_no_401(client, admin, monkeypatch):
    own = key_of("read")

    def away(*_):
        raise ServiceUnavailable("The record database does not answer.")

    monkeypatch.setattr(type(parts().api_keys), "find", away)
    monkeypatch.setattr(celery_service, "get_task_status", away)
    assert client.get("/api/v1/tasks/x", headers=own).json()["type"] == "urn:csai:service-unavailable"
    assert client.get("/api/v1/tasks/x", headers=admin).json()["type"] == "urn:csai:service-unavailable"


@pytest.mark.parametrize(("place", "status"), [("?wait=30", 401), ("/events", 200)])
def test_who_waits_with_a_key_that_is_revoked_meanwhile_waits_no_longer(
    client, admin, clock, monkeypatch, place, status
):
    monkeypatch.setattr(tasks, "LOOK_SECONDS", 0.01)
    made = client.post("/api/v1/keys", headers=admin, json={"name": "soon over"}).json()
    task_id = celery_service.submit("monitoring.health_check", delay_seconds=3600)
    answers = []
    path, own = f"/api/v1/tasks/{task_id}{place}", bearer(made["key"])
    waiter = threading.Thread(target=lambda: answers.append(client.get(path, headers=own)))
    waiter.start()
    until(lambda: client.app.state.watching._count == 1, 30, "somebody waits")
    client.delete(f"/api/v1/keys/{made['id']}", headers=admin)
    clock.now += 3.5
    waiter.join(30)
    assert not waiter.is_alive()
    assert answers[0].status_code == status
    assert ("was revoked at" in answers[0].text) == (status == 401)
    celery_service.cancel_task(task_id)


def test_who_waits_goes_on_waiting_while_nobody_can_say_whether_the_key_is_good(client, clock, monkeypatch):
    monkeypatch.setattr(tasks, "LOOK_SECONDS", 0.01)
    task_id, own = celery_service.submit("monitoring.health_check", delay_seconds=3600), key_of("read")
    answers, looks = [], []

    def away(*_):
        looks.append(1)
        raise ServiceUnavailable("The record database does not answer.")

    waiter = threading.Thread(
        target=lambda: answers.append(client.get(f"/api/v1/tasks/{task_id}?wait=30", headers=own))
    )
    waiter.start()
    until(lambda: client.app.state.watching._count == 1, 30, "somebody waits")
    with monkeypatch.context() as patched:
        patched.setattr(type(parts().api_keys), "find", away)
        clock.now += 3.5
        until(lambda: len(looks) > 2, 30, "it is looked at")
    celery_service.cancel_task(task_id)
    waiter.join(30)
    assert answers[0].json()["status"] == "REVOKED"


# --- Tenants ---------------------------------------------------------------------------------------------------


def test_a_tenant_sees_its_tasks_and_another_ones_are_not_there(client, admin):
    mine = celery_service.submit("monitoring.health_check", tenant="acme", delay_seconds=3600)
    others = celery_service.submit("monitoring.health_check", tenant="other", delay_seconds=3600)
    nobodys = celery_service.submit("monitoring.health_check", delay_seconds=3600)
    of_acme = key_of("operate", tenant="acme")
    assert client.get(f"/api/v1/tasks/{mine}", headers=of_acme).json()["tenant"] == "acme"
    for hidden in (others, nobodys):
        answer = client.get(f"/api/v1/tasks/{hidden}", headers=of_acme)
        stranger = client.get("/api/v1/tasks/no-such-task", headers=of_acme)
        assert answer.status_code == 404
        assert answer.json() == json.loads(stranger.text.replace("no-such-task", hidden))
        assert client.get(f"/api/v1/tasks/{hidden}", headers=admin).status_code == 200
    for one in (mine, others, nobodys):
        celery_service.cancel_task(one)


# --- How often -------------------------------------------------------------------------------------------------


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch, clock: Clock):
    """The same, with small limits."""
    ensure_folders(settings)
    monkeypatch.setattr(app, "Door", lambda own: Door(own, clock))
    small = settings.model_copy(update={"api_limit": "3/m", "api_limit_failed_keys": "2/m"})
    with TestClient(create_app(small), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def test_who_asks_too_often_is_told_how_long_to_wait(limited, clock):
    own, other = key_of("read"), key_of("read")
    fields = [limited.get("/api/v1/tasks/x", headers=own).headers["ratelimit"] for _ in range(3)]
    assert fields == ['"key";r=2;t=20', '"key";r=1;t=40', '"key";r=0;t=20']
    answer = limited.get("/api/v1/tasks/x", headers=own)
    assert (answer.status_code, answer.json()["type"]) == (429, "urn:csai:too-many-requests")
    assert (answer.headers["retry-after"], answer.headers["ratelimit-policy"]) == ("20", '"key";q=3;w=60')
    assert answer.headers["ratelimit"] == '"key";r=0;t=20'
    assert answer.headers["cache-control"] == "no-store"
    assert limited.get("/api/v1/tasks/x", headers=other).status_code == 404
    clock.now += 20
    assert limited.get("/api/v1/tasks/x", headers=own).status_code == 404
    assert limited.get("/api/v1/tasks/x", headers=own).status_code == 429


def test_the_limit_counts_what_is_refused_for_its_scope_too(limited):
    own = key_of("read")
    assert [limited.get("/api/v1/keys", headers=own).status_code for _ in range(4)] == [403, 403, 403, 429]


def test_an_address_that_tries_keys_is_stopped_and_no_good_key_with_it(limited, clock, admin, monkeypatch):
    looks = []
    find = type(parts().api_keys).find
    monkeypatch.setattr(type(parts().api_keys), "find", lambda self, digest: looks.append(digest) or find(self, digest))
    known, fresh = key_of("read"), key_of("read")
    assert limited.get("/api/v1/tasks/x", headers=known).status_code == 404
    assert [limited.get("/api/v1/tasks/x", headers=bearer(new_key())).status_code for _ in range(5)] == [
        401, 401, 429, 429, 429,
    ]  # fmt: skip
    assert len(looks) == 3
    answer = limited.get("/api/v1/tasks/x", headers=bearer(new_key()))
    assert (answer.headers["retry-after"], "ratelimit" in answer.headers) == ("30", False)
    clock.now += 3.5  # what was known is looked up again
    assert limited.get("/api/v1/tasks/x", headers=known).status_code == 404
    assert limited.get("/api/v1/tasks/x", headers=admin).status_code == 404
    assert limited.get("/api/v1/tasks/x", headers=fresh).status_code == 429
    clock.now += 30
    assert [limited.get("/api/v1/tasks/x", headers=fresh).status_code for _ in range(2)] == [404, 404]


def test_no_key_at_all_is_no_try(limited):
    assert {limited.get("/api/v1/tasks/x").status_code for _ in range(9)} == {401}


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
        ("x" * 9_000, "x" * 64),
        (None, ""),
    ],
)
def test_of_an_ipv6_address_its_network_is_counted(host, counted):
    scope = {"type": "http", "headers": [], "client": host and (host, 1)}
    assert address_of(guards.Request(scope)) == counted


# --- Making, listing and ending keys ---------------------------------------------------------------------------


def test_the_end_of_a_key_is_told_in_utc_by_the_audit_too(client, admin):
    body = {"name": "in a zone", "expires_at": "2090-01-01T00:00:00+02:00"}
    made = client.post("/api/v1/keys", headers=admin, json=body).json()
    (act,) = client.get("/api/v1/audit", headers=admin, params={"target_id": made["id"]}).json()["items"]
    assert made["expires_at"] == act["details"]["expires_at"] == "2089-12-31T22:00:00+00:00"


def test_a_key_is_in_the_answer_that_makes_it_and_nowhere_else(client, admin, caplog, tmp_path):
    with caplog.at_level(logging.DEBUG):
        made = client.post("/api/v1/keys", headers=admin, json={"name": "shop", "scopes": ["submit"]})
        key = made.json().pop("key")
        assert made.status_code == 201
        assert client.get("/api/v1/tasks/x", headers=bearer(key)).status_code == 404
        listed = client.get("/api/v1/keys", headers=admin)
        acts = client.get("/api/v1/audit", headers=admin, params={"target_id": made.json()["id"]})
    assert made.json()["id"] in listed.text
    assert made.json()["id"] in acts.text
    for told in (listed.text, acts.text, caplog.text):
        assert key not in told
        assert digest_of(key) not in told
    kept = [path for path in settings.data_dir.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert kept == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"name": "x", "scopes": ["root"]}, 422),
        ({"name": "x", "scopes": "admin"}, 422),
        ({"name": "x", "expires_at": "soon"}, 422),
        ({"name": "x", "tenant": "acme", "scopes": ["admin"]}, 422),
        ({"name": "x", "digest": "0" * 64}, 422),
        ({"name": "x" * 1_000_000}, 413),
    ],
    ids=range(7),
)
def test_a_wish_for_a_key_that_cannot_be_is_a_problem(client, admin, body, status):
    answer = client.post("/api/v1/keys", headers=admin, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_key_that_is_not_there_cannot_be_ended(client, admin):
    for never in ("never", "0" * 16, "x" * 3_000, "%00", "%F0%9F%98%80", "0000000000000000%0A"):
        answer = client.delete(f"/api/v1/keys/{never}", headers=admin)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:csai:unknown-key")
        assert len(answer.text) < 500


def test_an_admin_who_ends_the_last_admins_key_comes_in_by_the_files(client, admin, clock):
    own = key_of("admin")
    for one in client.get("/api/v1/keys", headers=own).json()["items"]:
        client.delete(f"/api/v1/keys/{one['id']}", headers=own)
    clock.now += 5
    assert client.get("/api/v1/keys", headers=own).status_code == 401
    assert client.get("/api/v1/keys", headers=admin).status_code == 200


# --- The audit -------------------------------------------------------------------------------------------------


def test_what_is_done_over_http_is_written_down_once_and_what_is_not_is_not(client, admin):
    made = client.post("/api/v1/keys", headers=admin, json={"name": "written down"}).json()
    for _ in range(2):
        client.delete(f"/api/v1/keys/{made['id']}", headers=admin)
    client.post("/api/v1/keys", headers=key_of("operate"), json={"name": "refused"})
    client.post("/api/v1/keys", headers=admin, json={"name": ""})
    rows = client.get("/api/v1/audit", headers=admin, params={"target_kind": "key", "target_id": made["id"]}).json()
    assert [(one["act"], one["origin"], one["outcome"]) for one in rows["items"]] == [
        ("key.revoke", "api", "done"),
        ("key.add", "api", "done"),
    ]
    assert {one["actor"]["name"] for one in rows["items"]} == {"admin"}
    assert rows["next_cursor"] is None
    assert all(one["details"]["name"] != "refused" for one in everything(client, admin, act="key.add"))


def test_a_report_of_a_bounce_is_written_down(client, admin):
    own = key_of("submit")
    before = len(everything(client, admin, act="bounce.receive"))
    answer = client.post("/api/v1/email/bounces", content=BOUNCE, headers=own | {"Content-Type": "message/rfc822"})
    assert answer.status_code == 200
    (row, *_) = everything(client, admin, act="bounce.receive")
    assert len(everything(client, admin, act="bounce.receive")) == before + 1
    assert (row["actor"]["kind"], row["count"]) == ("key", len(answer.json()["events"]))


def everything(client: TestClient, admin: dict[str, str], limit: int = 50, **wanted: str) -> list[dict]:
    """All acts, page by page."""
    items, cursor = [], None
    while True:
        params = wanted | {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = client.get("/api/v1/audit", headers=admin, params=params).json()
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


def test_the_audit_is_paged_without_a_gap_or_a_double(client, admin):
    for number in range(5):
        audit.record_act(ANN, "test.paged", target=("queue", f"q{number}"))
    assert [one["target"]["id"] for one in everything(client, admin, 2, act="test.paged")] == [
        "q4", "q3", "q2", "q1", "q0",
    ]  # fmt: skip
    assert len(everything(client, admin, 5, act="test.paged")) == 5
    assert [one["act"] for one in everything(client, admin, actor="ann", target_id="q3")] == ["test.paged"]


def test_the_audit_is_filtered_by_time_and_a_cursor_is_of_its_times_alone(client, admin):
    for number in range(3):
        audit.record_act(ANN, "test.timed", target=("queue", f"t{number}"))
        own = update(audit_rows).where(audit_rows.c.act == "test.timed", audit_rows.c.target_id == f"t{number}")
        parts().database.write(lambda c, own=own, ago=number - 10: c.execute(own.values(at=Now(ago))))
    last, middle, first = everything(client, admin, act="test.timed")
    assert everything(client, admin, 1, act="test.timed", at_from=middle["at"]) == [last, middle]
    assert everything(client, admin, 1, act="test.timed", at_before=middle["at"]) == [first]
    asked = {"act": "test.timed", "limit": 1, "at_from": first["at"]}
    cursor = client.get("/api/v1/audit", headers=admin, params=asked).json()["next_cursor"]
    other = client.get("/api/v1/audit", headers=admin, params=asked | {"at_from": middle["at"], "cursor": cursor})
    assert other.status_code == 422


def test_a_cursor_that_was_tampered_with_is_a_422(client, admin):
    for _ in range(3):
        audit.record_act(ANN, "test.cursors")
    page = client.get("/api/v1/audit", headers=admin, params={"limit": 1, "act": "test.cursors"}).json()
    cursor = page["next_cursor"]
    forged = cursors.sealed(["2026-01-01T00:00:00+00:00", 1], "another list")
    for bad in (cursor[:-1], cursor + "A", cursor[::-1], "A" * len(cursor), forged, "x" * 600, "\0"):
        answer = client.get("/api/v1/audit", headers=admin, params={"act": "test.cursors", "cursor": bad})
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:csai:invalid-argument"), bad
    assert client.get("/api/v1/audit", headers=admin, params={"cursor": cursor}).status_code == 422


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0}, {"limit": 501}, {"limit": "x"}, {"act": "a\0"}, {"act": "A"}, {"act": "a" * 65}, {"actor": ""},
        {"target_kind": "'--"}, {"at_from": "yesterday"}, {"at_before": "2026-01-31T13:00:00"},
        {"at_from": "0001-01-01T00:00:00+14:00"},
    ],
    ids=range(11),
)  # fmt: skip
def test_a_filter_that_cannot_be_is_a_422(client, admin, params):
    assert client.get("/api/v1/audit", headers=admin, params=params).status_code == 422


@pytest.mark.parametrize("text", ["\0", "%", "_", "' OR 1=1 --", "ü" * 400, "\ud7ff"])
def test_any_text_may_be_looked_for(client, admin, text):
    for name in ("actor", "target_id"):
        answer = client.get("/api/v1/audit", headers=admin, params={name: text})
        assert (answer.status_code, answer.json()["items"]) == (200, [])


def test_the_limits_are_settings_and_what_is_none_lifts_them():
    for bad in ("0/s", "many", "1/d"):
        with pytest.raises(ValueError, match="must be"):
            Settings(api_limit=bad)
    unlimited = settings.model_copy(update={"api_limit": "none"})
    with TestClient(create_app(unlimited), base_url="http://localhost") as client:
        answer = client.get("/api/v1/audit", headers=bearer(admin_key(settings)))
    assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)
    assert audit.acts(WantedActs(act="nothing"), 1) == []
