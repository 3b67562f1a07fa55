"""Webhooks over HTTP: made, listed, changed, tried and removed by admins, and their secret is told once."""

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from config.settings import ensure_folders, settings
from processors.webhooks import Answered
from services.access import admin_key
from services.wiring import parts

URL = "https://shop.example.com/hooks"
PLACE = "/api/v1/webhooks"


class Door:
    """Takes all that it is sent."""

    def check(self, url):
        parts_of_service["door"].check(url)

    def post(self, url, headers, body):
        return Answered(204)


parts_of_service: dict = {}


@pytest.fixture
def client(monkeypatch):
    ensure_folders(settings)
    parts_of_service["door"] = parts().webhook_door
    monkeypatch.setitem(vars(parts()), "webhook_door", Door())
    headers = {"Authorization": f"Bearer {admin_key(settings)}"}
    with TestClient(
        create_app(settings), base_url="http://localhost", headers=headers, raise_server_exceptions=False
    ) as client:
        yield client
        for one in client.get(PLACE).json()["items"]:
            client.delete(f"{PLACE}/{one['id']}")


def test_a_webhook_is_made_listed_changed_tried_and_removed_and_its_secret_told_once(client):
    made = client.post(PLACE, json={"url": URL, "states": ["REVOKED", "FAILURE"], "tenant": "acme"})
    assert made.status_code == 201
    own = made.json()
    secret = own.pop("secret")
    assert secret.startswith("whsec_")
    assert (own["states"], own["tenant"], own["disabled_at"]) == (["FAILURE", "REVOKED"], "acme", None)
    assert client.get(PLACE).json() == {"items": [own]}
    place = f"{PLACE}/{own['id']}"
    changed = client.patch(place, json={"category": "email", "tenant": None, "enabled": False}).json()
    assert (changed["category"], changed["tenant"], changed["url"]) == ("email", None, URL)
    assert changed["disabled_why"] == "An admin disabled it."
    renewed = client.post(f"{place}/secret", json={"keep_hours": 1}).json()
    assert renewed.pop("secret") not in (secret, "")
    assert renewed["old_secret_until"] is not None
    assert client.post(f"{place}/secret", json={"keep_hours": 0}).json()["old_secret_until"] is None
    assert client.post(f"{place}/test").json() == {"delivered": True, "status": 204, "error": None}
    assert client.patch(place, json={"enabled": True}).json()["disabled_at"] is None
    acts = client.get("/api/v1/audit", params={"target_kind": "webhook", "target_id": own["id"]})
    assert client.delete(place).status_code == 204
    assert client.delete(place).json()["type"] == "urn:csai:unknown-webhook"
    gone = client.get("/api/v1/audit", params={"target_kind": "webhook", "target_id": own["id"]})
    assert [one["act"] for one in gone.json()["items"]] == [
        "webhook.remove", "webhook.change", "webhook.test", "webhook.renew_secret", "webhook.renew_secret",
        "webhook.change", "webhook.add",
    ]  # fmt: skip
    for told in (acts, gone):
        assert secret not in told.text
        assert "/hooks" not in told.text


@pytest.mark.parametrize(
    "body",
    [
        {}, {"url": ""}, {"url": 1}, {"url": "http://shop.example.com/"}, {"url": "https://10.0.0.1/"},
        {"url": "https://[::1]/"}, {"url": "https://u:p@shop.example.com/"}, {"url": URL + "\0"}, {"url": URL + "\n"},
        {"url": f"{URL}/" + "x" * 2_000}, {"url": "javascript:alert(1)"}, {"url": URL, "states": []},
        {"url": URL, "states": ["PENDING"]}, {"url": URL, "states": "FAILURE"}, {"url": URL, "category": "none"},
        {"url": URL, "name": "none"}, {"url": URL, "secret": "whsec_AAAA"}, {"url": URL, "seen_to": "2020-01-01"},
        {"url": URL, "tenant": ""}, {"url": URL, "tenant": "x\0"}, {"url": URL, "id": "1"},
        {"url": "https://<script>alert(1)</script>/"}, {"url": "https://shop.example.com:99999/"},
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_is_a_problem_and_makes_none(client, body):
    answer = client.post(PLACE, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get(PLACE).json() == {"items": []}


def test_a_change_that_cannot_be_is_a_problem_and_changes_nothing(client):
    own = client.post(PLACE, json={"url": URL}).json()
    own.pop("secret")
    place = f"{PLACE}/{own['id']}"
    for body in ({}, {"url": None}, {"url": "http://x.example/"}, {"states": []}, {"secret": "x"}, {"enabled": None}):
        assert client.patch(place, json=body).status_code == 422, body
    assert client.get(PLACE).json() == {"items": [own]}


@pytest.mark.parametrize("hours", [-1, 169, "x", None, True])
def test_a_secret_is_kept_for_some_hours_or_the_change_is_none(client, hours):
    own = client.post(PLACE, json={"url": URL}).json()
    answer = client.post(f"{PLACE}/{own['id']}/secret", json={"keep_hours": hours})
    assert answer.status_code == (200 if hours is True else 422)


@pytest.mark.parametrize("name", ["never", "0" * 3_000, "%00", "%F0%9F%98%80", "%0A", "' OR 1=1 --"])
def test_one_that_is_not_there_is_a_404(client, name):
    for method, part, more in (
        ("PATCH", "", {"json": {"enabled": False}}), ("DELETE", "", {}), ("POST", "/test", {}), ("POST", "/secret", {}),
    ):  # fmt: skip
        answer = client.request(method, f"{PLACE}/{name}{part}", **more)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:csai:unknown-webhook")
        assert len(answer.text) < 500


def test_there_are_a_hundred_at_most(client):
    for _ in range(100):
        assert client.post(PLACE, json={"url": URL}).status_code == 201
    assert client.post(PLACE, json={"url": URL}).status_code == 422
