"""The list of tasks, its saved views, and acts on all tasks of a list."""

import json
from datetime import UTC, datetime
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest

from browsing import ANN, Form, Html
from config.settings import settings
from dashboard import searches, words
from processors.errors import InvalidArgument
from processors.scheduling import ActOnTasks
from records import saved_views as views
from records.audit import WantedActs
from records.task_changes import TaskChanges
from records.task_moves import Failure
from records.task_records import Draft
from services import audit, saved_views, task_acts
from services.celery_service import celery_service
from services.parent_progress import CAMPAIGN
from services.task_filters import filter_of
from services.wiring import parts
from waiting import until

SENTIMENT = "ai_processing.analyze_sentiment"
HOSTILE = """<img src=x onerror=alert(1)>"'><script>alert(2)</script>{{7*7}}"""


@pytest.fixture
def tag() -> str:
    return f"list-{uuid4()}"


def waiting(tag: str, count: int = 1, **more) -> list[str]:
    """Tasks that are due much later."""
    ids = [f"{tag}-{uuid4()}" for _ in range(count)]
    for one in ids:
        given = {"name": SENTIMENT, "category": "ai_processing", "queue": "ai_processing", "delay": 3600} | more
        parts().tasks.open(Draft(one, **{"tags": [tag], "kwargs": {"text": "x", "detailed": True}} | given))
    return ids


def failed(tag: str, count: int = 1, error: str = "no", **more) -> list[str]:
    ids = waiting(tag, count, delay=0, **more)
    for one in ids:
        run = parts().moves.start(one, 0, "worker-of-lists", "w@h", None).run
        assert parts().moves.fail(one, run, Failure(error, "PermanentError", "Traceback", f"print-of-{tag}"[:64]))
    return ids


def newest_first(ids: list[str]) -> list[str]:
    """Ids as the list has them: those of one moment by themselves."""
    return sorted(ids, key=lambda one: (parts().tasks.read(one).created_at, one), reverse=True)


def listed(page: Html) -> list[str]:
    return [tag.attributes["href"].removeprefix("/tasks/") for tag in page.all("a") if "data-row" in tag.attributes]


# --- The list -----------------------------------------------------------------------------------------------------


def test_tasks_are_listed_the_newest_first_by_what_the_address_asks_for(viewer, tag):
    ids = waiting(tag, 3) + failed(tag)
    page = viewer.html(f"/tasks?tag={tag}")
    assert listed(page) == newest_first(ids)
    assert "PermanentError: no" in page.text
    assert listed(viewer.html(f"/tasks?tag={tag}&state=FAILURE")) == ids[3:]
    assert listed(
        viewer.html(f"/tasks?tag={tag}&state=FAILURE&state=PENDING&queue=ai_processing&since=1h")
    ) == newest_first(ids)
    for nothing in ("queue=email", "state=SUCCESS", "created_before=2020-01-01T00:00", "name=no.such", "worker=w@x"):
        page = viewer.html(f"/tasks?tag={tag}&{nothing}")
        assert listed(page) == []
        assert "There is no such task." in page.text
    assert listed(viewer.html(f"/tasks?parent={ids[0]}")) == []


def test_a_page_leads_to_the_older_tasks_and_back_with_the_same_filter(viewer, tag, monkeypatch):
    monkeypatch.setattr("dashboard.pages.task_list.ROWS", 2)
    ids, path, found = waiting(tag, 5), f"/tasks?tag={tag}&since=1h", []
    while path:
        page = viewer.html(path)
        found.append(listed(page))
        older = [link.attributes["href"] for link in page.all("a") if link.text == "Older tasks"]
        newest = [link.attributes["href"] for link in page.all("a") if link.text == "Newest tasks"]
        assert newest == ([] if len(found) == 1 else [f"/tasks?tag={tag}&since=1h"])
        assert bool([one for one in page.tags if "hx-get" in one.attributes]) == (len(found) == 1)
        path = older[0] if older else None
    ids = newest_first(ids)
    assert found == [ids[:2], ids[2:4], ids[4:]]


def test_what_was_asked_for_is_in_the_form_again(viewer, tag):
    given = {
        "text": "ann example",
        "name": SENTIMENT,
        "queue": "email",
        "since": "7d",
        "category": "email",
        "error_type": "E",
        "fingerprint": "f",
        "worker": "w",
        "tenant": HOSTILE,
        "parent": "p",
        "tag": tag,
        "created_before": "2026-01-31T13:00:00+01:00",
        "finished_from": "2026-01-31T13:00",
    }
    page = viewer.html(f"/tasks?{urlencode(given)}&state=FAILURE&state=RETRY")
    fields = next(form.fields for form in page.forms if form.action == "/tasks")
    for name in ("text", "name", "error_type", "fingerprint", "worker", "tenant", "parent", "tag"):
        assert fields[name] == given[name], name
    assert (fields["created_before"], fields["finished_from"]) == ("2026-01-31T12:00:00", "2026-01-31T13:00:00")
    chosen = [one.text for one in page.all("option") if "selected" in one.attributes]
    assert chosen == ["email", "in the last 7 days", "email"]
    ticked = [one.attributes["value"] for one in page.all("input") if "checked" in one.attributes]
    assert set(ticked) == {"RETRY", "FAILURE"}
    assert "open" in page.all("details")[0].attributes
    assert "open" not in viewer.html("/tasks?state=FAILURE").all("details")[0].attributes


def test_empty_fields_of_a_form_are_not_in_the_address(viewer):
    answer = viewer.get("/tasks?text=&name=+&state=FAILURE&queue=&cursor=")
    assert (answer.status_code, answer.headers["location"]) == (303, "/tasks?state=FAILURE")
    assert viewer.get("/tasks?text=").headers["location"] == "/tasks"


@pytest.mark.parametrize(
    "wrong",
    [
        "state=NOTHING",
        "text=...",
        "text=a&part=b",
        "since=1y",
        "since=1h&created_from=2026-01-01T00:00",
        "created_from=yesterday",
        "created_from=0001-01-01T00:00:00%2B23:00",
        "finished_before=2026-13-01",
        "name=" + "x" * 300,
        "name=a%00b",
        "cursor=x",
        "cursor=" + "A" * 5000,
        "&".join(f"tag={n}" for n in range(40)),
        "tag=" + quote(HOSTILE) + "&since=" + quote(HOSTILE),
    ],
    ids=range(14),
)
def test_a_filter_that_cannot_be_is_named_and_what_was_typed_is_kept(viewer, wrong):
    page = viewer.html(f"/tasks?{wrong}", 422)
    assert len([one for one in page.all("p") if one.attributes.get("role") == "alert" and one.text]) == 1
    assert not page.all("img")
    assert not page.all("table")


def test_a_cursor_of_another_filter_leads_nowhere(viewer, tag, monkeypatch):
    monkeypatch.setattr("dashboard.pages.task_list.ROWS", 1)
    waiting(tag, 2)
    older = next(link.attributes["href"] for link in viewer.html(f"/tasks?tag={tag}").all("a") if "Older" in link.text)
    assert viewer.get(older.replace(tag, f"{tag}x")).status_code == 422
    assert viewer.get(older).status_code == 200


def test_what_a_task_carries_is_text_in_the_list_too_and_secrets_are_masked(viewer, tag):
    failed(tag, error=f"{HOSTILE} {{'password': 'hunter2-planted'}}", name=HOSTILE, queue=HOSTILE)
    answer = viewer.get(f"/tasks?tag={tag}")
    page = Html(answer.text)
    assert not page.all("img")
    assert page.text.count("<img src=x onerror=alert(1)>") >= 2
    assert "hunter2-planted" not in answer.text


def test_a_search_for_words_does_not_look_again_by_itself(viewer, tag):
    waiting(tag)
    assert [one for one in viewer.html(f"/tasks?tag={tag}").tags if "hx-get" in one.attributes]
    assert not [one for one in viewer.html(f"/tasks?tag={tag}&text=x").tags if "hx-get" in one.attributes]


def test_a_search_is_what_its_address_says():
    search = searches.search_in("state=FAILURE&x=1&state=RETRY&text=+a+b+&name=&state=FAILURE&cursor=c")
    assert search.path == "/tasks?state=FAILURE&state=RETRY&text=a+b"
    assert searches.search_in(search.query) == search
    assert searches.search_in("").path == "/tasks"
    with pytest.raises(InvalidArgument, match="since"):
        searches.search_in("since=x").filter(None)


def test_how_long_something_ran_is_told_below_a_second_too():
    told = [words.short_span(one) for one in (None, 0.0004, 0.25, 1.26, 59.9, 61)]
    assert told == ["\N{EN DASH}", "0 ms", "250 ms", "1.3 s", "59.9 s", "1 min 1 s"]


# --- Views --------------------------------------------------------------------------------------------------------


def test_a_view_is_saved_shown_to_its_owner_alone_and_removed_after_a_question(viewer, operator, tag):
    page = viewer.html(f"/tasks?tag={tag}&state=FAILURE")
    form = next(one for one in page.forms if one.action == "/views")
    answer = viewer.client.post("/views", data=form.fields | {"name": f" {tag} <b> "})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/tasks?tag={tag}&state=FAILURE")
    page = viewer.html("/tasks")
    assert answer.headers["location"] in page.links()
    assert f"The view {tag} <b> is saved." in page.text
    assert tag not in operator.html("/tasks").text
    here = viewer.html(answer.headers["location"])
    assert [one.text for one in here.all("a") if one.attributes.get("aria-current")] == ["Tasks", f"{tag} <b>"]
    away = next(link for link in page.links() if link.startswith("/views/remove"))
    assert operator.get(away).status_code == 404
    assert operator.post("/views/remove", {"name": f"{tag} <b>"}).status_code == 404
    assert f"Remove 1 view: {tag} <b>?" in viewer.html(away).text
    assert viewer.submit(away).headers["location"] == "/tasks"
    assert viewer.get(away).status_code == 404
    kept = audit.acts(WantedActs(target_kind="view", target_id=f"{tag} <b>"), 5)
    assert [one.act for one in kept] == ["view.remove", "view.save"]


def test_a_view_of_the_same_name_replaces_the_one_before(viewer):
    viewer.post("/views", {"name": "mine", "query": "state=FAILURE"})
    viewer.post("/views", {"name": "mine", "query": "state=SUCCESS&next=//evil.example"})
    page = viewer.html("/tasks")
    assert "The view mine is replaced: it shows this list now." in page.text
    assert [link for link in page.links() if "state=" in link] == ["/tasks?state=SUCCESS"]
    viewer.post("/views", {"name": "mine", "query": "state=SUCCESS"})
    assert "The view mine is saved." in viewer.html("/tasks").text


def test_a_view_that_cannot_be_is_refused(viewer, monkeypatch):
    for name in ("", "  ", "x" * 101, "a\nb", "a\0b", "\u202e"):
        assert viewer.post("/views", {"name": name, "query": "state=FAILURE"}).status_code == 422, name
    monkeypatch.setattr(saved_views, "LONGEST_QUERY", 10)
    assert viewer.post("/views", {"name": "long", "query": "text=abcdefghijkl"}).status_code == 422
    monkeypatch.setattr(views, "MOST", 1)
    assert viewer.post("/views", {"name": "first", "query": "tag=a"}).status_code == 303
    assert viewer.post("/views", {"name": "first", "query": "tag=b"}).status_code == 303
    assert viewer.post("/views", {"name": "second", "query": "tag=c"}).status_code == 422


@pytest.mark.parametrize("path", ["/tasks", "/campaigns", "/outbox"])
def test_the_way_to_older_ones_goes_on_behind_what_a_list_shows_after_it_has_looked_again(
    viewer, tag, monkeypatch, path
):
    for page in ("task_list", "campaigns", "outbox"):
        monkeypatch.setattr(f"dashboard.pages.{page}.ROWS", 1)
    settings.outbox_dir.mkdir(parents=True, exist_ok=True)
    for task_id in waiting(tag, 2, name=CAMPAIGN):
        (settings.outbox_dir / f"{task_id}-0.eml").write_bytes(b"Subject: older\n\nText")
    (live,) = (one for one in viewer.html(path).tags if one.attributes.get("id") == "live")
    assert "Older" in live.text


# --- Acts on many -------------------------------------------------------------------------------------------------


def act_of(task_id: str):
    return [
        (one.act, one.count, one.origin) for one in audit.acts(WantedActs(target_kind="task", target_id=task_id), 5)
    ]


def test_all_tasks_of_a_list_are_cancelled_after_a_page_with_their_count_and_after_a_while(operator, tag):
    ids = waiting(tag, 3)
    page = operator.html(f"/tasks?tag={tag}")
    ask = next(link for link in page.links() if link.startswith("/acts/cancel"))
    question = operator.html(ask)
    assert "Cancel: 3 tasks?" in question.text
    assert f"tag: {tag}" in question.text
    answer = operator.submit(ask)
    act = answer.headers["location"].removeprefix("/tasks/")
    page = operator.html(answer.headers["location"])
    assert "Cancel: 3 tasks, in 10 s; until then it can be undone." in page.text
    assert "Undo: change no task" in page.text
    assert {celery_service.get_task_status(one)["status"] for one in ids} == {"PENDING"}
    assert act_of(act) == [("tasks.cancel", 3, "dashboard")]
    undone = operator.post(f"/acts/{act}/undo")
    assert undone.headers["location"] == f"/tasks/{act}"
    page = operator.html(f"/tasks/{act}")
    assert "It is undone: no task was changed." in page.text
    assert "Undo: change no task" not in page.text
    assert act_of(act)[0] == ("tasks.undo", None, "dashboard")
    operator.post(f"/acts/{act}/undo")
    assert "It had begun, and cannot be undone." in operator.html(f"/tasks/{act}").text


def test_a_question_that_is_confirmed_twice_begins_one_act_which_is_undone_as_a_whole(operator, tag):
    ids = waiting(tag, 2)
    first, other = (operator.html(f"/acts/cancel?tag={tag}").forms[-1].fields for _ in range(2))
    begun = [operator.client.post("/acts/cancel", data=fields).headers["location"] for fields in (first, first, other)]
    assert begun[0] == begun[1] != begun[2]
    for path in set(begun):
        act = path.removeprefix("/tasks/")
        assert act_of(act) == [("tasks.cancel", 2, "dashboard")]
        assert task_acts.undo(ANN, act)
    assert {celery_service.get_task_status(one)["status"] for one in ids} == {"PENDING"}


def test_a_question_names_how_many_parts_the_tasks_have(operator, tag):
    for members in (500, 700):
        waiting(tag, 1, is_parent=True, members_total=members)
    waiting(tag, 1)
    page = operator.html(f"/acts/cancel?tag={tag}")
    assert f"Cancel: 3 tasks with {words.number(1200)} parts?" in page.text
    assert [one.text for one in page.all("button")][-1] == f"Cancel: 3 tasks with {words.number(1200)} parts"
    assert words.tasks(1, 1) == "1 task with 1 part"


def test_failed_tasks_of_a_list_are_submitted_again(operator, tag):
    failed(tag, 2)
    waiting(tag, 3)
    answer = operator.submit(f"/acts/replay?tag={tag}")
    record = parts().tasks.read(answer.headers["location"].removeprefix("/tasks/"))
    assert (record.name, record.kwargs["act"], record.kwargs["most"]) == (task_acts.TASK, "replay", 2)
    assert record.kwargs["filter"] == {"tag": [tag], "created_before": record.kwargs["filter"]["created_before"]}
    task_acts.undo(ANN, record.id)


def test_what_was_counted_is_what_is_done_however_long_ago_the_last_hour_was_asked_for(operator, tag):
    waiting(tag, 2)
    form = operator.html(f"/acts/cancel?tag={tag}&since=1h").forms[-1]
    assert set(json.loads(form.fields["filter"])) == {"tag", "created_from", "created_before"}
    assert form.fields["count"] == "2"


def test_what_came_after_the_question_is_not_done_in_place_of_what_has_ended_since(operator, tag):
    counted = waiting(tag, 2)
    form = operator.html(f"/acts/cancel?tag={tag}").forms[-1]
    until(lambda: _ticks_on(form), what="the database's clock goes on")
    (new,) = waiting(tag, 1)
    celery_service.cancel_task(counted[0])
    answer = operator.client.post("/acts/cancel", data=form.fields)
    request = ActOnTasks(**parts().tasks.read(answer.headers["location"].removeprefix("/tasks/")).kwargs)
    assert task_acts.act_on(request, lambda _percent, _text: None, "").task_ids == [counted[1]]
    assert celery_service.get_task_status(new)["status"] == "PENDING"
    assert operator.client.post("/acts/cancel", data=form.fields | {"once": "other"}).status_code == 422


def _ticks_on(form: Form) -> bool:
    """Tell whether the database's clock is past the moment of a question."""
    return TaskChanges(parts().database).now().isoformat() > json.loads(form.fields["filter"])["created_before"]


def test_a_question_widens_no_filter(operator, tag):
    waiting(tag, 1)
    assert "No task is like that now" in operator.html(f"/acts/cancel?tag={tag}&created_before=2020-01-01").text
    asked = filter_of(created_before=datetime(2020, 1, 1, tzinfo=UTC))
    assert task_acts.until_now(asked) == asked


def test_more_tasks_than_were_confirmed_are_asked_about_again(operator, tag):
    failed(tag, 1)
    (later,) = waiting(tag, 1, delay=0)
    form = operator.html(f"/acts/replay?tag={tag}").forms[-1]
    run = parts().moves.start(later, 0, "worker-of-lists", "w@h", None).run
    assert parts().moves.fail(later, run, Failure("no", "PermanentError"))
    answer = operator.client.post("/acts/replay", data=form.fields)
    page = Html(answer.text)
    assert answer.status_code == 409
    assert "There are more now" in page.text
    assert "Submit again: 2 tasks?" in page.text
    assert page.forms[-1].fields["count"] == "2"


def test_nothing_and_too_many_have_no_button(operator, tag, monkeypatch):
    page = operator.html(f"/acts/cancel?tag={tag}")
    assert "No task is like that now" in page.text
    assert len(page.forms) == 1
    waiting(tag, 3)
    monkeypatch.setattr(task_acts, "MOST", 2)
    page = operator.html(f"/acts/cancel?tag={tag}")
    assert "more than 2 tasks?" in page.text
    assert "narrow the filter" in page.text
    assert len(page.forms) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"filter": "{}"},
        {"filter": "x", "count": "1"},
        {"filter": "[]", "count": "1"},
        {"filter": "[" * 20_000, "count": "1"},
        {"filter": '{"colour": 1}', "count": "1"},
        {"filter": '{"state": "FAILURE"}', "count": "1"},
        {"filter": '{"tag": ["never-was"]}', "count": "-1"},
        {"filter": '{"tag": ["never-was"]}', "count": "9" * 500},
        {"filter": '{"tag": ["never-was"]}', "count": "\u0662"},
    ],
    ids=range(10),
)
def test_a_form_that_no_page_of_ours_made_changes_nothing(operator, fields):
    assert operator.post("/acts/cancel", fields).status_code == 422


def test_only_acts_are_undone(operator, tag):
    (task_id,) = waiting(tag)
    assert operator.post(f"/acts/{task_id}/undo").status_code == 404
    assert celery_service.get_task_status(task_id)["status"] == "PENDING"


def test_a_viewer_is_shown_no_acts(viewer, tag):
    waiting(tag)
    assert not [link for link in viewer.html(f"/tasks?tag={tag}").links() if link.startswith("/acts")]
    assert viewer.get(f"/acts/cancel?tag={tag}").status_code == 403
    assert viewer.post("/acts/cancel", {"filter": "{}", "count": "5"}).status_code == 403
