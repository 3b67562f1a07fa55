"""The web application: who is let in, what every error is, and what it says when parts are away."""

import gc
import http
import socket
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient

from api import __main__
from api.__main__ import listen
from api.app import create_app
from api.connections import Connection, room
from api.errors import ERROR_TABLE
from api.guards import host_name, known_hosts
from config.settings import Settings, ensure_folders, settings
from ports import free_port
from processors import errors
from processors.errors import ConfigurationError, SubmitUnknown, WorkError
from services.access import AdminKey, admin_key, digest_of, flower_login
from services.celery_service import celery_service


def test_the_web_process_bounds_its_connections_and_freezes_what_it_has_loaded(monkeypatch: pytest.MonkeyPatch):
    frozen, configs = list[int](), list[uvicorn.Config]()
    monkeypatch.setattr(settings, "port", free_port())
    monkeypatch.setattr(__main__, "configure", lambda *_, **__: None)

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        frozen.append(gc.get_freeze_count())
        configs.append(server.config)
        close(sockets)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    try:
        __main__.main()
    finally:
        gc.unfreeze()
    assert frozen[0] > 10_000
    assert (configs[0].http, configs[0].limit_concurrency) == (Connection, room()), "slow clients are left"


def close(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()


@pytest.fixture
def client():
    """The application as a client on this machine sees it."""
    ensure_folders(settings)
    with TestClient(create_app(settings), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def key() -> dict[str, str]:
    return {"Authorization": f"Bearer {admin_key(settings)}"}


def test_it_lives_without_a_key(client):
    answer = client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_it_is_not_ready_while_the_broker_is_away_and_says_no_more_than_that(client, monkeypatch):
    monkeypatch.setattr(settings, "celery_broker_url", "redis://:planted@127.0.0.1:1/0")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": "healthy", "broker": "unhealthy"}
    assert "planted" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic abc"},
        {"Authorization": "Bearer "},
        {"X-API-Key": "wrong"},
        {"X-API-Key": "ü".encode()},
    ],
    ids=range(6),
)
def test_nobody_comes_in_without_the_key(client, headers):
    answer = client.get("/api/v1/tasks/x", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


def test_either_header_brings_the_key(client, key):
    assert client.get("/api/v1/tasks/never", headers=key).status_code == 404
    assert client.get("/api/v1/tasks/never", headers={"X-API-Key": admin_key(settings)}).status_code == 404


def test_a_tasks_status_is_what_the_facade_says_with_secrets_masked(client, key):
    task_id = celery_service.send_email("ann@example.com", "s", "b")
    celery_service.cancel_task(task_id)
    answer = client.get(f"/api/v1/tasks/{task_id}", headers=key)
    assert answer.status_code == 200
    assert answer.json() == celery_service.get_task_status(task_id)


def test_an_id_that_is_no_id_is_named(client, key):
    answer = client.get(f"/api/v1/tasks/{'x' * 300}", headers=key)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:csai:invalid-argument")
    assert "task_id" in answer.json()["detail"]


def test_an_id_of_a_member_that_no_campaign_could_have_is_no_task(client, key):
    campaign = celery_service.queue_bulk_calls(["+15554417701"])
    assert client.get(f"/api/v1/tasks/{campaign}:0", headers=key).status_code == 200
    for place in ("1", "9" * 30, "-1", "x"):
        assert client.get(f"/api/v1/tasks/{campaign}:{place}", headers=key).status_code == 404
    celery_service.cancel_task(campaign)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[", "127.0.0.2"])
def test_an_unknown_host_is_refused_before_anything_else(client, host):
    answer = client.get("/livez", headers={"Host": host})
    assert (answer.status_code, answer.json()["type"]) == (421, "urn:csai:unknown-host")


@pytest.mark.parametrize("host", ["localhost:8001", "127.0.0.1", "[::1]:8001", "LOCALHOST"])
def test_this_machines_names_are_known(client, host):
    assert client.get("/livez", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:9999", "http://[", ""])
def test_another_sites_request_is_refused(client, key, origin):
    answer = client.get("/api/v1/tasks/x", headers={**key, "Origin": origin})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:csai:cross-site")


def test_the_same_site_is_let_through(client):
    assert client.get("/livez", headers={"Origin": "http://localhost"}).status_code == 200


def test_every_answer_carries_the_security_headers(client):
    for path in ("/livez", "/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_every_error_of_ours_has_its_place_in_the_table():
    ours = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, WorkError)]
    assert all(any(base in ERROR_TABLE for base in one.__mro__) for one in ours)
    assert len({kind for _, kind in ERROR_TABLE.values()}) == len(ERROR_TABLE)


@pytest.mark.parametrize(
    ("error", "status", "more"),
    [
        (SubmitUnknown("in doubt", "t-1"), 503, {"task_id": "t-1"}),
        (ConfigurationError("wrong"), 503, {}),
        (errors.UnknownQueue("no"), 422, {}),
        (errors.TransientError("x"), 500, {}),
        (KeyError("planted secret"), 500, {}),
    ],
    ids=range(5),
)
def test_an_error_is_a_problem_with_one_sentence_and_never_a_traceback(client, key, monkeypatch, error, status, more):
    def fail(_task_id):
        raise error

    monkeypatch.setattr(celery_service, "get_task_status", fail)
    answer = client.get("/api/v1/tasks/x", headers=key)
    body = answer.json()
    assert (answer.status_code, body["status"], body["title"]) == (status, status, http.HTTPStatus(status).phrase)
    assert more.items() <= body.items()
    assert "planted" not in answer.text
    assert "Traceback" not in answer.text


def test_a_method_that_is_not_there_is_a_problem_too(client):
    answer = client.post("/livez")
    assert (answer.status_code, answer.json()["type"]) == (405, "urn:csai:method-not-allowed")
    assert "GET" in answer.headers["allow"]


def test_a_path_with_a_slash_behind_it_is_no_route_and_leads_nowhere(client, key):
    answer = client.get("/api/v1/tasks/", headers=key, follow_redirects=False)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_a_load_balancer_may_ask_for_the_headers_alone(client, monkeypatch):
    assert (client.head("/livez").status_code, client.head("/livez").content) == (200, b"")
    monkeypatch.setattr(settings, "celery_broker_url", "redis://127.0.0.1:1/0")
    assert client.head("/readyz").status_code == 503


def test_a_taken_port_is_one_sentence_with_the_cure():
    with (
        listen("127.0.0.1", 0) as taken,
        pytest.raises(ConfigurationError, match="Address already in use; set HOST or"),
    ):
        listen("127.0.0.1", taken.getsockname()[1])


def test_names_are_taken_from_the_settings():
    assert {"localhost", "api.example", "10.0.0.1"} <= known_hosts(
        Settings(host="10.0.0.1", webhook_base_url="https://api.example:8443/x")
    )
    assert "0.0.0.0" not in known_hosts(Settings(host="0.0.0.0"))
    assert host_name("[::1]:80") == "::1"


# --- Keys ------------------------------------------------------------------------------------------------------


def test_the_key_is_made_once_has_256_bits_and_is_its_owners_alone(tmp_path: Path):
    own = Settings(data_dir=tmp_path / "data")
    ensure_folders(own)
    made = admin_key(own)
    assert len(bytes.fromhex(made)) == 32
    assert admin_key(own) == made
    assert (own.run_dir / "api-key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in own.run_dir.iterdir()] == ["api-key"]
    assert AdminKey(own).has(digest_of(made))
    assert not AdminKey(own).has(digest_of(made + "x"))
    assert made not in repr(vars(AdminKey(own)))


def test_flowers_login_is_another_secret(tmp_path: Path):
    own = Settings(data_dir=tmp_path / "data")
    ensure_folders(own)
    user, password = flower_login(own).split(":")
    assert user == "csai"
    assert password != admin_key(own)
