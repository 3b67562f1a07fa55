"""The page of webhooks: a secret is shown once, and each is tried, switched off and on, and removed by admins."""

import pytest

from browsing import ANN, Html
from followed import catch_up
from processors.webhooks import TASK, Answered
from records.audit import WantedActs
from records.task_records import Draft
from services import audit, webhooks
from services.wiring import parts

URL = "https://shop.example.com/hooks"
HOSTILE = """<img src=x onerror=alert(1)>"'>{{7*7}}"""


class Door:
    """Answers all that it is sent with one status."""

    def __init__(self, really) -> None:
        self.check, self.status = really.check, 204

    def post(self, url, headers, body):
        return Answered(self.status)


@pytest.fixture(autouse=True)
def door(monkeypatch) -> Door:
    found = Door(parts().webhook_door)
    monkeypatch.setitem(vars(parts()), "webhook_door", found)
    return found


@pytest.fixture
def made(admin):
    """The answer to a webhook that was made on the page; it is removed in the end."""
    before = {one["id"] for one in webhooks.listed()}
    answer = admin.submit("/webhooks", {"url": URL, "state-SUCCESS": None, "tenant": "acme"})
    yield answer
    for one in webhooks.listed():
        if one["id"] not in before:
            webhooks.remove(ANN, one["id"])


def acts(webhook_id: str) -> list[tuple]:
    found = audit.acts(WantedActs(target_kind="webhook", target_id=webhook_id), 20)
    return [(one.act, one.origin) for one in found]


def test_without_a_webhook_the_page_says_so(admin):
    assert "There is no webhook." in admin.html("/webhooks").text


def test_a_refusal_of_an_address_ends_with_one_full_stop(admin):
    page = Html(admin.submit("/webhooks", {"url": "https://127.0.0.1/"}).text)
    wrong = next(tag.text for tag in page.tags if tag.attributes.get("id") == "wrong")
    assert wrong.endswith(".")
    assert not wrong.endswith("..")


def test_a_form_of_a_webhook_that_is_sent_again_makes_no_other_one(admin):
    fields = admin.html("/webhooks").forms[-1].fields | {"url": URL}
    first, again = (admin.client.post("/webhooks", data=fields) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 422)
    assert "This form was sent before" in again.text
    (own,) = (one for one in webhooks.listed() if one["url"] == URL)
    assert acts(own["id"]) == [("webhook.add", "dashboard")]
    webhooks.remove(ANN, own["id"])


def test_a_webhook_is_made_and_its_secret_is_shown_once(admin, made):
    assert made.status_code == 201
    secret = next(tag.text for tag in Html(made.text).all("pre"))
    assert secret.startswith("whsec_")
    own = webhooks.listed()[0]
    assert (own["url"], own["states"], own["tenant"]) == (URL, ["FAILURE", "REVOKED"], "acme")
    page = admin.get("/webhooks")
    assert secret not in page.text + admin.get("/audit").text
    assert "FAILURE, REVOKED" in page.text
    assert ("webhook.add", "dashboard") in acts(own["id"])


def test_a_webhook_is_tried_switched_off_and_on_and_removed_each_after_a_page(admin, made, door):
    own = webhooks.listed()[0]["id"]

    def links() -> list[str]:
        return [link.rpartition("/")[2] for link in admin.html("/webhooks").links() if f"/webhooks/{own}/" in link]

    assert links() == ["test", "disable", "remove"]
    assert f"Test 1 webhook: {URL}?" in admin.html(f"/webhooks/{own}/test").text
    admin.submit(f"/webhooks/{own}/test")
    assert "It took the test: 204." in admin.html("/webhooks").text
    door.status = 500
    admin.submit(f"/webhooks/{own}/test")
    assert "It did not take the test:" in admin.html("/webhooks").text
    admin.submit(f"/webhooks/{own}/disable")
    page = admin.html("/webhooks").text
    assert ("disabled" in page, "An admin disabled it." in page) == (True, True)
    assert links() == ["test", "enable", "remove"]
    admin.submit(f"/webhooks/{own}/enable")
    assert webhooks.listed()[0]["disabled_at"] is None
    admin.submit(f"/webhooks/{own}/remove")
    assert webhooks.listed() == []
    assert {act for act, origin in acts(own) if origin == "dashboard"} == {
        "webhook.add", "webhook.test", "webhook.change", "webhook.remove",
    }  # fmt: skip
    for act in ("test", "disable", "remove"):
        assert admin.get(f"/webhooks/{own}/{act}").status_code == 404
        assert admin.post(f"/webhooks/{own}/{act}").status_code == 404


def test_a_webhooks_deliveries_are_a_list_of_tasks(admin, made):
    own = webhooks.listed()[0]["id"]
    for number, endpoint in enumerate((own, "another")):
        arguments = {"endpoint_id": endpoint, "task_id": f"t{number}", "run": 1}
        parts().tasks.open(Draft(f"delivery-{number}-{own}", TASK, "webhook", "default", arguments, delay=3600))
    catch_up(parts().database)
    (link,) = [link for link in admin.html("/webhooks").links() if link.startswith("/tasks?")]
    listed = [tag.attributes["href"] for tag in admin.html(link).all("a") if "data-row" in tag.attributes]
    assert listed == [f"/tasks/delivery-0-{own}"]
    for act in ("disable", "remove"):
        assert "Still to be sent: 1." in admin.html(f"/webhooks/{own}/{act}").text
    assert "Still to be sent" not in admin.html(f"/webhooks/{own}/test").text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": ""}, "url"),
        ({"url": "http://shop.example.com/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": HOSTILE}, "url"),
        ({"category": "no such"}, "category"),
        ({"name": TASK}, "nobody is told"),
        ({"state-SUCCESS": None, "state-FAILURE": None, "state-REVOKED": None}, "states"),
    ],
    ids=range(7),
)
def test_a_webhook_that_cannot_be_is_named_and_what_was_typed_is_kept(admin, fields, said):
    before = len(webhooks.listed())
    answer = admin.submit("/webhooks", {"url": URL, "tenant": "kept"} | fields)
    page = Html(answer.text)
    assert (answer.status_code, said in page.text) == (422, True), page.text
    assert not page.all("img")
    assert next(tag.attributes["value"] for tag in page.tags if tag.attributes.get("id") == "tenant") == "kept"
    assert len(webhooks.listed()) == before
