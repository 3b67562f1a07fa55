"""Mails by templates, from the submit to the bytes: what is checked where, and that everybody's mail is their own."""

from datetime import UTC, datetime
from email import policy
from email.parser import BytesParser
from functools import partial
from typing import Any

import pytest

from composing import FilesInMemory
from config.settings import settings
from documentation import examples
from processors.addresses import parse, sort_out
from processors.composition import Composer
from processors.email_templates import Templates
from processors.emails import SendEmail
from processors.errors import InvalidArgument, TaskFailed
from reading import silent
from services.celery_service import celery_service
from services.wiring import parts, protected_paths

MAIL: dict[str, Any] = {"to_email": "ann@example.com", "template": "welcome"}
WHEN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of templates, with one in it."""
    monkeypatch.setattr(settings, "email_templates_dir", tmp_path)
    (tmp_path / "welcome.html").write_text("<style>p { color: red }</style>\n<p>Hi {{ name }}</p>")
    (tmp_path / "welcome.subject.txt").write_text("Welcome, {{ name }}\n")
    return tmp_path


def mails(service) -> list[Any]:
    files = sorted(service.outbox.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
    return [BytesParser(policy=policy.default).parsebytes(path.read_bytes()) for path in files]


def said(mail) -> tuple[str, str, str]:
    page, text = (mail.get_body([kind]).get_content() for kind in ("html", "plain"))
    return mail["Subject"], text, page


def why_failed(task_id: str) -> str:
    with pytest.raises(TaskFailed) as failed:
        celery_service.get_task_result(task_id)
    assert failed.value.error_type == "PermanentError"
    return str(failed.value)


def test_the_pages_example_works_as_it_stands(inline_service, folder):
    [page], [subject] = examples("mail.md", "mjml"), examples("mail.md", "text")
    (folder / "welcome.html").unlink()
    (folder / "welcome.mjml").write_text(page)
    (folder / "welcome.subject.txt").write_text(subject)
    [example] = [one for one in examples("mail.md") if "template=" in one]
    exec(example)
    inline_service.advance(5)
    found = [said(mail) for mail in mails(inline_service)]
    assert {subject for subject, _, _ in found} == {"Your order 17"}
    assert sorted(text.partition(".")[0] for _, text, _ in found) == [
        "Thank you, Ann",
        "Thank you, Ann",
        "Thank you, Bob",
    ]
    for _, text, html in found:
        assert "Look at it (https://example.com/orders/17)" in text
        assert "Tea" in html
        assert 'class="price" style="' in html
        assert "text-align: right" in html
        assert "9.50" in html
        assert "mj-text" not in html


def test_each_item_of_a_bulk_has_its_own_body_and_subject(inline_service, folder):
    names = [f"<{number}> & more" for number in range(120)]
    items = [{**MAIL, "to_email": f"r{at}@example.com", "context": {"name": name}} for at, name in enumerate(names)]
    bulk_id = celery_service.send_bulk_emails(items, delay_between_batches=0)
    inline_service.advance(5)
    result = celery_service.get_task_result(bulk_id)
    assert (result["status"], result["sent"]) == ("completed", 120)
    found = {mail["To"]: said(mail) for mail in mails(inline_service)}
    assert len(found) == 120
    for at, name in enumerate(names):
        subject, text, page = found[f"r{at}@example.com"]
        assert (subject, text.strip()) == (f"Welcome, {name}", f"Hi {name}")
        assert f'<p style="color: red;">Hi &lt;{at}&gt; &amp; more</p>' in page


def test_a_context_that_lacks_something_fails_its_own_item_of_a_bulk_alone(inline_service, folder):
    items = [{**MAIL, "context": {"name": "Ann"}}, {**MAIL, "to_email": "bob@example.com", "context": {"nmae": "Bob"}}]
    bulk_id = celery_service.send_bulk_emails(items)
    inline_service.advance(5)
    result = celery_service.get_task_result(bulk_id)
    assert (result["sent"], result["invalid"]) == (1, 1)
    assert result["failures"][0]["text"] == "welcome.html line 2: 'name' is undefined; the context has nmae."


def test_a_subject_beside_a_template_stands_instead_of_its_own(inline_service, folder):
    celery_service.send_email(**MAIL, subject="Another", context={"name": "Ann"})
    (folder / "welcome.subject.txt").unlink()
    celery_service.send_email(**MAIL, subject="A third", context={"name": "Ann"})
    assert [mail["Subject"] for mail in mails(inline_service)] == ["Another", "A third"]
    assert "give one, or write welcome.subject.txt" in why_failed(
        celery_service.send_email(**MAIL, context={"name": "Ann"})
    )


def test_a_text_alone_is_a_mail_without_a_page_and_shows_no_images(inline_service, folder):
    (folder / "plain.txt").write_text("Hi {{ name }}")
    mail = MAIL | {"template": "plain", "subject": "s", "context": {"name": "<Ann>"}}
    celery_service.send_email(**mail)
    assert mails(inline_service)[0].get_content_type() == "text/plain"
    assert mails(inline_service)[0].get_content().splitlines() == ["Hi <Ann>"]
    failed = celery_service.send_email(**mail, inline_images={"a": {"content": b"x", "type": "image/png", "name": "a"}})
    assert "'plain' makes no page, which inline_images need" in why_failed(failed)


def test_what_goes_with_a_mail_goes_with_one_of_a_template(inline_service, folder):
    (folder / "welcome.html").write_text("<p>{{ name }} <img src='cid:logo'></p>")
    image = {"content": b"png", "type": "image/png", "name": "logo.png"}
    celery_service.send_email(**MAIL, context={"name": "Ann"}, inline_images={"logo": image}, headers={"X-Order": "17"})
    [mail] = mails(inline_service)
    assert mail["X-Order"] == "17"
    assert [part["Content-ID"] for part in mail.walk() if part["Content-ID"]] == ["<logo>"]


def test_a_preview_shows_what_a_template_makes(inline_service, folder):
    result = celery_service.get_task_result(celery_service.send_email(**MAIL, context={"name": "Änn"}, preview=True))
    assert (result["subject"], result["text"]) == ("Welcome, Änn", "Hi Änn\n")
    assert '<p style="color: red;">Hi Änn</p>' in result["html"]
    assert mails(inline_service) == []


@pytest.mark.parametrize(
    "name", ["a\nBcc: eve@example.com", "a\r\n\r\nbody", "=?utf-8?q?a=0ABcc:_eve@example.com?=", "a\x07"]
)
def test_no_value_of_a_context_adds_a_header(inline_service, folder, name):
    why = why_failed(celery_service.send_email(**MAIL, context={"name": name}))
    assert "welcome.subject.txt makes a subject that must not contain control characters or line breaks" in why
    assert mails(inline_service) == []


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("", "must not be empty"),
        (" \n{{ none }}\n", "must not be empty"),
        ("{% if name == 'Bob' %}Hi{% endif %}", "must not be empty"),
        ("{{ 'x' * 900000 }}", "must have at most 998 characters; got 900000"),
        ("{{ 'ä' * 999 }}", "must have at most 998 characters; got 999"),
    ],
)
def test_a_template_that_makes_no_subject_or_an_endless_one_fails_the_mail(inline_service, folder, subject, words):
    (folder / "welcome.subject.txt").write_text(subject)
    why = why_failed(celery_service.send_email(**MAIL, context={"name": "Ann"}))
    assert f"welcome.subject.txt makes a subject that {words}" in why
    assert mails(inline_service) == []


def test_the_longest_subject_of_a_template_arrives_whole(inline_service, folder):
    (folder / "welcome.subject.txt").write_text("{{ 'ä' * 998 }}\n")
    celery_service.send_email(**MAIL, context={"name": "Ann"})
    assert mails(inline_service)[0]["Subject"] == "ä" * 998


def test_a_mail_is_the_same_bytes_at_every_attempt_and_in_every_process_while_its_template_is(folder):
    mail = SendEmail.model_validate(MAIL | {"context": {"name": "Ann", "order": {"b": 1, "a": 2}}})
    recipients, _ = sort_out(mail.recipients())

    def composed() -> bytes:
        maker = Composer(FilesInMemory({}), 25, templates=partial(Templates, folder))
        return maker.compose(mail, parse("a@example.com"), recipients, mail_id="t-0", date=WHEN, report=silent)

    first = composed()
    assert composed() == first
    (folder / "welcome.html").write_text("<p>Bye {{ name }}</p>")
    assert composed() != first


# --- What is refused, and where --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"body": "b"}, "body: is made by the template; give one of the two"),
        ({"html_body": "<p>"}, "html_body: is made by the template"),
        ({"template": "../../x"}, r"template: must be a name such as welcome or orders/shipped.*got '\.\./\.\./x'"),
        ({"template": "/etc/passwd"}, "template: must be a name such as welcome"),
        ({"template": "welcome.html"}, "template: must be a name such as welcome"),
        ({"template": ""}, "template: must be a name such as welcome"),
        ({"template": "x" * 201}, "template: must be a name such as welcome"),
        ({"template": 5}, "template: Input should be a valid string"),
        ({"context": []}, "context: must be a dict of JSON values; got list"),
        ({"context": {"a": {1: 2}}}, r"context: context\.a must have texts as keys; one is a int"),
        ({"context": {1: 2}}, "context: context must have texts as keys; one is a int"),
        ({"context": {"a": [float("nan")]}}, r"context: context\.a\[0\] must be a finite number"),
        ({"context": {"a": 2**64}}, r"context: context\.a must have at most 64 bits"),
        ({"context": {"a": object()}}, r"context: context\.a must be a JSON value: .*; it is a object"),
        ({"context": {"a": b"planted"}}, r"context\.a must be a JSON value: .*; it is a bytes"),
        ({"context": {"a": "planted\0"}}, r"context\.a must be text without NUL"),
        ({"context": {"a": "\ud800"}}, r"context\.a must be text without NUL and lone surrogates"),
        ({"context": {"a": "x" * 2_000_000}}, "of all arguments|at most 1000000 bytes an item"),
        ({"subject": "a\nb"}, "subject: must not contain control characters"),
    ],
    ids=range(19),
)
def test_what_is_wrong_with_a_template_or_a_context_is_refused_at_submit(inline_service, folder, arguments, words):
    given = MAIL | {"context": {"name": "planted"}} | arguments
    with pytest.raises(InvalidArgument, match=words) as error:
        celery_service.send_email(**given)
    assert "planted" not in str(error.value)
    with pytest.raises(InvalidArgument, match=words) as error:
        celery_service.send_bulk_emails([given])
    assert "planted" not in str(error.value)


def test_a_context_that_has_itself_inside_is_refused(inline_service, folder):
    context: dict[str, Any] = {"a": []}
    context["a"].append(context)
    with pytest.raises(InvalidArgument, match="context: must be at most 50 deep; what has itself inside has no end"):
        celery_service.send_email(**MAIL, context=context)


@pytest.mark.parametrize(
    ("mail", "words"),
    [
        ({"subject": "s"}, "body must be given, or a template that makes them"),
        ({"body": "b"}, "subject must be given, or a template that makes them"),
        ({}, "subject and body must be given, or a template that makes them"),
        ({"subject": "s", "body": "b", "context": {}}, "context: is for a template; give its name as template"),
    ],
)
def test_without_a_template_a_mail_has_a_subject_and_a_body_of_its_own(inline_service, mail, words):
    with pytest.raises(InvalidArgument, match=words):
        celery_service.send_email("ann@example.com", **mail)
    with pytest.raises(InvalidArgument, match=r"no 'subject'|no 'body'|context: is for a template"):
        celery_service.send_bulk_emails([{"to_email": "ann@example.com", **mail}])


def test_an_empty_subject_and_body_are_still_a_mail(inline_service):
    celery_service.send_email("ann@example.com", "", "")
    assert mails(inline_service)[0]["Subject"] == ""


def test_a_template_without_a_folder_names_the_setting(inline_service):
    assert "set EMAIL_TEMPLATES_DIR" in why_failed(celery_service.send_email(**MAIL))


def test_a_template_that_is_not_there_names_the_setting_and_the_template(inline_service, folder):
    why = why_failed(celery_service.send_email(**MAIL | {"template": "gone"}))
    assert f"no template 'gone' in {folder} (EMAIL_TEMPLATES_DIR)" in why


def test_a_context_is_recorded_and_what_is_secret_in_it_is_shown_to_nobody(inline_service, folder):
    task_id = celery_service.send_email(**MAIL, context={"name": "Ann", "password": "planted"})
    assert parts().tasks.read(task_id).kwargs["context"]["password"] == "planted"
    assert "planted" not in repr(celery_service.get_task_status(task_id))


def test_a_clean_up_leaves_the_templates_alone(folder):
    assert folder in protected_paths()
