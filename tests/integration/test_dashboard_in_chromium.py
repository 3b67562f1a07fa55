"""Every page and act of the dashboard in a real browser, both themes, a wide window and a phone's."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import ANN, PASSWORD
from call_faults import web_application
from call_rows import Phones
from chromium import PHONE, WIDE, Watched, chromium
from config.settings import PROJECT_ROOT
from dashboard import figures
from dashboard.app import all_pages
from dashboard.recent import Recent
from furnished import busy_hour, failed, furnish, logged, says, started, waiting
from processors.health import Check, Health
from processors.webhooks import Answered
from records.task_moves import Failure
from services import passwords, users
from services.access import Caller, reach
from services.celery_service import celery_service
from services.testing import InlineService, running_inline
from services.wiring import parts
from waiting import until

pytestmark = pytest.mark.services

ADMIN = Caller("user", "admin", reach(("admin",)), origin="dashboard")
NO_PAGES = {
    "/artefacts/{sha256}",
    "/login",
    "/outbox/{mail_id}/page",
    "/outbox/{mail_id}/parts/{number}",
    "/outbox/{mail_id}/source",
    "/plots",
    "/static/{name}",
    "/tasks/{task_id}/events",
    "/tasks/{task_id}/file",
    "/tasks/{task_id}/mail",
    "/tasks/{task_id}/mails/{position}/page",
}
"""Routes that answer with files, figures and parts of pages, for which pages ask; and the login, of who has none."""

FOCUS = """() => {
  const one = document.activeElement;
  if (one === document.body) return ["", 0, false];
  const place = one.getBoundingClientRect();
  const seen = place.bottom > 0 && place.top < innerHeight && place.right > 0 && place.left < innerWidth;
  return [one.outerHTML.slice(0, 200), parseFloat(getComputedStyle(one).outlineWidth), seen];
}"""
"""What has the focus, how wide the line around it is, and whether it is in the window."""

HOSTILE = """"'><img src=x onerror=ran=1><script>ran=1</script><b hx-on:htmx:load=ran=1>{{7*7}}"""
RAN = "typeof ran"
BROKEN = "<img src='http://127.0.0.2:9/x.png' width=2000 height=60 onerror='ran=1'>"

DRAWN = """([plot, name]) => {
  const probe = document.body.appendChild(document.createElement("span"));
  probe.style.color = `var(--${name})`;
  const [red, green, blue] = getComputedStyle(probe).color.match(/[0-9]+/g).map(Number);
  const canvas = document.querySelector(`[data-plot=${plot}] canvas`);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4)
    if (data[at] === red && data[at + 1] === green && data[at + 2] === blue) found += 1;
  return found;
}"""
"""How many points of a plot have a line's colour."""

HIT_TWICE = """(button) => {
  const sent = [];
  addEventListener("submit", (event) => {
    sent.push(!event.defaultPrevented);
    event.preventDefault();
  });
  for (const again of [1, 2]) {
    button.click();
    button.click();
    dispatchEvent(new Event("pageshow"));
  }
  return sent;
}"""
"""Whether each of two hits sends the form, and each of two more after somebody has come back to the page."""

DONE: set[str] = set()
"""Routes of acts that a test here does."""

LOOKS = {"wide-light": (WIDE, "light"), "phone-dark": (PHONE, "dark")}


def does(*paths: str) -> Callable[[Callable], Callable]:
    """Say which acts a test does."""
    DONE.update(paths)
    return lambda test: test


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[InlineService]:
    """An installation of its own, in which tasks run at once, and passwords are quick to check."""
    with running_inline(tmp_path_factory.mktemp("service")) as service, pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "COST", 2)
        patch.setattr(passwords, "PARALLELISM", 1)
        for role in ("viewer", "operator", "admin"):
            users.add(ANN, role, role, PASSWORD)
        yield service
        parts().sandbox.close()  # a document is read


@pytest.fixture(autouse=True)
def _workers_live(service) -> None:
    for mark in ("plain", "odd"):
        parts().workers.renew(f"worker-of-{mark}-runs", 120)


@pytest.fixture(scope="module")
def base(service) -> Iterator[str]:
    with web_application() as base:
        yield base


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def shown(service) -> dict[str, str]:
    """What there is to be seen."""
    return furnish(ADMIN, "plain")


@contextmanager
def opened(browser: Browser, base: str, role: str = "", **options) -> Iterator[Watched]:
    """A page of somebody of this role who has logged in, or of a stranger; nothing may be wrong with it."""
    with browser.new_context(base_url=base, **{"viewport": WIDE} | options) as context:
        if role:
            session = users.log_in(role, PASSWORD)
            context.add_cookies([{"name": "csai-session", "value": session, "url": base, "sameSite": "Strict"}])
        watched = Watched(context, base)
        yield watched
    assert not watched.wrong, "\n".join(watched.wrong)


@pytest.fixture
def somebody(browser, base) -> Iterator[Callable[..., Watched]]:
    with ExitStack() as stack:
        yield lambda role="", **options: stack.enter_context(opened(browser, base, role, **options))


@pytest.fixture(scope="module")
def looks(browser, base, service) -> Iterator[dict[str, Watched]]:
    """An admin's page for each look."""
    with ExitStack() as stack:
        yield {
            look: stack.enter_context(opened(browser, base, "admin", viewport=viewport, color_scheme=scheme))
            for look, (viewport, scheme) in LOOKS.items()
        }


# --- Every page ---------------------------------------------------------------------------------------------------

QUERIES = {
    "/schedules/change": "name={schedule}",
    "/schedules/remove": "name={schedule}",
    "/schedules/pause": "name={schedule}",
    "/schedules/resume": "name={schedule}",
    "/schedules/run": "name={schedule}",
    "/limits": "scope={scope}",
    "/limits/clear": "scope={scope}",
    "/views/remove": "name={view}",
    "/acts/cancel": "tenant={tenant}",
    "/acts/replay": "tenant={tenant}",
}
"""What a page's address asks for, where it must ask for something."""

TASKS = (
    "waits",
    "runs",
    "document",
    "image",
    "audio",
    "video",
    "chat",
    "text",
    "archive",
    "notified",
    "plain",
    "words",
    "call",
    "campaign",
    "member",
    "sent",
)
MORE = {
    "a-week": "/?hours=168",
    "filtered": "/tasks?tag={tag}&tenant={tenant}&created_from=2020-01-01T00:00",
    "wrong-filter": "/tasks?created_from={tenant}",
    "no-task": "/tasks?tag=never",
    "no-failure": "/failures?hours=1",
    "usage-by-tenant": "/usage?days=30&by=model&by=tenant",
    "some-acts": "/audit?actor=ann&act=task.cancel",
    "nothing-to-cancel": "/acts/cancel?tag=never",
    "not-found": "/nothing",
} | {f"task-{kind}": f"/tasks/{{{kind}}}" for kind in TASKS}
STATUSES = {"wrong-filter": 422, "not-found": 404}
ROUTES = sorted({page.path for page in all_pages() if "GET" in page.methods} - NO_PAGES)
PAGES = {re.sub("[^a-z]+", "-", path).strip("-") or "overview": path for path in ROUTES} | MORE


def address(path: str, shown: dict[str, str]) -> str:
    """Where a route's page is, of what is shown."""
    given = {
        "task_id": shown["runs" if path.endswith("/cancel") else "failed"],
        "queue": "email",
        "key_id": shown["key"],
        "mail_id": shown["mail"],
        "position": "0",
    }
    if "/mails/" in path:
        given["task_id"] = shown["bulk"]
    given |= {"campaign_id": shown["campaign"], "user": "viewer", "webhook_id": shown["webhook"]}
    given |= {name: quote(value, safe="") for name, value in shown.items()}
    return f"{path}?{QUERIES[path]}".format(**given) if path in QUERIES else path.format(**given)


def complete(page: Page) -> None:
    """Wait until a page is as it stays: plots are drawn, pictures and frames are there."""
    for plot in page.locator("[data-plot]").all():
        expect(plot.locator("canvas")).to_be_visible()
    for picture in page.locator("img").all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("complete", value=True)
    page.evaluate("scrollTo(0, 0)")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_keeps_still_and_fits_a_phone_in_both_themes(looks, shown, name):
    for look, watched in looks.items():
        watched.goes(address(PAGES[name], shown), STATUSES.get(name, 200))
        complete(watched.page)
        assert watched.moved() == [], look
        assert watched.too_wide() == [], look
        assert watched.inaccessible() == [], look
        watched.shoot(f"{name}-{look}")
        wrong, watched.wrong = watched.wrong, []
        assert wrong == [], look


def test_what_is_wrong_with_a_page_is_noticed(browser, base, service):
    with pytest.raises(AssertionError) as noticed, opened(browser, base, "viewer") as watched:
        watched.goes("/workers")
        watched.page.evaluate(f"document.body.insertAdjacentHTML('afterbegin', `{BROKEN}`)")
        watched.page.evaluate("setTimeout(() => { throw new Error('a bug'); }); alert('hello');")
        assert watched.moved()
        assert watched.too_wide()
        assert "image-alt" in {rule for rule, *_ in watched.inaccessible()}
        assert watched.page.evaluate(RAN) == "undefined"
    for told in ("a bug", "a dialog: hello", "img-src 'self' data:", "inline event handler"):
        assert told in str(noticed.value), told


def test_every_route_is_looked_at_or_done_here():
    assert {page.path for page in all_pages() if "GET" in page.methods} >= NO_PAGES
    assert {page.path for page in all_pages() if "POST" in page.methods} == DONE


@pytest.mark.parametrize("path", ["/", "/login", "/tasks"])
def test_a_first_look_is_small(somebody, shown, path):
    watched, taken = somebody("" if path == "/login" else "admin"), []
    watched.page.on("requestfinished", lambda request: taken.append(request.sizes()["responseBodySize"]))
    watched.goes(path)
    complete(watched.page)
    assert len(taken) >= 5
    assert sum(taken) < 100_000


@pytest.mark.parametrize("path", ["/", "/tasks", "/failures", "/queues", "/workers", "/schedules", "/outbox"])
def test_a_page_that_looks_again_by_itself_keeps_still(somebody, shown, path):
    watched = somebody("admin")
    watched.page.clock.install()
    watched.goes(path)
    complete(watched.page)
    watched.page.locator("#live").evaluate("one => one.dataset.before = true")
    watched.page.clock.fast_forward(6_000)
    expect(watched.page.locator("#live:not([data-before])")).to_be_visible()
    complete(watched.page)
    assert sum(one["value"] for one in watched.moved()) < 0.01  # a column grows with what is in it


@pytest.mark.parametrize("path", ["/", "/queues"])
def test_an_age_that_grows_moves_nothing(somebody, shown, path):
    watched = somebody("admin")
    watched.goes(path)
    complete(watched.page)
    ages = watched.page.locator("td.age")
    assert ages.count()
    for age in ("9 s", "59 min 59 s", "23 h 59 min", "99 d 23 h"):
        ages.evaluate_all("(all, age) => all.forEach(one => one.textContent = age)", age)
        assert watched.moved() == [], age


@pytest.mark.parametrize(
    ("plot", "colour"),
    [
        ("rates", "good"),
        ("share", "bad"),
        ("waits", "accent"),
        ("runs", "warn"),
        ("depth", "accent"),
        ("oldest", "warn"),
    ],
)
def test_what_was_in_one_minute_alone_is_drawn(somebody, shown, plot, colour):
    watched = somebody("viewer")
    watched.goes("/")
    complete(watched.page)
    assert watched.page.evaluate(DRAWN, [plot, colour]) > 0


def test_pages_work_without_a_script(somebody, shown):
    watched = somebody(java_script_enabled=False)
    page = watched.page
    watched.goes("/queues")
    page.get_by_label("Name").fill("operator")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Pause low_priority").click()
    page.get_by_role("button", name="Pause low_priority").click()
    expect(page.get_by_role("status")).to_have_text("The queue low_priority is paused.")
    page.get_by_role("link", name="Resume low_priority").click()
    page.get_by_role("button", name="Resume low_priority").click()
    expect(page.get_by_role("status")).to_have_text("The queue low_priority goes on.")


@pytest.mark.parametrize("path", ["/tasks", "/failures"])
def test_a_phone_shows_the_state_of_each_task_and_the_count_of_each_failure_beside_it(somebody, shown, path):
    watched = somebody("viewer", viewport=PHONE)
    watched.goes(path)
    for row in watched.page.locator("tbody tr").all():
        row.scroll_into_view_if_needed()
        expect(row.locator("td").first).to_be_in_viewport(ratio=0.99)


@pytest.mark.parametrize("path", ["/", "/failures", "/queues", "/tasks/{document}"])
def test_a_phone_shows_what_a_table_is_called_whole(somebody, shown, path):
    watched = somebody("viewer", viewport=PHONE)
    watched.goes(path.format(**shown))
    for named in watched.page.locator("caption").all():
        named.scroll_into_view_if_needed()
        expect(named).to_be_in_viewport(ratio=0.99)


def test_a_phone_shows_what_happened_to_a_task_beside_when(somebody, shown):
    watched = somebody("viewer", viewport=PHONE)
    watched.goes(f"/tasks/{shown['document']}")
    region = watched.page.get_by_role("region", name="What happened to the task")
    edge = region.bounding_box()["x"] + region.bounding_box()["width"]
    steps = [what.bounding_box() for what in region.locator("td:nth-child(3)").all()]
    assert len(steps) == 3
    assert [step["x"] + step["width"] <= edge for step in steps] == [True] * 3


# --- The switches and the keys ------------------------------------------------------------------------------------


def test_the_theme_is_the_systems_until_it_is_switched_and_is_kept(somebody, shown):
    watched = somebody("viewer", color_scheme="dark")
    page, switch = watched.page, watched.page.get_by_role("button", name="Theme")
    ground = "getComputedStyle(document.body).backgroundColor"
    watched.goes("/queues")
    dark = page.evaluate(ground)
    switch.click()
    expect(switch).to_have_text("Theme: light")
    light = page.evaluate(ground)
    assert light != dark
    watched.goes("/workers")
    assert page.evaluate(ground) == light
    switch.click()
    expect(switch).to_have_text("Theme: dark")
    assert page.evaluate(ground) == dark
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) == dark
    switch.click()
    expect(switch).to_have_text("Theme: system")
    assert page.evaluate(ground) == light


def test_a_page_looks_again_only_while_it_is_live(somebody, shown):
    watched = somebody("viewer")
    page, asked = watched.page, []
    page.clock.install()
    watched.goes("/queues")
    page.on("request", lambda request: asked.extend([1] * request.url.endswith("/queues")))
    page.get_by_role("button", name="Live").click()
    page.clock.run_for(20_000)
    assert asked == []
    page.get_by_role("button", name="Live").click()
    with page.expect_response("**/queues"):
        page.clock.run_for(6_000)
    link = page.get_by_role("navigation").get_by_role("link", name="Workers")
    link.focus()
    with page.expect_response("**/queues"):
        page.clock.run_for(6_000)
    expect(link).to_be_focused()


def test_a_link_in_hand_stays_in_hand(somebody, shown):
    watched = somebody("operator")
    page, asked = watched.page, []
    page.clock.install()
    watched.goes("/queues")
    page.get_by_role("link", name="Pause email").focus()
    page.on("request", lambda request: asked.extend([1] * request.url.endswith("/queues")))
    page.clock.run_for(20_000)
    expect(page.get_by_role("link", name="Pause email")).to_be_focused()
    assert asked == []


def test_the_list_is_used_by_keys(somebody, shown):
    watched = somebody("viewer")
    page, rows = watched.page, watched.page.locator("[data-row]")
    watched.goes("/tasks")
    for key, row in (("j", 0), ("j", 1), ("j", 2), ("k", 1), ("k", 0), ("k", 0)):
        page.keyboard.press(key)
        expect(rows.nth(row)).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Search words")).to_be_focused()
    page.keyboard.type("j/k")
    expect(page.get_by_label("Search words")).to_have_value("j/k")
    page.get_by_role("button", name="Keys").click()
    page.keyboard.press("j")
    expect(page.get_by_role("button", name="Keys")).to_be_focused()
    watched.goes("/tasks")
    page.keyboard.press("j")
    expect(rows.first).not_to_be_focused()
    page.get_by_role("button", name="Keys").click()
    page.keyboard.press("j")
    where = rows.first.get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{where}")


def test_the_content_is_one_key_away(somebody, shown):
    watched = somebody("viewer")
    watched.goes("/tasks")
    watched.page.keyboard.press("Tab")
    skip = watched.page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    watched.page.keyboard.press("Enter")
    expect(watched.page.get_by_role("main")).to_be_focused()


@pytest.mark.parametrize("path", ["/tasks", "/queues", "/keys", "/tasks/{document}", "/tasks/{failed}"])
def test_whatever_has_the_focus_is_seen_to_have_it(somebody, shown, path):
    watched = somebody("admin")
    watched.goes(path.format(**shown))
    seen: list[str] = []
    while not seen or seen[-1]:
        watched.page.keyboard.press("Tab")
        where, width, is_seen = watched.page.evaluate(FOCUS)
        assert not where or (width >= 2 and is_seen), where
        seen.append(where)
    assert len(seen) > 15


# --- Acts ---------------------------------------------------------------------------------------------------------


def confirms(page: Page, link: str, button: str, said: str) -> None:
    """Follow a link to the question, say yes to it, and read what came of it."""
    page.get_by_role("link", name=link, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("?")
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.get_by_role("status").first).to_have_text(said)


@does("/login", "/logout")
def test_who_logs_in_comes_to_the_page_they_wanted_and_is_out_after_the_log_out(somebody, shown):
    for viewport, scheme in LOOKS.values():
        watched = somebody(viewport=viewport, color_scheme=scheme)
        page = watched.page
        watched.goes("/failures?hours=168")
        for password, status in (("a wrong one", 403), (PASSWORD, 200)):
            watched.expects(status)
            page.get_by_label("Name").fill("viewer")
            page.get_by_label("Password").fill(password)
            assert watched.inaccessible() == []
            assert watched.too_wide() == []
            page.keyboard.press("Enter")
            if status != 200:
                expect(page.get_by_role("alert")).to_contain_text("no such user")
        expect(page.get_by_role("heading", level=1)).to_have_text("Failures")
        assert page.url.endswith("/failures?hours=168")
        page.get_by_role("button", name="Log out viewer").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        watched.goes("/queues")
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_who_follows_a_link_of_another_site_is_logged_in_still(somebody, shown):
    watched, elsewhere = somebody("viewer"), "http://elsewhere.example"
    page = watched.page.context.new_page()
    link = f"<a href='{watched.base}/queues'>Look</a>"
    page.route(f"{elsewhere}/**", lambda route: route.fulfill(body=link, content_type="text/html"))
    page.goto(elsewhere)
    page.get_by_role("link", name="Look").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Queues")
    page.go_back()
    expect(page.get_by_role("link", name="Look")).to_be_visible()


def test_a_login_form_logs_in_where_another_tab_has_done_so_meanwhile(somebody, shown):
    watched = somebody()
    watched.goes("/queues")
    page, other = watched.page, watched.page.context.new_page()
    other.goto(f"{watched.base}/queues")
    for one in (page, other):
        one.get_by_label("Name").fill("viewer")
        one.get_by_label("Password").fill(PASSWORD)
        one.get_by_role("button", name="Log in").click()
        expect(one.get_by_role("heading", level=1)).to_have_text("Queues")


@does("/queues/{queue}/pause", "/queues/{queue}/resume", "/queues/{queue}/drain", "/queues/{queue}/purge")
def test_a_queue_is_steered(somebody, shown):
    watched = somebody("operator")
    watched.goes("/queues")
    page, row = watched.page, watched.page.get_by_role("row").filter(has_text="high_priority").first
    confirms(page, "Pause high_priority", "Pause high_priority", "The queue high_priority is paused.")
    expect(row).to_contain_text("paused")
    confirms(page, "Resume high_priority", "Resume high_priority", "The queue high_priority goes on.")
    expect(row).to_contain_text("open")
    said = "The queue high_priority is paused, and 0 of its tasks still run."
    confirms(page, "Drain high_priority", "Drain high_priority", said)
    task_id = waiting("purged", queue="high_priority", delay=0.0)
    said = "1 tasks of the queue high_priority were cancelled."
    confirms(page, "Purge high_priority", "Purge high_priority: cancel 1 tasks", said)
    assert celery_service.get_task_status(task_id)["status"] == "REVOKED"
    confirms(page, "Resume high_priority", "Resume high_priority", "The queue high_priority goes on.")


def test_a_button_that_is_hit_twice_sends_its_form_once_until_somebody_comes_back(somebody, shown):
    watched = somebody("admin")
    page, button = watched.page, watched.page.get_by_role("button", name="Make the user")
    watched.goes("/users")
    page.get_by_role("textbox", name="Name").fill("zoe")
    assert button.evaluate(HIT_TWICE) == [True, False, True, False]
    watched.goes("/users")
    page.get_by_role("textbox", name="Name").fill("zoe")
    button.dblclick()
    expect(page.get_by_label("The password", exact=True)).to_be_visible()
    page.go_back()
    page.get_by_role("textbox", name="Name").fill("zoe.too")
    button.click()
    expect(page.get_by_role("heading", name="The password of zoe.too")).to_be_visible()


@does("/schedules/pause", "/schedules/resume", "/schedules/run")
def test_a_schedule_is_steered(somebody, shown):
    watched = somebody("operator")
    watched.goes("/schedules")
    page, name = watched.page, shown["schedule"]
    confirms(page, f"Pause {name}", "Pause", f"The schedule {name} is paused.")
    confirms(page, f"Resume {name}", "Resume", f"The schedule {name} goes on.")
    confirms(page, f"Run now {name}", "Run now", f"The task of the schedule {name} was submitted: this one.")
    expect(page.get_by_text("SUCCESS").first).to_be_visible()


@does("/schedules/add", "/schedules/change", "/schedules/remove")
def test_a_schedule_is_added_changed_and_removed(somebody, shown):
    watched = somebody("operator", viewport=PHONE)
    watched.goes("/schedules")
    page, name = watched.page, "every hour"
    page.get_by_role("link", name="Add a schedule").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Task, such as").fill("cleanup.cleanup_old_logs")
    watched.expects(422)
    page.get_by_role("button", name="Add a schedule").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value(name)
    assert watched.inaccessible() == []
    assert watched.too_wide() == []
    page.get_by_label("Every so many seconds").fill("3600")
    page.get_by_role("button", name="Add a schedule").click()
    expect(page.get_by_role("status").first).to_have_text(f"The schedule {name} is added.")
    page.get_by_role("link", name=f"Change {name}").click()
    page.get_by_label("Every so many seconds").fill("7200")
    page.get_by_role("button", name="Change a schedule").click()
    expect(page.get_by_role("status").first).to_have_text(f"The schedule {name} is changed.")
    expect(page.get_by_role("row").filter(has_text=name)).to_contain_text("every 2 h")
    confirms(page, f"Remove {name}", "Remove", f"The schedule {name} is removed.")


@does("/campaigns/{campaign_id}/pause", "/campaigns/{campaign_id}/resume")
@does("/campaigns/{campaign_id}/cancel", "/campaigns/{campaign_id}/hang-up")
def test_a_campaign_is_steered(somebody, shown):
    watched = somebody("operator")
    page = watched.page
    for campaign, last in (("steered-1", "Cancel"), ("steered-2", "Cancel and hang up")):
        Phones(parts().database).campaign(campaign, ["+15005550013", "+15005550014"])
        watched.goes("/campaigns")
        page.get_by_role("link", name=campaign).click()
        for verb in ("Pause", "Resume", last):
            confirms(page, verb, f"{verb}: 2 members", f"{verb}: it is done.")
        expect(page.get_by_role("link", name="Pause")).to_have_count(0)


@does("/limits", "/limits/clear")
def test_a_limit_is_set_and_cleared(somebody, shown):
    watched = somebody("operator", viewport=PHONE)
    watched.goes("/queues")
    page = watched.page
    page.get_by_role("link", name="Set a limit").click()
    page.get_by_label("Of what").fill("tenant:blue")
    page.get_by_label("Starts, such as").fill("often")
    watched.expects(422)
    page.get_by_role("button", name="Set the limit").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert watched.inaccessible() == []
    assert watched.too_wide() == []
    page.get_by_label("Starts, such as").fill("5/m")
    page.get_by_role("button", name="Set the limit").click()
    said = "The limit of tenant:blue is set, from the next start on."
    expect(page.get_by_role("status").first).to_have_text(said)
    said = "What was set for tenant:blue is forgotten."
    confirms(page, "Clear tenant:blue", "Clear the limit of tenant:blue", said)


class Taken:
    """Takes whatever webhooks are sent."""

    def check(self, url: str) -> None:
        """Find nothing wrong with it."""

    def post(self, url, headers, body) -> Answered:
        return Answered(204)


@does("/webhooks", "/webhooks/{webhook_id}/test", "/webhooks/{webhook_id}/remove")
@does("/webhooks/{webhook_id}/disable", "/webhooks/{webhook_id}/enable")
def test_a_webhook_is_made_tried_switched_off_and_on_and_removed(somebody, shown, monkeypatch):
    monkeypatch.setitem(vars(parts()), "webhook_door", Taken())
    watched, url = somebody("admin", viewport=PHONE), "https://shop.example.com/hooks"
    watched.goes("/webhooks")
    page = watched.page
    page.get_by_label("Where to").fill(url)
    page.get_by_role("checkbox", name="SUCCESS").uncheck()
    page.get_by_role("button", name="Make the webhook").click()
    expect(page.get_by_label("The secret", exact=True)).to_contain_text("whsec_")
    assert watched.inaccessible() == []
    assert watched.too_wide() == []
    for verb, said in (
        ("Test", "It took the test: 204."),
        ("Disable", "It is told nothing more."),
        ("Enable", "It is told what ends from now on."),
        ("Remove", "The webhook is removed."),
    ):
        confirms(page, f"{verb} {url}", f"{verb} the webhook", said)


ROLES = tuple(f"/users/{{user}}/{role}" for role in ("viewer", "operator", "admin"))


@does("/users", *ROLES, "/users/{user}/password", "/users/{user}/disable", "/users/{user}/enable")
def test_a_user_is_made_changed_kept_out_and_let_in_again(somebody, shown):
    watched = somebody("admin")
    watched.goes("/users")
    page, password = watched.page, watched.page.get_by_label("The password", exact=True)
    page.get_by_role("textbox", name="Name").fill("eve")
    page.get_by_role("button", name="Make the user").click()
    first = password.text_content()
    assert watched.inaccessible() == []
    for role in ("operator", "admin", "viewer"):
        confirms(page, f"Make {role} eve", f"Make {role}: eve", f"eve is {role} from the next request on.")
    confirms(page, "Disable eve", "Disable: eve", "eve is kept out.")
    confirms(page, "Enable eve", "Enable: eve", "eve may log in again.")
    page.get_by_role("link", name="New password eve").click()
    page.get_by_role("button", name="New password: eve").click()
    second = password.text_content()
    assert (users.log_in("eve", first), bool(users.log_in("eve", second))) == (None, True)


@does("/tasks/{task_id}/cancel")
def test_a_task_is_cancelled(somebody, shown):
    task_id = waiting("to-cancel")
    watched = somebody("operator")
    watched.goes(f"/tasks/{task_id}")
    confirms(watched.page, "Cancel", "Cancel 1 task", "The task is cancelled.")
    expect(watched.page.get_by_text("REVOKED").first).to_be_visible()


@does("/tasks/{task_id}/replay")
def test_a_failed_task_is_submitted_again_with_other_arguments(somebody, shown):
    task_id = failed("to-replay", kwargs={"text": "", "detailed": True})
    watched = somebody("operator")
    watched.goes(f"/tasks/{task_id}")
    page = watched.page
    page.get_by_role("link", name="Submit again").click()
    arguments = page.get_by_label("Arguments, as JSON")
    arguments.fill("{")
    watched.expects(422)
    page.get_by_role("button", name="Submit 1 task").click()
    expect(page.get_by_role("alert")).to_contain_text("must be a JSON object")
    expect(arguments).to_have_value("{")
    assert watched.inaccessible() == []
    arguments.fill('{"text": "I like it very much.", "detailed": true}')
    page.get_by_role("button", name="Submit 1 task").click()
    expect(page.get_by_role("status").first).to_have_text("Submitted again: this is the new task.")
    expect(page.get_by_text("Polarity").first).to_be_visible()
    page.get_by_role("link", name=task_id).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Task {task_id}")


@does("/acts/cancel", "/acts/replay", "/acts/{task_id}/undo")
def test_many_tasks_are_changed_after_a_while_in_which_it_is_undone(somebody, shown, service):
    tasks = [waiting(f"many-{at}", tags=["many"]) for at in range(3)]
    watched = somebody("operator")
    watched.goes("/tasks?tag=many")
    page = watched.page
    said = "Cancel: 3 tasks, in 10 s; until then it can be undone."
    confirms(page, "Cancel those that go on…", "Cancel: 3 tasks", said)
    page.get_by_role("button", name="Undo: change no task").click()
    expect(page.get_by_role("status").first).to_have_text("It is undone: no task was changed.")
    watched.goes("/tasks?tag=many")
    confirms(page, "Cancel those that go on…", "Cancel: 3 tasks", said)
    service.advance(10)
    watched.goes(page.url.removeprefix(watched.base))
    for task_id in tasks:
        expect(page.get_by_role("link", name=task_id)).to_be_visible()
    failed("many-failed", tags=["many"], fingerprint="many")
    watched.goes("/tasks?tag=many")
    said = "Submit again: 1 task, in 10 s; until then it can be undone."
    confirms(page, "Submit failed ones again…", "Submit again: 1 task", said)
    page.get_by_role("button", name="Undo: change no task").click()
    expect(page.get_by_role("status").first).to_have_text("It is undone: no task was changed.")


@does("/views", "/views/remove")
def test_a_list_is_filtered_saved_found_again_and_removed(somebody, shown):
    watched = somebody("operator")
    watched.goes("/tasks")
    page = watched.page
    page.get_by_label("FAILURE").check()
    page.get_by_text("More filters").click()
    page.get_by_label("Class of the error").fill("EmptyText")
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.locator("[data-row]")).to_have_count(1)
    page.get_by_label("Save this view as").fill("empty ones")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status").first).to_have_text("The view empty ones is saved.")
    watched.goes("/tasks")
    page.get_by_role("link", name="empty ones", exact=True).click()
    assert page.url.endswith("/tasks?state=FAILURE&error_type=EmptyText")
    assert watched.inaccessible() == []
    confirms(page, "Remove the view empty ones", "Remove empty ones", "The view empty ones is removed.")


@does("/keys", "/keys/{key_id}/revoke")
def test_a_key_is_made_shown_once_and_revoked(somebody, shown):
    watched = somebody("admin", viewport=PHONE)
    watched.goes("/keys")
    page = watched.page
    page.get_by_label("What it is for").fill("reports")
    page.get_by_label("Scope").select_option("submit")
    page.get_by_label("Days until it ends").fill("30")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_text(re.compile(r"^csai_[\w-]{43}$"))).to_be_visible()
    assert watched.inaccessible() == []
    assert watched.too_wide() == []
    confirms(page, "Revoke reports", "Revoke reports", "The key reports is revoked.")
    expect(page.get_by_text(re.compile(r"^csai_[\w-]{43}$"))).to_have_count(0)


def test_a_viewer_is_offered_no_act_and_refused_each(somebody, shown):
    watched = somebody("viewer")
    acts = re.compile(r"/(acts|keys|audit)\b|/(cancel|replay|pause|resume|drain|purge|run)\b")
    for path in ("/", "/tasks", "/failures", "/queues", "/schedules", "/outbox", f"/tasks/{shown['waits']}"):
        watched.goes(path)
        links = [one.get_attribute("href") for one in watched.page.get_by_role("link").all()]
        assert [link for link in links if acts.search(link)] == []
    for path in ("/keys", "/queues/email/purge", f"/outbox/{shown['mail']}"):
        watched.goes(path, 403)
        expect(watched.page.get_by_role("alert")).to_contain_text("which your role has not")
    assert watched.inaccessible() == []


# --- What a page shows while it is looked at, and files -----------------------------------------------------------


def test_a_task_is_watched_to_its_end(somebody, shown):
    task_id, watched = "watched", somebody("operator")
    run = started(task_id, name="own.watched", category="own", queue="default")
    watched.goes(f"/tasks/{task_id}")
    page = watched.page
    for progress, text in ((10, "page 1 of 9"), (90, "page 9 of 9")):
        says(task_id, run, progress, text)
        expect(page.get_by_text(text)).to_be_visible()
        expect(page.get_by_label("Progress")).to_have_attribute("value", f"{progress}.0")
    logged(task_id, "a line of it")
    expect(page.get_by_text("a line of it")).to_be_visible()
    assert watched.inaccessible() == []
    assert parts().moves.succeed(task_id, run, {"found": "it"})
    expect(page.get_by_text("SUCCESS").first).to_be_visible()
    expect(page.get_by_label("Result as JSON")).to_contain_text('"found": "it"')
    expect(page.get_by_role("link", name="Cancel")).to_have_count(0)


@pytest.mark.parametrize("follows", [True, False], ids=["while-it-follows", "before-it-follows"])
def test_who_was_logged_out_while_a_task_was_watched_comes_to_the_login(somebody, shown, follows):
    name = f"leaver-{follows}".lower()
    users.add(ANN, name, "viewer", PASSWORD)
    watched = somebody(name)
    page, path = watched.page, f"/tasks/{shown['runs']}"
    if follows:
        with page.expect_response("**/events*"):
            watched.goes(path)
        users.disable(ANN, name)
    else:
        page.route("**/events*", lambda route: (users.disable(ANN, name), route.continue_()))
        watched.goes(path)
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    assert page.url.endswith(f"/login?next=%2Ftasks%2F{shown['runs']}")


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_page_that_cannot_look_again_says_since_when_until_it_can_and_moves_nothing(somebody, shown, viewport):
    watched = somebody("viewer", viewport=viewport)
    page, stale = watched.page, watched.page.locator("#stale")
    page.clock.install()
    watched.goes("/queues")
    complete(page)
    page.mouse.move(0, 0)  # what moves after a key or a click would be no shift
    for what in ("ERR_INTERNET_DISCONNECTED", "htmx:afterRequest", "htmx:sendError", 503, "Response Status Error"):
        watched.expects(what)
    for fails in (lambda route: route.abort("internetdisconnected"), lambda route: route.fulfill(status=503)):
        page.route("**/queues", fails)
        page.clock.run_for(6_000)
        expect(stale).to_have_text(re.compile(r"Not refreshed since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"))
        assert watched.inaccessible() == []
        assert watched.too_wide() == []
        page.unroute("**/queues")
        page.clock.run_for(6_000)
        expect(stale).to_be_empty()
    assert [one for one in watched.moved() if "stale" in one["moved"] or one["value"] > 0.01] == []


def test_a_task_that_cannot_be_followed_says_so_until_it_can(somebody, shown):
    watched = somebody("viewer")
    page, stale = watched.page, watched.page.locator("#stale")
    page.route("**/events*", lambda route: route.abort("internetdisconnected"))
    watched.goes(f"/tasks/{shown['runs']}")
    expect(stale).to_contain_text("Not refreshed since")
    page.unroute("**/events*")
    expect(stale).to_be_empty()
    watched.wrong = [one for one in watched.wrong if "[object Event]" not in one and "DISCONNECTED" not in one]


TOLD = "addEventListener('htmx:sseBeforeMessage', (event) => (window.told ??= []).push(event.detail.data))"
MARK = "getSelection().selectAllChildren(document.querySelector('[sse-swap=status] label'))"


def comes(page: Page, text: str) -> None:
    """Wait until a page that notes it was told something, whether or not it shows that."""
    until(lambda: text in str(page.evaluate("window.told")), what=f"{text} has come")


def watches(somebody, task_id: str) -> tuple[Page, int]:
    """Look at a task that runs, on a page that notes what it is told; returns the run, too."""
    run, watched = started(task_id, name="own.held", category="own", queue="default"), somebody("operator")
    says(task_id, run, 5, "at first")
    watched.goes(f"/tasks/{task_id}")
    expect(watched.page.get_by_text("at first")).to_be_visible()
    watched.page.evaluate(TOLD)
    return watched.page, run


@pytest.mark.parametrize(
    ("hold", "leave"),
    [
        (lambda page: page.mouse.down(), lambda page: page.mouse.up()),
        (lambda page: page.evaluate(MARK), lambda page: page.evaluate("getSelection().empty()")),
    ],
    ids=["pressed", "marked"],
)
def test_what_is_pressed_or_marked_is_not_exchanged_and_the_newest_comes_then(somebody, service, hold, leave, request):
    task_id = f"held-{request.node.callspec.id}"
    page, run = watches(somebody, task_id)
    page.get_by_role("heading", level=1).hover()
    hold(page)
    for progress, text in ((10, "then this"), (20, "at last that")):
        says(task_id, run, progress, text)
        comes(page, text)
    expect(page.get_by_text("at first")).to_be_visible()
    leave(page)
    expect(page.get_by_text("at last that")).to_be_visible()


def test_no_line_of_a_log_is_lost_while_a_pointer_is_down_nor_a_click(somebody, service):
    page, run = watches(somebody, "held-lines")
    page.get_by_role("link", name="Cancel").hover()
    page.mouse.down()
    for line in ("a first line", "a second line"):
        logged("held-lines", line)
        comes(page, line)
    expect(page.locator("#lines")).to_be_empty()
    page.get_by_role("heading", level=1).hover()
    page.mouse.up()
    expect(page.locator("#lines")).to_have_text(re.compile("first line(?!.*first).*second line", re.DOTALL))
    page.get_by_role("link", name="Cancel").hover()
    page.mouse.down()
    says("held-lines", run, 30, "while it is hit")
    comes(page, "while it is hit")
    page.mouse.up()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancel 1 task?")


def test_sound_plays_with_its_words_and_a_film_has_its_pictures(somebody, shown):
    watched = somebody("viewer")
    page = watched.page
    watched.goes(f"/tasks/{shown['audio']}")
    until(lambda: page.evaluate("document.querySelector('audio').readyState"), what="the sound is known")
    assert 0.9 < page.evaluate("document.querySelector('audio').duration") < 1.2
    page.evaluate("document.querySelector('audio').textTracks[0].mode = 'hidden'")
    until(lambda: page.evaluate("document.querySelector('audio').textTracks[0].cues?.length"), what="so are its words")
    page.get_by_role("button", name="Play from").last.click()
    until(lambda: page.evaluate("document.querySelector('audio').currentTime") >= 0.5, what="it plays from there")
    watched.goes(f"/tasks/{shown['video']}")
    until(lambda: page.evaluate("document.querySelector('video').videoWidth") == 160, what="the film is known")


def test_files_are_saved_under_their_names(somebody, shown):
    watched = somebody("operator")
    page = watched.page
    for path, link, name in (
        (f"/tasks/{shown['document']}", "page_image-1.webp", "page_image-1.webp"),
        (f"/outbox/{shown['mail']}", "invoice.pdf", "invoice.pdf"),
        (f"/outbox/{shown['mail']}", re.compile("Save the mail"), f"{shown['mail']}.eml"),
    ):
        watched.goes(path)
        with page.expect_download() as saved:
            page.get_by_role("link", name=link).first.click()
        assert saved.value.suggested_filename == name
        assert saved.value.path().stat().st_size > 0


# --- What is hostile is text --------------------------------------------------------------------------------------

QUIET = re.compile(
    "limits|queues-queue|webhooks-webhook|users|campaigns|schedules-add|not-found|nothing|task-(call|campaign|member)"
)
"""Pages that show nobody's words."""


@pytest.fixture(scope="module")
def odd(shown) -> dict[str, str]:
    """The same once more, with what would be a script in every text."""
    return furnish(ADMIN, "odd", lambda text: f"{text}{HOSTILE}")


@pytest.mark.parametrize("name", PAGES)
def test_what_anybody_wrote_is_text_on_every_page_and_runs_nothing(looks, odd, name):
    watched = looks["phone-dark"]
    watched.goes(address(PAGES[name], odd), STATUSES.get(name, 200))
    complete(watched.page)
    for frame in watched.page.frames:
        assert frame.evaluate(RAN) == "undefined"
    assert watched.page.locator("main script, main [onerror], main b").count() == 0
    assert QUIET.match(name) or HOSTILE in watched.page.locator("main").text_content()
    assert watched.too_wide() == []
    wrong, watched.wrong = watched.wrong, []
    assert wrong == []


def test_what_a_watched_task_says_is_text_too(somebody, service):
    task_id, watched = "odd-watched", somebody("operator")
    run = started(task_id, name=f"own{HOSTILE}", category="own", queue="default")
    watched.goes(f"/tasks/{task_id}")
    says(task_id, run, 50, f"half of it {HOSTILE}")
    expect(watched.page.get_by_text(f"half of it {HOSTILE}")).to_be_visible()
    logged(task_id, f"a line {HOSTILE}")
    expect(watched.page.get_by_text(f"a line {HOSTILE}")).to_be_visible()
    assert parts().moves.fail(task_id, run, Failure(f"broken {HOSTILE}", HOSTILE, HOSTILE, "odd"))
    expect(watched.page.get_by_text(f"broken {HOSTILE}").first).to_be_visible()
    assert watched.page.evaluate(RAN) == "undefined"


# --- The pictures of the README: an hour that is made up, and a document that is read -------------------------------

FINE = Health(
    status="healthy",
    checks=[Check(name="database", status="healthy", detail="SQLite", seconds=0)],
    version="0",
    checked_at="2026-11-30T12:00:00+00:00",
)


def test_a_busy_hour_is_drawn_line_by_line(somebody, shown, monkeypatch):
    known = Recent(lambda: FINE)
    until(known.value, what="all is well")
    monkeypatch.setattr(figures, "health", lambda: known)
    busy_hour()
    figures.past.cache_clear()
    watched = somebody("viewer", viewport={"width": 1120, "height": 880})
    watched.goes("/")
    complete(watched.page)
    for plot, colour in (
        ("rates", "good"),
        ("rates", "quiet"),
        ("waits", "accent"),
        ("waits", "warn"),
        ("runs", "warn"),
        ("depth", "accent"),
        ("oldest", "warn"),
    ):
        assert watched.page.evaluate(DRAWN, [plot, colour]) > 100, (plot, colour)
    watched.shoot("dashboard-overview", whole=False)


def test_a_document_that_was_read_is_shown_with_its_page_and_its_text(somebody, service):
    content = (PROJECT_ROOT / "src/examples/samples/scan.pdf").read_bytes()
    uri = parts().storage.put(content, mime="application/pdf", task_id="read")
    task_id = celery_service.process_document(f"{uri}/scan.pdf")
    watched = somebody("viewer", viewport={"width": 1120, "height": 1010}, color_scheme="dark")
    watched.goes(f"/tasks/{task_id}")
    complete(watched.page)
    expect(watched.page.get_by_label("Text", exact=True)).to_contain_text("Two bearings")
    expect(watched.page.get_by_role("img", name="page 1")).to_be_visible()
    watched.shoot("dashboard-document", whole=False)
