"""Failures by the like of them: what a group tells, and submitting all of it again."""

from uuid import uuid4

import pytest

from browsing import Html
from records.task_moves import Failure
from records.task_records import Draft
from services.wiring import parts

HOSTILE = """<img src=x onerror=alert(1)>"'><script>alert(2)</script>{{7*7}}"""


@pytest.fixture
def name() -> str:
    return f"own.{uuid4()}"


def fail(name: str, count: int, error: str = "no", kind: str = "PermanentError", fingerprint: str = "f") -> list[str]:
    ids = [str(uuid4()) for _ in range(count)]
    for one in ids:
        parts().tasks.open(Draft(one, name, "email", "email"))
        run = parts().moves.start(one, 0, "worker-of-failures", "w@h", None).run
        assert parts().moves.fail(one, run, Failure(error, kind, None, fingerprint))
    return ids


def rows(page: Html, name: str) -> list:
    return [row for row in page.all("tr") if name in row.text]


def test_failures_that_are_alike_are_a_row_that_leads_to_them(viewer, name):
    ids = fail(name, 3) + fail(name, 1, "other", "OtherError", "g")
    page = viewer.html("/failures")
    first, second = rows(page, name)
    assert ("PermanentError" in first.text, "All 3" in first.text) == (True, True)
    assert ("OtherError" in second.text, "All 1" in second.text) == (True, True)
    assert "again" not in first.text  # a viewer
    links = [link for link in page.links() if f"name={name}" in link and link.startswith("/tasks?")]
    found = viewer.html(links[0])
    listed = {tag.attributes["href"] for tag in found.all("a") if "data-row" in tag.attributes}
    assert listed == {f"/tasks/{one}" for one in ids[:3]}


def test_all_of_a_group_are_submitted_again_after_their_count(operator, name):
    fail(name, 2)
    fail(name, 1, "other", "OtherError", "g")
    page = operator.html("/failures")
    ask = next(link for link in page.links() if link.startswith("/acts/replay") and f"name={name}" in link)
    assert "Submit 2 again" in rows(page, name)[0].text
    question = operator.html(ask)
    assert "Submit again: 2 tasks?" in question.text
    assert "error_type: PermanentError" in question.text
    answer = operator.submit(ask)
    act = answer.headers["location"].removeprefix("/tasks/")
    assert parts().tasks.read(act).kwargs["filter"]["fingerprint"] == "f"
    assert operator.post(f"/acts/{act}/undo").status_code == 303


def test_what_an_error_carries_is_text_and_its_secrets_are_masked(operator, name):
    fail(f"{name}{HOSTILE}", 1, f"{HOSTILE} {{'password': 'hunter2-planted'}}", HOSTILE, "f")
    answer = operator.get("/failures?hours=1")
    assert not Html(answer.text).all("img")
    assert Html(answer.text).text.count("<img src=x onerror=alert(1)>") >= 3
    assert "hunter2-planted" not in answer.text
    link = next(link for link in Html(answer.text).links() if link.startswith("/acts/replay") and "onerror" in link)
    assert "1 task?" in operator.html(link).text
    assert not operator.html(link).all("img")


@pytest.mark.parametrize("hours", ["1", "168", "0", "-1", "1e9", "x", "\u0661", "1; --"])
def test_a_time_that_is_not_offered_is_a_day(viewer, hours):
    page = viewer.html(f"/failures?hours={hours}")
    (chosen,) = [tag.text for tag in page.all("a") if tag.attributes.get("aria-current") == "true"]
    assert chosen == {"1": "1 hour", "168": "7 days"}.get(hours, "24 hours")
