"""A preview shows what would be sent, as it would be, and sends nothing."""

from datetime import UTC, datetime

import pytest

from composing import composer, read
from processors.addresses import parse, sort_out
from processors.emails import SendEmail
from processors.errors import FileError, PermanentError
from processors.mail_preview import preview
from reading import silent

WHEN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
PLAIN = {"to_email": "b@example.com", "subject": "Grüße", "body": "text"}
FILES = {"a.pdf": b"%PDF", "logo.png": b"\x89PNG"}


class Signs:
    """A signer whose signature says nothing."""

    domain = "example.com"

    def sign(self, lines, body_hash, date):
        return "DKIM-Signature: v=1"


def shown(signer=None, **arguments):
    mail = SendEmail.model_validate(PLAIN | arguments)
    maker = composer(FILES, max_mb=1, signer=signer)
    return preview(mail, maker, silent, mail_id="t-0", date=WHEN, sender="from@example.com")


def codes(signer=None, **arguments) -> list[str]:
    return [one["code"] for one in shown(signer, **arguments).warnings]


def test_it_shows_how_a_list_is_left_as_the_mail_would():
    mail = SendEmail.model_validate(PLAIN | {"list_name": "news", "headers": {"Precedence": "bulk"}})
    found = preview(
        mail,
        composer(FILES, max_mb=1, signer=Signs()),
        silent,
        mail_id="t-0",
        date=WHEN,
        sender="from@example.com",
        unsubscribe_url=lambda address, name: f"https://example.com/{name}/{address}",
    )
    headers = {one.name: one.value for one in found.headers}
    assert headers["List-Unsubscribe"] == "<https://example.com/news/b@example.com>"
    assert found.warnings == []


def test_it_shows_what_would_be_sent():
    mail = {
        "html_body": '<p>Hi <img src="cid:logo"></p>',
        "cc": ["c@example.com"],
        "bcc": ["hidden@example.com"],
        "attachments": [{"path": "a.pdf", "name": "Prüfung.pdf"}],
        "inline_images": {"logo": {"path": "logo.png"}},
        "headers": {"X-Order": "17"},
    }
    found = shown(**mail)
    assert (found.status, found.subject, found.text, found.html) == ("preview", "Grüße", "text", mail["html_body"])
    assert found.accepted == ["b@example.com", "c@example.com", "hidden@example.com"]
    assert [(one.name, one.type, one.size, one.cid) for one in found.attachments] == [
        ("Prüfung.pdf", "application/pdf", 4, None),
        ("logo.png", "image/png", 4, "logo"),
    ]
    headers = {one.name: one.value for one in found.headers}
    assert (headers["From"], headers["Subject"], headers["X-Order"]) == ("from@example.com", "Grüße", "17")
    assert "hidden@example.com" not in str(headers)
    assert found.warnings == []
    assert found.failure() is None


def test_its_bytes_are_those_that_would_be_sent():
    mail = SendEmail.model_validate(PLAIN | {"attachments": [{"path": "a.pdf"}]})
    recipients, _ = sort_out(mail.recipients())
    sent = composer(FILES).compose(mail, parse("from@example.com"), recipients, mail_id="t-0", date=WHEN, report=silent)
    found = shown(attachments=[{"path": "a.pdf"}])
    assert (found.size, found.message_id) == (len(sent), read(sent)["Message-ID"])
    assert [one.name for one in found.headers] == read(sent).keys()


def test_recipients_that_cannot_be_mailed_are_told_with_the_reason():
    found = shown(to_email=["b@example.com", "nobody"])
    assert found.accepted == ["b@example.com"]
    assert "must be one mail address" in found.invalid["nobody"]


def test_a_plain_text_has_nothing_odd_about_it():
    assert codes() == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"body": "<p>Hi</p>"}, "text_made"),
        ({"html_body": "<p>" + "x" * 102_000}, "html_clipped"),
        ({"html_body": "<img src=cid:logo>"}, "image_missing"),
        ({"html_body": "<p>", "inline_images": {"logo": {"path": "logo.png"}}}, "image_unused"),
        ({"headers": {"Precedence": "bulk"}}, "no_unsubscribe"),
        ({"to_email": [f"r{number}@example.com" for number in range(51)]}, "no_unsubscribe"),
        ({"unsubscribe": "https://x.example/u"}, "unsubscribe_unsigned"),
        ({"to_email": ["no", "nobody"]}, "no_recipient"),
    ],
)
def test_what_is_odd_about_a_mail_is_said(arguments, code):
    assert codes(**arguments) == [code]


@pytest.mark.parametrize(
    ("sender", "found"),
    [
        ("a@example.com", []),
        ("a@mail.example.com", []),
        ("a@otherexample.com", ["dkim_other_domain"]),
    ],
)
def test_a_signature_of_another_domain_than_the_authors_is_said(sender, found):
    assert codes(Signs(), from_email=sender, unsubscribe="https://x.example/u") == found


def test_files_of_other_machines_are_not_asked_for():
    found = shown(attachments=[{"path": "https://x.example/far.pdf"}, {"path": "s3://bucket/far.png"}])
    assert [(one.name, one.type, one.size) for one in found.attachments] == [
        ("far.pdf", "application/pdf", None),
        ("far.png", "image/png", None),
    ]
    assert [one["code"] for one in found.warnings] == ["not_fetched"]


def test_what_could_not_be_sent_cannot_be_previewed():
    with pytest.raises(FileError, match=r"gone\.pdf"):
        shown(attachments=[{"path": "gone.pdf"}])
    with pytest.raises(PermanentError, match="EMAIL_MAX_MB"):
        shown(body="日" * 500_000)
