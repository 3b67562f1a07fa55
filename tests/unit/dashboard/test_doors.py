"""Who comes into the dashboard: every page says its role, and no other site, browser or former session gets in."""

import re

import pytest
from sqlalchemy import select, update

from browsing import ANN, PASSWORD, SAME_SITE, Browser, Html, somebody
from dashboard.app import all_pages
from dashboard.forms import token_of
from dashboard.visits import own_path
from processors.errors import ServiceUnavailable
from records.audit import WantedActs
from records.columns import Now
from records.users import IDLE_SECONDS, user_sessions
from services import audit, passwords, users
from services.access import digest_of
from services.celery_service import celery_service
from services.wiring import parts
from waiting import until

PAGES = {
    ("GET", "/"): "read",
    ("GET", "/acts/cancel"): "operate",
    ("POST", "/acts/cancel"): "operate",
    ("GET", "/acts/replay"): "operate",
    ("POST", "/acts/replay"): "operate",
    ("POST", "/acts/{task_id}/undo"): "operate",
    ("GET", "/artefacts/{sha256}"): "read",
    ("GET", "/audit"): "admin",
    ("GET", "/campaigns"): "read",
    ("GET", "/campaigns/{campaign_id}"): "read",
    ("GET", "/campaigns/{campaign_id}/pause"): "operate",
    ("POST", "/campaigns/{campaign_id}/pause"): "operate",
    ("GET", "/campaigns/{campaign_id}/resume"): "operate",
    ("POST", "/campaigns/{campaign_id}/resume"): "operate",
    ("GET", "/campaigns/{campaign_id}/cancel"): "operate",
    ("POST", "/campaigns/{campaign_id}/cancel"): "operate",
    ("GET", "/campaigns/{campaign_id}/hang-up"): "operate",
    ("POST", "/campaigns/{campaign_id}/hang-up"): "operate",
    ("GET", "/failures"): "read",
    ("GET", "/keys"): "admin",
    ("POST", "/keys"): "admin",
    ("GET", "/keys/{key_id}/revoke"): "admin",
    ("POST", "/keys/{key_id}/revoke"): "admin",
    ("GET", "/limits"): "operate",
    ("POST", "/limits"): "operate",
    ("GET", "/limits/clear"): "operate",
    ("POST", "/limits/clear"): "operate",
    ("GET", "/login"): None,
    ("POST", "/login"): None,
    ("POST", "/logout"): "read",
    ("GET", "/outbox"): "read",
    ("GET", "/outbox/{mail_id}"): "operate",
    ("GET", "/outbox/{mail_id}/page"): "operate",
    ("GET", "/outbox/{mail_id}/parts/{number}"): "operate",
    ("GET", "/outbox/{mail_id}/source"): "operate",
    ("GET", "/plots"): "read",
    ("GET", "/queues"): "read",
    ("GET", "/queues/{queue}/pause"): "operate",
    ("POST", "/queues/{queue}/pause"): "operate",
    ("GET", "/queues/{queue}/resume"): "operate",
    ("POST", "/queues/{queue}/resume"): "operate",
    ("GET", "/queues/{queue}/drain"): "operate",
    ("POST", "/queues/{queue}/drain"): "operate",
    ("GET", "/queues/{queue}/purge"): "operate",
    ("POST", "/queues/{queue}/purge"): "operate",
    ("GET", "/schedules"): "read",
    ("GET", "/schedules/add"): "operate",
    ("POST", "/schedules/add"): "operate",
    ("GET", "/schedules/change"): "operate",
    ("POST", "/schedules/change"): "operate",
    ("GET", "/schedules/remove"): "operate",
    ("POST", "/schedules/remove"): "operate",
    ("GET", "/schedules/pause"): "operate",
    ("POST", "/schedules/pause"): "operate",
    ("GET", "/schedules/resume"): "operate",
    ("POST", "/schedules/resume"): "operate",
    ("GET", "/schedules/run"): "operate",
    ("POST", "/schedules/run"): "operate",
    ("GET", "/static/{name}"): None,
    ("GET", "/tasks"): "read",
    ("GET", "/tasks/{task_id}"): "read",
    ("GET", "/tasks/{task_id}/cancel"): "operate",
    ("POST", "/tasks/{task_id}/cancel"): "operate",
    ("GET", "/tasks/{task_id}/events"): "read",
    ("GET", "/tasks/{task_id}/file"): "read",
    ("GET", "/tasks/{task_id}/mail"): "read",
    ("GET", "/tasks/{task_id}/mails/{position}"): "read",
    ("GET", "/tasks/{task_id}/mails/{position}/page"): "read",
    ("GET", "/tasks/{task_id}/replay"): "operate",
    ("POST", "/tasks/{task_id}/replay"): "operate",
    ("GET", "/usage"): "read",
    ("GET", "/users"): "admin",
    ("POST", "/users"): "admin",
    ("GET", "/users/{user}/viewer"): "admin",
    ("POST", "/users/{user}/viewer"): "admin",
    ("GET", "/users/{user}/operator"): "admin",
    ("POST", "/users/{user}/operator"): "admin",
    ("GET", "/users/{user}/admin"): "admin",
    ("POST", "/users/{user}/admin"): "admin",
    ("GET", "/users/{user}/password"): "admin",
    ("POST", "/users/{user}/password"): "admin",
    ("GET", "/users/{user}/disable"): "admin",
    ("POST", "/users/{user}/disable"): "admin",
    ("GET", "/users/{user}/enable"): "admin",
    ("POST", "/users/{user}/enable"): "admin",
    ("POST", "/views"): "read",
    ("GET", "/views/remove"): "read",
    ("POST", "/views/remove"): "read",
    ("GET", "/webhooks"): "admin",
    ("POST", "/webhooks"): "admin",
    ("GET", "/webhooks/{webhook_id}/test"): "admin",
    ("POST", "/webhooks/{webhook_id}/test"): "admin",
    ("GET", "/webhooks/{webhook_id}/disable"): "admin",
    ("POST", "/webhooks/{webhook_id}/disable"): "admin",
    ("GET", "/webhooks/{webhook_id}/enable"): "admin",
    ("POST", "/webhooks/{webhook_id}/enable"): "admin",
    ("GET", "/webhooks/{webhook_id}/remove"): "admin",
    ("POST", "/webhooks/{webhook_id}/remove"): "admin",
    ("GET", "/workers"): "read",
}
"""Of every page the scope that it wants; None: it is open."""

GUARDED = [name for name, scope in PAGES.items() if scope and name != ("POST", "/logout")]
ROLES = list(users.ROLES)


def allowed(role: str, scope: str) -> bool:
    return ROLES.index(role) >= {"read": 0, "operate": 1, "admin": 2}[scope]


# --- Roles ------------------------------------------------------------------------------------------------------


def test_every_page_says_who_may_see_it_and_this_table_says_the_same():
    known = {(method, page.path): page.scope for page in all_pages() for method in page.methods - {"HEAD"}}
    assert known == PAGES
    assert len(known) == len(all_pages())


def test_a_page_takes_its_role_and_more_and_is_403_to_who_has_less(person):
    for role in ROLES:
        browser = person(role)
        token = browser.token()
        for method, path in GUARDED:
            answer = browser.client.request(method, path, data={"token": token} if method == "POST" else None)
            if allowed(role, PAGES[method, path]):
                assert answer.status_code in (200, 303, 404, 422), (role, method, path, answer.text)
                assert not answer.headers.get("location", "").startswith("/login")
            else:
                assert answer.status_code == 403, (role, method, path)
                assert "which your role has not" in Html(answer.text).text


def test_without_a_session_a_page_leads_to_the_login_and_back(app):
    browser = Browser(app)
    for method, path in GUARDED:
        answer = browser.client.request(method, path, data={"token": "x"} if method == "POST" else None)
        assert answer.status_code == 303, (method, path)
        assert answer.headers["location"].startswith("/login"), (method, path)
    assert browser.get("/queues").headers["location"] == "/login?next=%2Fqueues"
    assert browser.get("/tasks/a%2Fb%20c").headers["location"] == "/login?next=%2Ftasks%2Fa%252Fb%2520c"
    assert browser.get("/audit?act=x").headers["location"] == "/login?next=%2Faudit%3Fact%3Dx"
    assert browser.post("/logout").headers["location"] == "/login"
    part = browser.get("/queues", **{"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (401, "/login?next=%2Fqueues")


def test_who_sees_less_is_shown_less(viewer, admin):
    assert not {"/keys", "/audit"} & set(viewer.html("/").links())
    assert {"/keys", "/audit"} <= set(admin.html("/").links())
    assert not [link for link in viewer.html("/queues").links() if link.endswith("/purge")]
    assert [link for link in admin.html("/queues").links() if link.endswith("/purge")]


def test_a_viewer_who_purges_has_changed_nothing(viewer, monkeypatch):
    monkeypatch.setattr(celery_service, "purge_queue", lambda _queue: pytest.fail("it was purged"))
    before = audit.acts(WantedActs(act="queue.purge"), 500)
    assert viewer.get("/queues/email/purge").status_code == 403
    assert viewer.post("/queues/email/purge").status_code == 403
    assert audit.acts(WantedActs(act="queue.purge"), 500) == before


# --- Other sites and other browsers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": ""},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
    ],
)
def test_forms_of_other_sites_are_refused(operator, monkeypatch, headers):
    monkeypatch.setattr(celery_service, "pause_queue", lambda _queue: pytest.fail("it was paused"))
    token = operator.token()
    assert operator.post("/queues/email/pause", {"token": token}, **headers).status_code == 403


def test_a_browser_that_does_not_say_where_a_form_comes_from_is_refused_and_an_old_one_says_it_by_origin(operator):
    token = operator.token()
    del operator.client.headers["Sec-Fetch-Site"]
    assert operator.post("/queues/nowhere/pause", {"token": token}).status_code == 403
    assert operator.post("/queues/nowhere/pause", {"token": token}, Origin="http://localhost").status_code == 404


def test_a_form_without_its_own_browsers_token_is_refused(operator, person, monkeypatch):
    monkeypatch.setattr(celery_service, "pause_queue", lambda _queue: pytest.fail("it was paused"))
    for token in (None, "", "x", "ü", person("admin").token(), operator.session(), operator.token() + "0"):
        answer = operator.post("/queues/email/pause", {"token": token, "other": "field"})
        assert answer.status_code == 403, token
        assert "too old" in answer.text


def test_a_login_form_of_another_browser_is_refused(app, name):
    users.add(ANN, name, "viewer", PASSWORD)
    stranger, browser = Browser(app), Browser(app)
    fields = {"name": name, "password": PASSWORD, "token": stranger.token()}
    assert browser.post("/login", fields).status_code == 403
    assert browser.session() == ""


def test_a_login_form_that_another_tab_has_overtaken_logs_in_too(app, name):
    users.add(ANN, name, "viewer", PASSWORD)
    browser = Browser(app)
    first, second = browser.token(), browser.token()
    assert browser.log_in(name, token=first).status_code == 303
    assert browser.log_in(name, "wrong", token=second).status_code == 403
    assert browser.log_in(name, token=second).status_code == 303
    assert browser.get("/queues").status_code == 200
    assert browser.post("/login", {"name": name, "password": PASSWORD, "token": browser.token()}).status_code == 403


LED_HERE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize("path", ["/", "/tasks/a%2Fb%20c?x=%22%27&y=1", "/login?next=%2Fqueues"])
def test_a_link_of_another_site_is_followed_once_more_from_here_so_that_the_session_comes_along(app, path):
    stranger = Browser(app)
    token = stranger.token()
    answer = stranger.get(path, **LED_HERE)
    page = Html(answer.text)
    assert (answer.status_code, page.links()) == (200, [path])
    assert [tag.attributes["content"] for tag in page.all("meta") if "http-equiv" in tag.attributes] == [
        f"0; url={path}"
    ]
    assert "set-cookie" not in answer.headers, "the cookies that stayed away are kept"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    again = stranger.get(path, **LED_HERE | SAME_SITE)
    assert "http-equiv" not in again.text
    assert stranger.token() == token


def test_only_a_window_that_another_site_leads_here_is_led_on(app, viewer):
    stranger = Browser(app)
    for unlike in ({"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Mode": "cors"}, {"Sec-Fetch-Dest": "iframe"}):
        assert stranger.get("/queues", **LED_HERE | unlike).headers["location"] == "/login?next=%2Fqueues"
    assert stranger.client.head("/queues", headers=LED_HERE).status_code == 303
    assert stranger.get("http://localhost//evil.example/", **LED_HERE).status_code == 404
    assert "http-equiv" not in viewer.get("/queues", **LED_HERE).text


def test_what_is_no_form_or_too_large_is_refused(operator):
    token = operator.token()
    as_json = operator.client.post("/queues/email/pause", json={"token": token})
    assert as_json.status_code == 415
    assert operator.post("/queues/email/pause", {"token": token, "x": "x" * 70_000}).status_code == 413
    many = operator.client.post("/queues/email/pause", data={str(n): "" for n in range(200)} | {"token": token})
    assert many.status_code == 400


# --- Sessions ---------------------------------------------------------------------------------------------------


def test_the_cookie_is_for_this_site_alone_and_for_no_script(app, name):
    users.add(ANN, name, "viewer", PASSWORD)
    plain = Browser(app).log_in(name).headers.get_list("set-cookie")
    safe = Browser(app, "https://localhost").log_in(name).headers.get_list("set-cookie")
    session = next(one for one in plain if one.startswith("csai-session="))
    host = next(one for one in safe if one.startswith("__Host-csai-session="))
    for one in (session, host):
        assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=2592000"} <= set(one.split("; ")), one
    assert "Secure" in host.split("; ")
    assert "Secure" not in session
    assert all("HttpOnly" in one and "SameSite=strict" in one for one in plain + safe)
    token = session.partition("=")[2].partition(";")[0]
    assert len(token) == 43
    rows = parts().database.read(lambda c: c.execute(select(user_sessions)).all())
    assert token not in repr(rows)
    assert digest_of(token) in repr(rows)


def test_a_login_replaces_the_session_before_it(app, viewer, name):
    former = viewer.session()
    users.add(ANN, name, "viewer", PASSWORD)
    assert viewer.log_in(name, token=token_of(viewer.visitor())).status_code == 303
    assert viewer.session() not in ("", former)
    assert users.caller_of(former, active=False) is None
    assert users.caller_of(viewer.session(), active=False).name == name


def test_a_log_out_ends_the_session_for_whoever_kept_its_token(viewer):
    kept = viewer.session()
    answer = viewer.post("/logout")
    assert (answer.status_code, answer.headers["location"], viewer.session()) == (303, "/login", "")
    assert users.caller_of(kept, active=False) is None
    assert viewer.get("/").status_code == 303


def test_a_disabled_user_is_out_at_once_and_may_come_back(app, name):
    browser = somebody(app, name, "admin")
    users.disable(ANN, name)
    assert browser.get("/").headers["location"] == "/login"
    assert Browser(app).log_in(name).status_code == 403
    users.enable(ANN, name)
    assert browser.get("/").status_code == 303  # that session is over
    assert Browser(app).log_in(name).status_code == 303


def test_another_password_ends_all_sessions_of_its_user_and_of_nobody_else(app, viewer, name):
    browsers = [somebody(app, name, "viewer"), Browser(app)]
    browsers[1].log_in(name)
    assert [one.get("/").status_code for one in browsers] == [200, 200]
    users.set_password(ANN, name, "quite another one")
    assert [one.get("/").status_code for one in browsers] == [303, 303]
    assert viewer.get("/").status_code == 200
    assert Browser(app).log_in(name).status_code == 403
    assert Browser(app).log_in(name, "quite another one").status_code == 303


def test_a_login_that_a_new_password_overtakes_begins_no_session(app, name, monkeypatch):
    users.add(ANN, name, "viewer", PASSWORD)
    really = passwords.matches

    def slow(password, kept):
        found = really(password, kept)
        users.set_password(ANN, name, "quite another one")
        return found

    monkeypatch.setattr(passwords, "matches", slow)
    assert Browser(app).log_in(name).status_code == 403


def test_another_role_binds_from_the_next_request_on(app, name):
    browser = somebody(app, name, "admin")
    assert browser.get("/keys").status_code == 200
    users.set_role(ANN, name, "viewer")
    assert browser.get("/keys").status_code == 403


def move_session(browser: Browser, **moments) -> None:
    of = user_sessions.c.digest == digest_of(browser.session())
    parts().database.write(lambda c: c.execute(update(user_sessions).where(of).values(**moments)))


def test_a_session_ends_after_twelve_idle_hours_and_after_thirty_days(person):
    idle, busy, old = (person("viewer") for _ in range(3))
    move_session(idle, seen_at=Now(-IDLE_SECONDS))
    move_session(busy, seen_at=Now(60 - IDLE_SECONDS))
    move_session(old, expires_at=Now(-1))
    assert [one.get("/").status_code for one in (idle, busy, old)] == [303, 200, 303]
    person("viewer")
    left = parts().database.read(lambda c: c.execute(select(user_sessions.c.digest)).scalars().all())
    assert digest_of(busy.session()) in left
    assert not {digest_of(idle.session()), digest_of(old.session())} & set(left)


def test_only_what_a_person_does_keeps_a_session_alive(viewer):
    def seen_at():
        of = user_sessions.c.digest == digest_of(viewer.session())
        parts().database.write(lambda c: None)  # what waits was written before
        return parts().database.read(lambda c: c.execute(select(user_sessions.c.seen_at).where(of)).scalar_one())

    move_session(viewer, seen_at=Now(-3600))
    before = seen_at()
    assert viewer.get("/workers", **{"HX-Request": "true"}).status_code == 200
    assert seen_at() == before
    assert viewer.get("/workers").status_code == 200
    until(lambda: seen_at() > before, what="it is noted that somebody was there")


def test_a_database_that_is_away_is_told_and_logs_nobody_out(viewer, monkeypatch):
    def away(_digest):
        raise ServiceUnavailable("The record database does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(parts().users, "of_session", away)
        answer = viewer.get("/")
        assert (answer.status_code, "does not answer" in answer.text) == (503, True)
    assert viewer.get("/").status_code == 200


# --- Logging in -------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_a_login_is_told_by_neither_words_nor_work(app, name, monkeypatch):
    users.add(ANN, name, "viewer", PASSWORD)
    users.add(ANN, f"{name}-out", "viewer", PASSWORD)
    users.disable(ANN, f"{name}-out")
    worked = []
    really = passwords._scrypt

    def counted(password, salt, cost, block_size, parallelism):
        worked.append((cost, block_size, parallelism, len(salt)))
        return really(password, salt, cost, block_size, parallelism)

    monkeypatch.setattr(passwords, "_scrypt", counted)
    told = set()
    tries = (
        (name, "wrong"),
        (name, ""),
        (f"{name}-out", PASSWORD),
        ("nobody", PASSWORD),
        ("", ""),
        ("\0'--", "x" * 900),
    )
    for who, password in tries:
        answer = Browser(app).log_in(who, password)
        assert answer.status_code == 403
        told.add(re.sub(r'(name="token"|id="name" name="name") value="[^"]*"', "", answer.text))
    assert len(told) == 1
    assert len(worked) == len(tries)
    assert len(set(worked)) == 1


def test_a_name_is_taken_in_capitals_and_with_spaces_around_it(app, name):
    users.add(ANN, name, "viewer", PASSWORD)
    assert Browser(app).log_in(f" {name.upper()} ").status_code == 303


def test_tries_of_one_name_are_limited_wherever_they_come_from(app, name, clock):
    users.add(ANN, name, "viewer", PASSWORD)
    for number in range(10):
        browser = Browser(app)
        browser.client._transport.client = (f"10.0.0.{number}", 5000)
        assert browser.log_in(name, "wrong").status_code == 403
    browser = Browser(app)
    browser.client._transport.client = ("10.0.1.1", 5000)
    answer = browser.log_in(name)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "6")
    assert "Too many tries; try again in 6 s." in Html(answer.text).text
    assert browser.log_in(f"{name}x", "wrong").status_code == 403  # another name
    clock.now += 6
    assert browser.log_in(name).status_code == 303


def test_tries_from_one_address_are_limited_whatever_the_names(app, name, clock):
    users.add(ANN, name, "viewer", PASSWORD)
    browser = Browser(app)
    assert [browser.log_in(f"{name}{number}", "wrong").status_code for number in range(20)] == [403] * 20
    assert browser.log_in(name).status_code == 429
    clock.now += 3
    assert browser.log_in(name).status_code == 303


def test_logins_that_succeed_count_for_nothing(app, name):
    users.add(ANN, name, "viewer", PASSWORD)
    assert [Browser(app).log_in(name).status_code for _ in range(30)] == [303] * 30


def test_a_login_is_written_down_with_its_address_and_so_are_the_try_of_one_and_its_end(app, name):
    users.add(ANN, name, "viewer", PASSWORD)
    browser = Browser(app)
    browser.client._transport.client = ("10.7.7.7", 5000)
    browser.log_in(name, "wrong")
    browser.log_in(f"{name}x", "wrong")
    until(lambda: audit.acts(WantedActs(actor=name), 10), what="the try is written down")
    browser.log_in(name)
    browser.post("/logout")
    rows = audit.acts(WantedActs(target_kind="user", target_id=name), 10)
    assert [(row.act, row.origin, row.actor, row.outcome, row.details) for row in rows[:3]] == [
        ("user.log_out", "dashboard", name, "done", None),
        ("user.log_in", "dashboard", name, "done", {"address": "10.7.7.7"}),
        ("user.log_in", "dashboard", name, "failed", {"address": "10.7.7.7"}),
    ]
    assert not audit.acts(WantedActs(actor=f"{name}x"), 10), "who may be typed by mistake: a password"


@pytest.mark.parametrize("wanted", ["/queues", "/tasks/a:1?x=1&y=%2F", "/audit?act=queue.purge"])
def test_after_the_login_one_is_where_one_wanted_to_be(app, name, wanted):
    users.add(ANN, name, "viewer", PASSWORD)
    browser = Browser(app)
    page = browser.html(browser.get(wanted).headers["location"])
    answer = browser.client.post("/login", data=page.forms[0].fields | {"name": name, "password": PASSWORD})
    assert answer.headers["location"] == wanted
    again = browser.client.get("/login", params={"next": wanted})
    assert again.headers["location"] == wanted


@pytest.mark.parametrize("wanted", ["/logout", "/views", "/acts/a/undo", "/logout?x=1", "/nothing"])
def test_the_login_leads_to_no_page_that_nobody_can_look_at(app, name, wanted):
    users.add(ANN, name, "viewer", PASSWORD)
    browser = Browser(app)
    assert browser.log_in(name, next=wanted).headers["location"] == "/"
    assert browser.client.get("/login", params={"next": wanted}).headers["location"] == "/"


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\\b",
        "javascript:alert(1)",
        "evil.example",
        "",
        "/\tevil",
        "/ /evil.example",
        "/\r\nSet-Cookie: a=b",
        "/ü",
        "/" + "x" * 2000,
        "http:/evil.example",
    ],
)
def test_the_login_leads_to_no_other_site(app, name, wanted):
    users.add(ANN, name, "viewer", PASSWORD)
    browser = Browser(app)
    page = Html(browser.client.get("/login", params={"next": wanted}).text)
    assert page.forms[0].fields["next"] == "/"
    assert browser.log_in(name, next=wanted).headers["location"] == "/"
    assert browser.client.get("/login", params={"next": wanted}).headers["location"] == "/"
    assert own_path(wanted) == "/"
