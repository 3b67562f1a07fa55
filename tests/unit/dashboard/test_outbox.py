"""The outbox in a browser: a mail runs nothing, loads nothing, and is seen by who may operate."""

from email.message import EmailMessage

import pytest

from browsing import Html
from config.settings import settings
from dashboard.rendering import POLICY

HOSTILE = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>{{7*7}}"
PAGE = f"<html><body onload=alert(1)>{HOSTILE}<form action=//evil.example></form></body></html>"


@pytest.fixture
def outbox(tmp_path, monkeypatch):
    """An outbox with one hostile mail, `task-7-0`."""
    monkeypatch.setattr(type(settings), "outbox_dir", property(lambda _settings: tmp_path))
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "ann@example.com", f'"{"<b>"}" <bob@example.com>', HOSTILE
    made["X-Odd"] = HOSTILE
    made.set_content(f"text {HOSTILE}")
    made.add_alternative(PAGE, subtype="html")
    made.add_attachment(PAGE.encode(), maintype="text", subtype="html", filename='a"\u00fc.html')
    made.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="p.png")
    (tmp_path / "task-7-0.eml").write_bytes(made.as_bytes())
    return tmp_path


def test_mails_are_listed_for_all_and_opened_by_operators(outbox, viewer, operator):
    page = viewer.html("/outbox")
    assert "outbox: nothing leaves this machine" in page.text
    assert HOSTILE in page.text
    assert not page.all("img")
    assert "/outbox/task-7-0" not in page.links()
    assert "/tasks/task-7" in page.links()
    for path in ("", "/page", "/parts/0", "/source"):
        assert viewer.get(f"/outbox/task-7-0{path}").status_code == 403
    assert "/outbox/task-7-0" in operator.html("/outbox").links()


def test_a_mail_is_shown_as_text_and_as_a_page_that_does_nothing(outbox, operator):
    answer = operator.get("/outbox/task-7-0")
    assert answer.headers["content-security-policy"] == f"{POLICY}; frame-src 'self'"
    page = Html(answer.text)
    assert not page.all("img")
    assert page.text.count(HOSTILE) >= 4
    (frame,) = page.all("iframe")
    assert frame.attributes["sandbox"] == ""
    framed = operator.get(frame.attributes["src"])
    policy = framed.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "sandbox", "form-action 'none'", "img-src data:"} <= set(policy)
    assert "script" not in framed.headers["content-security-policy"]
    assert framed.headers["x-frame-options"] == "SAMEORIGIN"
    assert PAGE in framed.text
    assert operator.get("/outbox").headers["content-security-policy"] == POLICY


def test_what_is_enclosed_is_saved_and_never_opened(outbox, operator):
    page, picture = (operator.get(f"/outbox/task-7-0/parts/{number}") for number in (0, 1))
    assert (page.content, page.headers["content-type"]) == (PAGE.encode(), "application/octet-stream")
    assert page.headers["content-disposition"].startswith("attachment; filename=\"a__.html\"; filename*=UTF-8''a%22")
    assert (picture.content, picture.headers["content-type"]) == (b"\x89PNG", "image/png")
    source = operator.get("/outbox/task-7-0/source")
    assert source.content == (outbox / "task-7-0.eml").read_bytes()
    assert 'filename="task-7-0.eml"' in source.headers["content-disposition"]
    for number in ("2", "-1", "x", "9" * 100, "\u0661"):
        assert operator.get(f"/outbox/task-7-0/parts/{number}").status_code == 404


def test_what_is_not_there_and_what_is_no_mail_is_said(outbox, operator):
    for path in ("", "/page", "/parts/0", "/source"):
        assert operator.get(f"/outbox/never-0{path}").status_code == 404
        assert operator.get(f"/outbox/..%2Ftask-7-0{path}").status_code == 404
    (outbox / "odd-0.eml").write_bytes(b"Subject: only text\n\nx")
    assert operator.get("/outbox/odd-0").status_code == 200
    assert operator.get("/outbox/odd-0/page").status_code == 404
    assert operator.get("/outbox?before=x").status_code == 422
    assert operator.html("/outbox?before=1.a").text.count("No mail was written into a file before these") == 1
