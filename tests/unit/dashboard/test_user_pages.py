"""The page of users: a password is shown once, every change is asked and kept, and nobody locks everybody out."""

import re

import pytest

from browsing import ANN, PASSWORD, Browser, Html, somebody
from records.audit import WantedActs
from services import audit, users

HOSTILE = """<img src=x onerror=alert(1)>"'>{{7*7}}"""


def acts(name: str) -> list[tuple]:
    return [(one.act, one.origin) for one in audit.acts(WantedActs(target_kind="user", target_id=name), 20)]


def row(browser: Browser, name: str):
    return next(tag for tag in browser.html("/users").all("tr") if tag.text.split()[:1] == [name])


def test_a_user_is_made_with_a_password_that_is_shown_once(admin, app, name):
    answer = admin.submit("/users", {"name": name, "role": "operator"})
    assert answer.status_code == 201
    password = next(tag.text for tag in Html(answer.text).all("pre"))
    assert re.fullmatch(r"[\w-]{24}", password)
    assert password not in admin.get("/users").text + admin.get("/audit").text
    assert Browser(app).log_in(name, password).status_code == 303
    assert "operator" in row(admin, name).text
    assert ("user.add", "dashboard") in acts(name)


def test_a_form_of_a_user_that_is_sent_again_says_that_the_password_was_shown(admin, app, name):
    fields = admin.html("/users").forms[-1].fields | {"name": name}
    first, again = (admin.client.post("/users", data=fields) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 422)
    assert "This form was sent before" in again.text
    assert "This form was sent before" not in admin.submit("/users", {"name": name}).text  # another form
    assert Browser(app).log_in(name, Html(first.text).all("pre")[0].text).status_code == 303
    assert acts(name).count(("user.add", "dashboard")) == 1
    other = admin.client.post("/users", data=fields | {"name": f"{name}-other"})
    assert other.status_code == 201, "who comes back and writes another name makes that user"


def test_a_new_password_that_is_asked_for_again_by_the_same_form_stays_as_it_is(admin, app, name):
    users.add(ANN, name, "viewer", PASSWORD)
    fields = admin.html(f"/users/{name}/password").forms[-1].fields
    first, again = (admin.client.post(f"/users/{name}/password", data=fields) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 422)
    assert "was replaced since this was asked" in again.text
    assert Browser(app).log_in(name, Html(first.text).all("pre")[0].text).status_code == 303
    assert acts(name).count(("user.set_password", "dashboard")) == 1
    assert admin.submit(f"/users/{name}/password").status_code == 200


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"name": ""}, "name"), ({"name": "Ann B"}, "name"), ({"name": HOSTILE}, "name"), ({"role": "root"}, "role")],
    ids=range(4),
)
def test_a_user_that_cannot_be_is_named_and_what_was_typed_is_kept(admin, name, fields, said):
    before = len(users.listed())
    answer = admin.submit("/users", {"name": name, "role": "viewer"} | fields)
    page = Html(answer.text)
    assert (answer.status_code, said in page.text) == (422, True)
    assert not page.all("img")
    assert not page.all("pre")  # no password for nobody
    typed = next(tag.attributes["value"] for tag in page.tags if tag.attributes.get("id") == "name")
    assert typed == fields.get("name", name)
    assert len(users.listed()) == before


def test_a_role_binds_from_the_next_request_on(admin, app, name):
    browser = somebody(app, name, "viewer")
    assert browser.get("/queues/email/pause").status_code == 403
    assert f"/users/{name}/viewer" not in admin.html("/users").links()
    assert f"Make operator, 1 user: {name}?" in admin.html(f"/users/{name}/operator").text
    assert admin.submit(f"/users/{name}/operator").headers["location"] == "/users"
    assert browser.get("/queues/email/pause").status_code == 200
    assert acts(name)[0] == ("user.set_role", "dashboard")


def test_who_is_kept_out_is_out_at_once_and_may_come_back(admin, app, name):
    browser = somebody(app, name, "viewer")
    assert f"/users/{name}/enable" not in admin.html("/users").links()
    admin.submit(f"/users/{name}/disable")
    assert browser.get("/queues").headers["location"].startswith("/login")
    assert "kept out" in row(admin, name).text
    assert f"/users/{name}/disable" not in admin.html("/users").links()
    admin.submit(f"/users/{name}/enable")
    assert Browser(app).log_in(name).status_code == 303
    assert [act for act, _ in acts(name)][:3] == ["user.log_in", "user.enable", "user.disable"]


def test_a_lost_password_is_replaced_and_its_sessions_end(admin, app, name):
    browser = somebody(app, name, "viewer")
    answer = admin.submit(f"/users/{name}/password")
    password = next(tag.text for tag in Html(answer.text).all("pre"))
    assert browser.get("/").headers["location"] == "/login"
    assert Browser(app).log_in(name, PASSWORD).status_code == 403
    assert Browser(app).log_in(name, password).status_code == 303
    assert password not in admin.get("/users").text


def test_nobody_changes_themselves_so_that_an_admin_is_left(app, name):
    browser = somebody(app, name, "admin")
    assert not [link for link in browser.html("/users").links() if link.startswith(f"/users/{name}/")]
    for act in ("viewer", "disable", "password"):
        assert browser.get(f"/users/{name}/{act}").status_code == 422
        answer = browser.post(f"/users/{name}/{act}")
        assert (answer.status_code, "That is you" in answer.text) == (422, True)
    assert next(one for one in users.listed() if one["name"] == name)["role"] == "admin"


def test_who_is_no_admin_makes_no_admin(operator, app, name):
    users.add(ANN, name, "viewer", PASSWORD)
    assert operator.get("/users").status_code == 403
    assert operator.post("/users", {"name": "mallory", "role": "admin"}).status_code == 403
    assert operator.post(f"/users/{name}/admin").status_code == 403
    assert {one["name"]: one["role"] for one in users.listed()}[name] == "viewer"
    assert "mallory" not in [one["name"] for one in users.listed()]
