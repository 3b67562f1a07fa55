"""Mail: nothing but what was asked for goes out, to nobody else, and each recipient has one outcome."""

import json
import random
import re
from dataclasses import replace
from datetime import UTC, datetime
from email import policy
from email.header import decode_header
from email.parser import BytesParser
from sys import getrefcount

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from composing import FilesInMemory, composer
from mail_rows import AwayMailer, InTurns, RememberedDeliveries, RememberedMembers, ScriptedMailer
from processors import addresses, bulk_emails, doubt
from processors.addresses import check_line, parse, sort_out
from processors.attachments import Attachment
from processors.bulk_emails import (
    LOOKED_BACK,
    RESENT,
    BulkBrake,
    BulkEmailsSent,
    SendBatch,
    check_bulk,
    conclude_bulk,
    counted_by_code,
    deliver_batch,
    ends_of_left,
)
from processors.composition import Composer
from processors.email_delivery import MOST_TRIES, Post, deliver, fault_wait
from processors.emails import SendEmail
from processors.errors import (
    Cancelled,
    EffectInDoubt,
    InvalidArgument,
    Postponed,
    ServiceUnavailable,
    TransientError,
    TransportFault,
    TransportRests,
)
from processors.interfaces import EndedPart, MemberEnd, Outcome, Run
from processors.mail_parts import Body
from processors.messages import Message, compose, is_html, text_of
from processors.results import sentence_of

WHEN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
LINE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=300)


def silent(percent: float, text: str) -> None:
    """A report that nobody reads."""


def composed(subject="Hello", body="text", to=("b@example.com",), cc=(), bcc=()):
    roles = [*(("to", one) for one in to), *(("cc", one) for one in cc), *(("bcc", one) for one in bcc)]
    recipients, _ = sort_out(roles)
    return compose(message(subject, body, recipients), mail_id="t-0", date=WHEN)


def message(subject, body, recipients) -> Message:
    page = body if is_html(body) else None
    return Message(parse("a@example.com"), recipients, subject, Body(None if page else body, page))


def read(content: bytes):
    return BytesParser(policy=policy.default).parsebytes(content)


def lines(part) -> str:
    """The text of a part, with the line ends of a program instead of the wire's."""
    return part.get_content().replace("\r\n", "\n").rstrip("\n")


# --- Addresses and headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "a\nBcc: x@example.com",
        "a\rb",
        "a\0b",
        "a\x85b",
        "a\u2028b",
        "=?utf-8?b?YQpCY2M6IHhAZXhhbXBsZS5jb20=?=",
        "=?unknown-8bit?q?a=0AB?=",
        "\udcff",
    ],
)
def test_a_line_that_could_become_two_headers_is_refused(text):
    with pytest.raises(ValueError, match="control characters"):
        check_line(text)


@pytest.mark.parametrize("text", ["nobody", "@example.com", "a@", "a b@example.com", "a@example..com", "a@b@c.com", ""])
def test_what_is_no_address_is_refused_and_shown(text):
    with pytest.raises(ValueError, match="must"):
        parse(text)


def test_an_address_keeps_its_name_and_a_foreign_domain_becomes_ascii():
    address = parse("Jürgen Müller <j.mueller@bücher.example>")
    assert (address.display_name, address.addr_spec) == ("Jürgen Müller", "j.mueller@xn--bcher-kva.example")


def test_a_name_that_smtp_cannot_carry_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="ASCII name before the @"):
        parse("jürgen@example.com")


def test_an_address_too_long_for_an_envelope_is_refused():
    with pytest.raises(ValueError, match="at most 320"):
        parse("a" * 400 + "@example.com")


@pytest.mark.parametrize(
    ("text", "envelope"),
    [
        ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"),  # RFC 5321 4.1.2: atext
        ("a.b+tag@sub.example.co.uk", "a.b+tag@sub.example.co.uk"),
        ("x" * 64 + "@example.com", "x" * 64 + "@example.com"),  # 4.5.3.1.1: the longest local part
        ("Ann <ann@EXAMPLE.com>", "ann@example.com"),
        ('"Doe, Jane" <jane@example.com>', "jane@example.com"),
        ("Doe, Jane <jane@example.com>", "jane@example.com"),  # no second address
        ("<ann@example.com>", "ann@example.com"),
        (" ann@example.com ", "ann@example.com"),
        (" Ann <ann@example.com> ", "ann@example.com"),
        ("ann@例え.テスト", "ann@xn--r8jz45g.xn--zckzah"),  # RFC 6531: the domain has an ASCII form
        ("ann@example。com", "ann@example.com"),  # RFC 3490 3.1: an ideographic full stop
    ],
)
def test_an_odd_address_that_smtp_can_carry_is_taken_as_it_is(text, envelope):
    assert parse(text).addr_spec == envelope


@pytest.mark.parametrize(
    "text",
    [
        '"a b"@example.com',  # RFC 5321 4.1.2: quoted local parts, which hide what a server may read in them
        '"a@b"@example.com',
        '"a\\"b"@example.com',
        "ann@[192.0.2.1]",  # address literals: a machine and no domain
        "ann@[IPv6:2001:db8::1]",
        "postmaster",
        "<>",
        "a(comment)@example.com",  # RFC 5322 3.2.2, 3.4, 4.4: comments, groups, source routes
        "ann@example.com (Ann)",
        "Team: a@example.com, b@example.com;",
        "undisclosed-recipients:;",
        "@a.example,@b.example:c@example.com",
        "<@a.example:c@example.com>",
        ".ann@example.com",
        "ann.@example.com",
        "a..b@example.com",
        "Ann < ann@example.com>",
        "ann@" + "a" * 64 + ".example.com",
        "ann@" + "a." * 130 + "com",
        "ann@-example.com",
        "ann@example-.com",
        "ann@exam_ple.com",
        "用户@例子.广告",  # RFC 6531: a local part that needs SMTPUTF8
        "ann@example.com, bob@example.com",
        "ann@example.com bob@example.com",
        "ann@example.com;bob@example.com",
        "Ann <a@example.com> <b@example.com>",
        "ann@example.com ORCPT=rfc822;x@example.com",
        "ann@example.com> SIZE=1",
        "ann@example.com\u200b",
        "a\u202enn@example.com",
        "ann@exa\u00admple..com",
        "ann%example.com",
        "mailto:ann@example.com?cc=bob@example.com",
        "=?utf-8?q?ann=40example.com?=",
    ],
)
def test_what_could_be_read_as_another_address_or_as_several_is_refused(text):
    with pytest.raises(ValueError, match="must"):
        parse(text)


ADDRESS_PIECE = st.sampled_from(
    [*"<>@,;:()[]\"' .\\%!=+", "ann", "example.com", "ü", "。", "xn--", "@example.com", "\t", "\u200b", " ORCPT="]
)


@given(text=st.lists(ADDRESS_PIECE | st.text(max_size=3), max_size=8).map("".join))
def test_whatever_is_taken_as_an_address_is_one_word_of_an_envelope(text):
    try:
        envelope = parse(text).addr_spec
    except ValueError:
        return
    assert re.fullmatch(r"[!#-'*+\-./0-9=?A-Z^_`a-z{|}~]{1,310}@[a-z0-9.-]{1,255}", envelope), envelope


LABELS = st.text("aB1-", min_size=1, max_size=6) | st.sampled_from(["xn--bcher-kva", "a--b", "c" * 63, "c" * 64, ""])


@given(
    st.text("ab1._+-A!", min_size=1, max_size=8) | st.sampled_from(["INFO", "info", "a" * 65]),
    st.lists(LABELS, min_size=1, max_size=5).map(".".join),
    st.sampled_from(["com", "example", "test", "local", "localhost", "invalid", "1"]),
)
@example("ab", ".".join(["c" * 48, *["c" * 49] * 4]), "com")  # a domain of 252 characters is one, such an address none
def test_an_address_is_what_the_validator_takes_whatever_way_is_shorter(local, domain, last):
    text = f"{local}@{domain}.{last}"
    try:
        found = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        with pytest.raises(ValueError, match="must" if len(text) > 320 else re.escape(str(error).rstrip("."))):
            parse(text)
    else:
        assert parse(text).addr_spec == f"{found.local_part}@{found.ascii_domain}"


def test_each_address_gets_one_mail_in_its_first_role_however_it_is_written():
    valid, invalid = sort_out(
        [("to", "b@example.com"), ("cc", "B@EXAMPLE.com"), ("bcc", "c@example.com"), ("to", "no")]
    )
    assert [(one.address, one.role) for one in valid] == [("b@example.com", "to"), ("c@example.com", "bcc")]
    assert [one.given for one in invalid] == ["no"]


# --- The message -----------------------------------------------------------------------------------------------


@given(subject=LINE)
def test_any_subject_reads_back_as_it_was_and_adds_no_header(subject):
    try:
        check_line(subject)
    except ValueError:
        return
    content = composed(subject)
    message = read(content)
    assert set(message.keys()) == {
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Content-Type",
        "Content-Transfer-Encoding",
        "MIME-Version",
    }
    assert " ".join(str(message["Subject"]).split()) == " ".join(subject.split())


@given(body=st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=2000))
def test_any_body_reads_back_as_it_was(body):
    if is_html(body):
        return
    content = composed(body=body)
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert lines(read(content)) == body.rstrip("\n")


@given(name=LINE)
def test_a_display_name_reads_back_or_is_refused(name):
    try:
        address = parse(f'"{name}" <b@example.com>'.replace("\\", ""))
    except ValueError:
        return
    message = read(composed(to=[str(address)]))
    assert [one.addr_spec for one in message["To"].addresses] == ["b@example.com"]


@pytest.mark.parametrize(
    "text",
    [
        "=?utf-8?q?=0DBcc: x@example.com",
        "=?utf-8?q?=0AYQ==",
        "<=?utf-8?q?\U0001f600\xa0  =?utf-7?q?+AAo-?==?iso-2022-jp?b?GyRC?=",
        "=?utf-8?b?a?=",
        "=?rot13?q?a?=",
        "=?idna?q?a?=",
        "  ::)=?iso-2022-jp?b?GyRC?=" + "a" * 80 + "=?utf-8?b?\\=",
        "Bcc: x@example.com=?us-ascii?Q?a?=; Bcc: x@example.com=3D?==?utf-8*en?q?x?==?us-ascii?Q?a?=",
        "Is 2+2=?4?",
        "a" * 3000,
        "\u202eabc \U0001f600 " * 40,
    ],
    ids=range(11),
)
def test_what_looks_like_encoded_words_neither_breaks_a_header_nor_the_mail(text):
    recipients, _ = sort_out([("to", f"{text} <b@example.com>".replace('"', "")), ("to", "c@example.com")])
    content = compose(message(text, "body", recipients), mail_id="t-0", date=WHEN)

    head, _, body = content.partition(b"\r\n\r\n")
    names = [line.split(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b" ")]
    assert names == [
        *(b"From", b"To", b"Subject", b"Date", b"Message-ID"),
        *(b"Content-Type", b"Content-Transfer-Encoding", b"MIME-Version"),
    ]
    assert body == b"body\r\n"
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert max(map(len, content.split(b"\r\n"))) <= 998


def test_words_that_a_caller_has_encoded_are_read_and_what_stands_beside_them_is_kept():
    assert read(composed("日本 =?utf-8?q?J=C3=BC?= =?utf-8?q?rgen?= !"))["Subject"] == "日本 Jürgen !"


def test_of_encoded_words_without_end_no_two_are_read_at_once(monkeypatch):
    longest = 0

    def read_one(words):
        nonlocal longest
        longest = max(longest, len(words))
        return decode_header(words)

    monkeypatch.setattr(addresses, "decode_header", read_one)  # which takes a square of the words that it is given
    assert addresses.decoded("=?utf-8?q?a?= " * 2_000 + "=?utf-8?q?=C3?= =?utf-8?q?=BC?=") == "a" * 2_000 + "ü"
    assert longest == len("=?utf-8?q?=C3?=")


def test_bcc_recipients_are_nowhere_in_the_message():
    content = composed(to=["b@example.com"], cc=["c@example.com"], bcc=["hidden@example.com"])
    assert b"hidden" not in content
    assert b"bcc" not in content.lower()
    assert read(content)["Cc"] == "c@example.com"


def test_a_mail_to_bcc_only_names_nobody():
    assert "To" not in read(composed(to=(), bcc=["hidden@example.com"]))


def test_the_same_mail_is_the_same_bytes_at_every_attempt():
    assert composed(body="<p>x</p>") == composed(body="<p>x</p>")


def test_an_html_body_gets_a_readable_text_beside_it():
    body = "<html><head><title>no</title><style>p{}</style></head><body><p>Hi <b>Ann</b></p><a href='https://x.example'>here</a></body>"
    message = read(composed(body=body))
    assert message.get_content_type() == "multipart/alternative"
    text, html = message.iter_parts()
    assert text.get_content().split() == ["Hi", "Ann", "here", "(https://x.example)"]
    assert lines(html) == body


@pytest.mark.parametrize(
    ("body", "html"),
    [
        ("<p>x</p>", True),
        ("  <!DOCTYPE html><html>", True),
        ("1 < 2 and <b>", False),
        ("<notatag>", False),
        ("<a@example.com> wrote:\nHi", False),
        ("<p.s.> more", False),
        ("<!-- made by a tool --> <html><p>x", True),
        ("<?xml version='1.0'?>\n<!DOCTYPE html><html>", True),
        ("\ufeff<p>x", True),
        ("<br/>x", True),
        ("text", False),
    ],
)
def test_html_is_what_begins_like_html(body, html):
    assert is_html(body) is html


def test_the_text_of_a_page_whose_head_has_no_end_is_its_body():
    assert text_of("<html><head><title>no</title><body><p>seen</p></body></html>") == "seen\n"


def test_text_of_broken_html_does_not_hide_what_follows():
    assert text_of("</style><p>seen</p>") == "seen\n"


# --- The request -----------------------------------------------------------------------------------------------


def refused(**arguments) -> str:
    with pytest.raises(ValidationError) as error:
        SendEmail.model_validate({"to_email": "b@example.com", "subject": "s", "body": "b"} | arguments)
    return sentence_of(error.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"to_email": "nobody"}, "to_email: must be one mail address"),
        ({"to_email": []}, "to_email: must not be an empty list"),
        ({"cc": []}, "cc: must not be an empty list"),
        ({"to_email": [f"r{n}@example.com" for n in range(1001)]}, "at most 1000 recipients; got 1001"),
        ({"subject": "a\nBcc: x@example.com"}, "subject: must not contain control characters"),
        ({"subject": 5}, "subject:"),
        ({"from_email": "nobody"}, "from_email: must be one mail address"),
        ({"body": "a\0b"}, "body: must be text without NUL"),
    ],
)
def test_a_bad_argument_is_named_with_what_is_accepted(arguments, words):
    assert words in refused(**arguments)


def test_a_refusal_never_repeats_the_body():
    assert "private" not in refused(body="private\0")


ONE_OF_THESE = "must be an address or a list of addresses"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"to_email": None}, f"to_email: {ONE_OF_THESE}; got None"),
        ({"to_email": ["a@example.com", 3]}, f"to_email: {ONE_OF_THESE}; got ['a@example.com', 3]"),
        ({"to_email": ["a\0@example.com"]}, "to_email: must be text without NUL and lone surrogates"),
        ({"reply_to": 4}, f"reply_to: {ONE_OF_THESE}; got 4"),
        ({"unsubscribe": 3}, "unsubscribe: must be an https:// address, or a dict with such a url and a mailto; got 3"),
        ({"unsubscribe": {"url": 3}}, "and a mailto: url: Input should be a valid string; got 3"),
        ({"body": 3}, "body: Input should be a valid string; got int"),
        ({"html_body": b"planted"}, "html_body: Input should be a valid string; got bytes"),
        ({"headers": {"X-Password": 7}}, "headers.X-Password: Input should be a valid string; got int"),
        ({"cc": [f"r{n}@example.com" for n in range(1_000)]}, "to_email: with cc and bcc, a mail has at most 1000"),
    ],
)
def test_a_bad_argument_is_told_once_by_its_name_with_what_was_given_and_what_is_accepted(given, sentence):
    with pytest.raises(ValidationError) as error:
        SendEmail.model_validate({"to_email": "b@example.com", "subject": "s", "body": "b", **given})
    told = sentence_of(error.value)
    assert sentence in told
    assert told.count("must be an") <= 1
    assert "planted" not in told


@pytest.mark.parametrize("page", [{"html_body": "<p>Hello</p>"}, {"html_body": "<p>Hello</p>", "body": ""}])
def test_a_page_alone_is_enough_and_gets_a_text(page):
    request = SendEmail.model_validate({"to_email": "b@example.com", "subject": "s", **page})
    mailer = ScriptedMailer()
    assert deliver(request, post(mailer), silent).status == "sent"
    text = read(mailer.contents[0]).get_body(("plain",))
    assert lines(text) == "Hello"


def test_a_mail_without_text_and_page_is_refused():
    with pytest.raises(ValidationError, match="body must be given"):
        SendEmail.model_validate({"to_email": "b@example.com", "subject": "s"})
    with pytest.raises(ValidationError, match="subject must be given"):
        SendEmail.model_validate({"to_email": "b@example.com", "html_body": "<p>Hello</p>"})


def test_a_thousand_recipients_are_accepted():
    assert (
        len(SendEmail(to_email=[f"r{n}@example.com" for n in range(1000)], subject="s", body="b").recipients()) == 1000
    )


# --- Delivery --------------------------------------------------------------------------------------------------


def post(mailer, deliveries=None, *, last=False, resend=False):
    rows = deliveries or RememberedDeliveries()
    run = Run("t", 1)
    return Post(
        mailer, rows, "t", WHEN, "from@example.com", last, run, lambda write: write(), resend, composer=composer()
    )


def mail(*names: str) -> SendEmail:
    return SendEmail(to_email=[f"{name}@example.com" for name in names], subject="s", body="b")


def test_a_mail_that_everybody_got_is_sent():
    sent = deliver(mail("b", "c"), post(ScriptedMailer()), silent)
    assert (sent.status, sent.accepted, sent.transport) == ("sent", ["b@example.com", "c@example.com"], "scripted")
    assert sent.failure() is None


def test_a_mail_that_some_got_is_partial_and_tells_why_for_each_other():
    mailer = ScriptedMailer(no=Outcome("refused", 550, "5.1.1", "no such user"))
    sent = deliver(
        SendEmail(to_email=["b@example.com", "no@example.com", "bad"], subject="s", body="b"), post(mailer), silent
    )
    assert sent.status == "partial"
    assert sent.refused["no@example.com"].text == "no such user"
    assert "must be one mail address" in sent.invalid["bad"]


def test_a_mail_that_nobody_got_is_a_failure_with_its_reason():
    sent = deliver(mail("no"), post(ScriptedMailer(no=Outcome("refused", 550, None, "no such user"))), silent)
    assert sent.status == "failed"
    assert sent.failure() == "No recipient was accepted: no@example.com: 550 no such user."


def test_a_recipient_who_was_put_off_is_tried_again_when_that_is_due_and_the_others_are_left_alone():
    deliveries = RememberedDeliveries()
    full = ScriptedMailer(full=Outcome("deferred", 452, "4.2.2", "full"))
    with pytest.raises(Postponed, match="1 recipient was put off") as put_off:
        deliver(mail("b", "full"), post(full, deliveries), silent)
    assert 270 <= put_off.value.retry_after <= 330

    early = ScriptedMailer()
    with pytest.raises(Postponed):
        deliver(mail("b", "full"), post(early, deliveries), silent)
    assert early.sent == []

    deliveries.let_the_wait_pass()
    again = ScriptedMailer()
    sent = deliver(mail("b", "full"), post(again, deliveries), silent)
    assert again.sent == [["full@example.com"]]
    assert sent.status == "sent"


def test_who_is_put_off_is_named_and_not_who_was_refused():
    gone, grey = Outcome("refused", 550, None, "no such user."), Outcome("deferred", 450, "4.2.0", "greylisted")
    with pytest.raises(Postponed) as put_off:
        deliver(mail("b", "gone", "grey"), post(ScriptedMailer(gone=gone, grey=grey)), silent)
    assert str(put_off.value) == "1 recipient was put off: grey@example.com: 450 greylisted."

    with pytest.raises(Postponed, match=r"^2 recipients were put off: c@example\.com: 450 greylisted\.$"):
        deliver(mail("c", "d"), post(ScriptedMailer(c=grey, d=grey)), silent)


def test_a_reason_ends_with_one_full_stop():
    gone = deliver(mail("no"), post(ScriptedMailer(no=Outcome("refused", 550, None, "no such user."))), silent)
    bad = deliver(SendEmail(to_email=["a@", "b@"], subject="s", body="b"), post(ScriptedMailer()), silent)
    for sent in (gone, bad):
        assert str(sent.failure()).endswith(".")
        assert not str(sent.failure()).endswith("..")


def test_who_is_not_let_out_is_skipped_and_that_is_no_failure():
    kept = Outcome("skipped", text="EMAIL_ONLY_TO does not let it out")
    sent = deliver(mail("b"), post(ScriptedMailer(b=kept)), silent)
    assert (sent.status, sent.failure()) == ("skipped", None)

    both = deliver(mail("b", "no"), post(ScriptedMailer(b=kept, no=Outcome("refused", 550, None, "no"))), silent)
    assert both.failure() == "No recipient was accepted: no@example.com: 550 no."


def test_a_result_tells_how_long_the_delivery_took(monkeypatch):
    ticks = iter([10.0, 10.25])
    monkeypatch.setattr("processors.email_delivery.time.monotonic", lambda: next(ticks))
    assert deliver(mail("b"), post(ScriptedMailer()), silent).duration_ms == 250


@pytest.mark.parametrize(("longest", "total"), [(600, 810), (90, 216)])
def test_the_waits_for_a_server_that_is_away_add_up_to_more_than_ten_minutes_within_the_longest(longest, total):
    waits = [fault_wait(attempt, longest) for attempt in range(3)]
    assert total <= sum(waits)
    assert waits == sorted(waits) or longest < 240
    assert all(0.9 * min(longest, 60 * 4**n) <= wait <= longest for n, wait in enumerate(waits))
    assert fault_wait(10**9, longest) <= longest


@pytest.mark.parametrize(("asked", "wait"), [(None, 60.0), (5.0, 60.0), (900.0, 900.0)])
def test_a_server_that_is_away_is_left_alone_for_the_wait_of_the_attempt_or_as_long_as_it_asks(asked, wait):
    fault = TransportFault("no connection", asked, code=554)
    with pytest.raises(TransportFault) as away:
        deliver(mail("b"), replace(post(AwayMailer(fault)), fault_wait=60.0), silent)
    assert (away.value.retry_after, away.value.code) == (wait, 554)


def test_a_server_that_rests_is_asked_when_its_rest_is_over():
    with pytest.raises(TransportRests) as rests:
        deliver(mail("b"), replace(post(AwayMailer(TransportRests("rests", 7.0))), fault_wait=60.0), silent)
    assert rests.value.retry_after == 7


def test_a_server_that_says_when_it_will_be_asked_again_is_asked_then():
    full = ScriptedMailer(b=Outcome("deferred", 451, None, "try in 90 seconds", retry_after=90.0))
    with pytest.raises(Postponed) as put_off:
        deliver(mail("b"), post(full), silent)
    assert put_off.value.retry_after == 90


def test_a_recipient_is_given_up_after_the_last_try_and_its_waits_grow_to_a_day_and_a_half():
    deliveries, full, waits = RememberedDeliveries(), ScriptedMailer(b=Outcome("deferred", 451, None, "later")), []
    for _ in range(MOST_TRIES - 1):
        with pytest.raises(Postponed) as put_off:
            deliver(mail("b"), post(full, deliveries, last=True), silent)
        waits.append(put_off.value.retry_after)
        deliveries.let_the_wait_pass()

    sent = deliver(mail("b"), post(full, deliveries), silent)

    assert sent.status == "failed"
    assert sent.refused["b@example.com"].code == 451
    assert "given up after 18 tries" in sent.refused["b@example.com"].text
    assert len(full.sent) == MOST_TRIES
    assert 20 * 3600 < sum(waits) < 36 * 3600


def test_a_mail_that_is_sent_again_in_doubt_is_in_doubt_after_the_last_try_and_not_refused():
    deliveries, silence = RememberedDeliveries(), ScriptedMailer(b=Outcome("unknown", text="no answer"))
    for _ in range(MOST_TRIES - 1):
        with pytest.raises(Postponed):
            deliver(mail("b"), post(silence, deliveries, resend=True), silent)
        deliveries.let_the_wait_pass()

    sent = deliver(mail("b"), post(silence, deliveries, resend=True), silent)

    assert (sent.status, sent.unknown, sent.refused) == ("unknown", ["b@example.com"], {})
    assert len(silence.sent) == MOST_TRIES


def test_a_mail_whose_worker_died_while_it_was_handed_over_is_unknown_and_not_repeated():
    deliveries = RememberedDeliveries()
    with pytest.raises(KeyboardInterrupt):
        deliver(mail("b"), post(ScriptedMailer(b=KeyboardInterrupt()), deliveries), silent)

    again = ScriptedMailer()
    deliveries.let_the_doubt_pass(again)
    sent = deliver(mail("b"), post(again, deliveries), silent)

    assert (sent.status, sent.unknown, again.sent) == ("unknown", ["b@example.com"], [])
    assert "not known whether" in sent.failure()


def test_such_a_mail_is_sent_again_where_that_is_wanted():
    deliveries = RememberedDeliveries()
    with pytest.raises(KeyboardInterrupt):
        deliver(mail("b"), post(ScriptedMailer(b=KeyboardInterrupt()), deliveries), silent)

    again = ScriptedMailer()
    deliveries.let_the_doubt_pass(again)

    assert deliver(mail("b"), post(again, deliveries, resend=True), silent).status == "sent"
    assert again.sent == [["b@example.com"]]


@pytest.mark.parametrize("resend", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_nothing_is_concluded_while_a_former_run_may_still_be_handing_the_mail_over(resend, last):
    deliveries = RememberedDeliveries()
    with pytest.raises(KeyboardInterrupt):
        deliver(mail("b"), post(ScriptedMailer(b=KeyboardInterrupt()), deliveries), silent)

    again = ScriptedMailer()
    with pytest.raises(EffectInDoubt) as waits:
        deliver(mail("b", "c"), post(again, deliveries, last=last, resend=resend), silent)

    assert 0 < waits.value.retry_after <= doubt.doubt_seconds(again.deadline)
    assert again.sent == [["c@example.com"]], "the others get theirs"
    assert deliveries.state("b@example.com") == "handing"


def test_a_lost_answer_is_put_off_where_a_second_copy_is_wanted():
    deliveries, lost = RememberedDeliveries(), ScriptedMailer(b=Outcome("unknown", text="lost"))
    with pytest.raises(Postponed, match="put off"):
        deliver(mail("b"), post(lost, deliveries, resend=True), silent)
    assert deliveries.state("b@example.com") == "deferred"

    assert deliver(mail("b"), post(lost), silent).status == "unknown"


class Greylisting(ScriptedMailer):
    """Puts recipients off before it will have any content, as servers do."""

    def send(self, queue):
        while (letter := queue.take()) is not None:
            self.sent.append(list(letter.recipients))
            queue.turn([(letter, dict.fromkeys(letter.recipients, Outcome("deferred", 450, None, "greylisted")))], [])


def test_one_who_is_put_off_before_the_content_is_given_up_after_as_many_tries():
    deliveries, greylisting, waits = RememberedDeliveries(), Greylisting(), []
    for _ in range(MOST_TRIES - 1):
        with pytest.raises(Postponed) as put_off:
            deliver(mail("b"), post(greylisting, deliveries), silent)
        waits.append(put_off.value.retry_after)
        deliveries.let_the_wait_pass()

    assert waits[-1] > 20 * waits[0]
    assert deliver(mail("b"), post(greylisting, deliveries), silent).status == "failed"


def test_a_server_that_asks_to_be_tried_again_in_seconds_does_not_use_up_all_tries_in_minutes():
    deliveries, waits = RememberedDeliveries(), []
    hasty = ScriptedMailer(b=Outcome("deferred", 451, None, "try again in 5 seconds", retry_after=5.0))
    for _ in range(4):
        with pytest.raises(Postponed) as put_off:
            deliver(mail("b"), post(hasty, deliveries), silent)
        waits.append(put_off.value.retry_after)
        deliveries.let_the_wait_pass()
    assert waits[:2] == [5, 5]
    assert min(waits[2:]) > 300


def test_a_mark_whose_commits_answer_was_lost_is_taken_back_where_nothing_went_out():
    deliveries, mailer = RememberedDeliveries(), ScriptedMailer()
    mark = deliveries.turn

    def lose_the_answer(task_id, closed, handed, run):
        mark(task_id, closed, handed, run)
        if handed:
            raise ServiceUnavailable("the answer to the commit was lost")

    deliveries.turn = lose_the_answer
    with pytest.raises(ServiceUnavailable):
        deliver(mail("b"), post(mailer, deliveries), silent)
    assert (mailer.sent, deliveries.state("b@example.com")) == ([], "queued")


def test_a_mail_whose_mark_took_too_long_is_not_handed_over(monkeypatch):
    deliveries, mailer, now = RememberedDeliveries(), ScriptedMailer(), [100.0]
    monkeypatch.setattr(doubt, "clock", lambda: now[0])
    mark = deliveries.turn

    def mark_slowly(task_id, closed, handed, run):
        mark(task_id, closed, handed, run)
        now[0] += doubt.BEGIN_SECONDS if handed else 0

    monkeypatch.setattr(deliveries, "turn", mark_slowly)

    with pytest.raises(TransientError, match="too slow"):
        deliver(mail("b"), post(mailer, deliveries), silent)

    assert mailer.sent == []
    assert deliveries.state("b@example.com") == "queued"


def test_an_outcome_is_kept_however_long_the_database_is_away():
    asked = []

    def persist(write):
        asked.append(write)
        write()

    sender = replace(post(ScriptedMailer()), persist=persist)
    assert deliver(mail("b"), sender, silent).status == "sent"
    assert asked


def test_a_transport_that_may_repeat_sends_again_after_such_a_death_at_once():
    deliveries = RememberedDeliveries()
    with pytest.raises(KeyboardInterrupt):
        deliver(mail("b"), post(ScriptedMailer(b=KeyboardInterrupt()), deliveries), silent)
    again = ScriptedMailer()
    again.repeatable = True
    assert deliver(mail("b"), post(again, deliveries), silent).status == "sent"


def test_what_a_server_has_answered_is_kept_when_a_later_part_of_the_mail_fails():
    deliveries, names = RememberedDeliveries(), ["b", "c", "d", "e"]
    with pytest.raises(KeyboardInterrupt):
        deliver(mail(*names), post(InTurns(d=KeyboardInterrupt()), deliveries), silent)

    deliveries.let_the_doubt_pass(InTurns())
    sent = deliver(mail(*names), post(InTurns(), deliveries), silent)

    assert sent.accepted == ["b@example.com", "c@example.com"]
    assert sent.unknown == ["d@example.com", "e@example.com"]


def test_a_mail_that_some_got_is_partial_though_the_server_is_away_at_the_last_attempt():
    deliveries, away = RememberedDeliveries(), AwayMailer(TransportFault("no connection"))
    with pytest.raises(Postponed):
        deliver(mail("b", "full"), post(ScriptedMailer(full=Outcome("deferred", 452)), deliveries), silent)
    deliveries.let_the_wait_pass()

    with pytest.raises(TransportFault):
        deliver(mail("b", "full"), post(away, deliveries), silent)
    sent = deliver(mail("b", "full"), post(away, deliveries, last=True), silent)

    assert (sent.status, sent.accepted, sent.refused["full@example.com"].text) == (
        "partial",
        ["b@example.com"],
        "no connection",
    )


def test_a_mail_that_nobody_got_because_the_server_is_away_is_the_transports_fault():
    with pytest.raises(TransportFault, match="no connection"):
        deliver(mail("b"), post(AwayMailer(TransportFault("no connection")), last=True), silent)


# --- Who is not mailed ------------------------------------------------------------------------------------------


class RememberedSuppressions:
    """A list in memory, and what it was told."""

    def __init__(self, **reasons):
        self.of, self.asked, self.bounced, self.taken = reasons, [], [], []

    def reasons(self, addresses, list_name):
        self.asked.append((list(addresses), list_name))
        return {address: self.of[name] for address in addresses if (name := address.split("@")[0]) in self.of}

    def refused(self, address, code, enhanced, text, *, mail_id):
        self.bounced.append((address, code, enhanced, mail_id))

    def accepted(self, addresses):
        self.taken += addresses


def listed(mailer, suppressions, deliveries=None, **more):
    return replace(post(mailer, deliveries, **more), suppressions=suppressions)


def test_who_is_suppressed_is_not_mailed_and_told_why():
    mailer, deliveries = ScriptedMailer(), RememberedDeliveries()
    sent = deliver(mail("b", "c"), listed(mailer, RememberedSuppressions(c="complaint"), deliveries), silent)
    assert (sent.status, sent.accepted, sent.suppressed) == (
        "partial",
        ["b@example.com"],
        {"c@example.com": "complaint"},
    )
    assert mailer.sent == [["b@example.com"]]
    assert deliveries.rows["t", 0, "c@example.com"].outcome == Outcome("suppressed", text="complaint")


def test_the_headers_stay_as_the_author_wrote_them_whoever_is_suppressed():
    mailer, everybody = ScriptedMailer(), ScriptedMailer()
    deliver(mail("b", "c"), listed(mailer, RememberedSuppressions(c="unsubscribe")), silent)
    deliver(mail("b", "c"), listed(everybody, RememberedSuppressions()), silent)
    assert mailer.sent == [["b@example.com"]]
    assert mailer.contents == everybody.contents, "one mail, one signature, whoever is left out"


def test_a_mail_whose_recipients_are_all_suppressed_is_done_and_no_failure():
    mailer = ScriptedMailer()
    sent = deliver(mail("b", "c"), listed(mailer, RememberedSuppressions(b="manual", c="hard_bounce")), silent)
    assert (sent.status, sent.failure(), mailer.sent) == ("suppressed", None, [])


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Outcome("refused", 550), "failed"), (Outcome("unknown"), "unknown")],
    ids=["refused", "unknown"],
)
def test_a_mail_that_failed_for_the_others_is_not_called_suppressed(outcome, status):
    mailer = ScriptedMailer(b=outcome)
    assert deliver(mail("b", "c"), listed(mailer, RememberedSuppressions(c="manual")), silent).status == status


@pytest.mark.parametrize(
    ("reason", "status"),
    [("unsubscribe", "sent"), ("manual", "sent"), ("complaint", "suppressed"), ("hard_bounce", "suppressed")],
)
def test_a_critical_mail_is_kept_back_by_complaints_and_hard_bounces_alone(reason, status):
    request = mail("b").model_copy(update={"critical": True})
    assert deliver(request, listed(ScriptedMailer(), RememberedSuppressions(b=reason)), silent).status == status


def test_the_list_of_a_mail_is_asked_for():
    known = RememberedSuppressions()
    deliver(mail("b").model_copy(update={"list_name": "news"}), listed(ScriptedMailer(), known), silent)
    assert known.asked == [(["b@example.com"], "news")]


def test_who_is_suppressed_between_two_attempts_is_not_mailed_at_the_second():
    known, deliveries = RememberedSuppressions(), RememberedDeliveries()
    with pytest.raises(TransientError):
        deliver(mail("b"), listed(ScriptedMailer(b=Outcome("deferred", 450)), known, deliveries), silent)
    known.of["b"] = "unsubscribe"
    deliveries.let_the_wait_pass()
    again = ScriptedMailer()
    assert deliver(mail("b"), listed(again, known, deliveries), silent).status == "suppressed"
    known.of.clear()
    assert deliver(mail("b"), listed(again, known, deliveries), silent).status == "suppressed", "that stays"
    assert again.sent == []


class RcptMailer(ScriptedMailer):
    """Refuses recipients before it hands over to the others, as servers do."""

    def send(self, queue):
        while (letter := queue.take()) is not None:
            said = {a: self.answers.get(a.split("@")[0], Outcome("accepted", 250)) for a in letter.recipients}
            queue.turn([], [(letter, [a for a, outcome in said.items() if outcome.state != "refused"])])
            queue.turn([(letter, said)], [])


def test_what_servers_say_of_addresses_is_learned_and_a_refusal_of_the_whole_mail_is_not():
    gone, known = Outcome("refused", 550, "5.1.1", "gone"), RememberedSuppressions()
    deliver(mail("b", "c"), listed(RcptMailer(c=gone), known), silent)
    assert (known.taken, known.bounced) == (["b@example.com"], [("c@example.com", 550, "5.1.1", "t-0")])
    deliver(mail("b", "c"), listed(ScriptedMailer(b=gone, c=gone), whole := RememberedSuppressions()), silent)
    assert (whole.taken, whole.bounced) == ([], [])


def test_a_refusal_of_the_sender_is_learned_of_no_recipient():
    known, refused = RememberedSuppressions(), Outcome("refused", 550, "5.1.0", "sender denied", of_whole_mail=True)
    deliver(mail("b", "c"), listed(RcptMailer(b=refused, c=refused), known), silent)
    assert (known.taken, known.bounced) == ([], [])


def test_a_login_that_is_refused_is_learned_of_nobody():
    known = RememberedSuppressions()
    with pytest.raises(TransportFault):
        deliver(mail("b"), listed(AwayMailer(TransportFault("535 5.7.8 no login")), known), silent)
    assert (known.taken, known.bounced) == ([], [])


# --- Bulk ------------------------------------------------------------------------------------------------------


def items(*names):
    return [{"to_email": f"{name}@example.com", "subject": "s", "body": "b"} for name in names]


def concluded(tally, *, failures=(), seconds=1.0) -> BulkEmailsSent:
    return conclude_bulk(tally=tally, by_code={}, failures=failures, seconds=seconds, bulk_id="p", batch_size=2)


class Stub(list):
    """A list that says it is longer than anybody could hold."""

    def __len__(self):
        return 1_000_001

    def __bool__(self):
        return True


@pytest.mark.parametrize(
    ("emails", "words"),
    [
        ([], "at least one dict; got an empty list"),
        ("text", "got str"),
        (Stub([1]), "at most 1000000 mails"),
        ([5], r"emails\[0\]: must be a dict"),
        ([{"to_email": "b@example.com", "subject": "s"}], r"emails\[0\]: no 'body'"),
        ([{**items("b")[0], "copy": 1}], r"emails\[0\]: unknown key 'copy'"),
        ([items("b")[0], {**items("b")[0], "subject": "a\nb"}], r"emails\[1\]: subject: must not contain control"),
        ([{**items("b")[0], "body": 5}], r"emails\[0\]: body: Input should be a valid string"),
        ([{**items("b")[0], "body": "a\0b"}], r"emails\[0\]: body: must be text without NUL"),
        ([{**items("b")[0], "cc": "c@example.com"}], r"emails\[0\]: cc: Input should be a valid list"),
        ([{**items("b")[0], "bcc": [datetime.now(UTC)]}], r"emails\[0\]: bcc.0: Input should be a valid string"),
        ([{**items("b")[0], "to_email": []}], r"emails\[0\]: to_email: must not be an empty list"),
        (
            [{**items("b")[0], "to_email": ["b@example.com"] * 1001}],
            r"emails\[0\]: to_email: with cc .* at most 1000 recipients",
        ),
        ([{**items("b")[0], "subject": "=?utf-8?q?a=0AB?="}], r"emails\[0\]: subject: must not contain control"),
        ([{**items("b")[0], "body": "x" * 1_000_001}], "at most 1000000 bytes an item"),
    ],
)
def test_a_bad_bulk_is_refused_at_its_first_bad_item(emails, words):
    with pytest.raises(InvalidArgument, match=words):
        list(check_bulk(emails))


def test_an_address_that_is_none_is_its_items_outcome_and_no_reason_to_refuse_the_bulk():
    rows = list(check_bulk([{**items("b")[0], "to_email": "nobody", "from_email": "nobody"}]))
    assert rows == [{"to_email": "nobody", "subject": "s", "body": "b", "from_email": "nobody"}]


def test_an_items_addresses_may_stand_in_any_kind_of_list():
    assert next(check_bulk([{**items("b")[0], "cc": ("c@example.com",)}]))["cc"] == ["c@example.com"]


def test_only_an_item_that_repeats_another_whole_is_a_duplicate():
    same, other = items("b")[0], {**items("b")[0], "subject": "another"}
    rows = list(check_bulk([same, other, dict(same)]))
    assert ["duplicate_of" in row for row in rows] == [False, False, True]
    assert rows[2]["duplicate_of"] == 0


@pytest.mark.parametrize(
    "to_email", ["B@Example.com", "Bea <b@example.com>", ["b@example.com"], ["Bea Bee <b@EXAMPLE.COM>"]]
)
def test_the_same_mail_to_the_same_address_in_another_spelling_is_a_duplicate(to_email):
    [first, again] = check_bulk([items("b")[0], {**items("b")[0], "to_email": to_email}])
    assert "duplicate_of" not in first
    assert again["duplicate_of"] == 0


LONG = "b" * 5_000


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"body": LONG}, {"body": "".join(["b"] * 5_000)}, True),
        ({"body": LONG}, {"body": LONG + "b"}, False),
        ({"body": LONG, "html_body": LONG}, {"body": LONG}, False),
        ({"body": LONG, "html_body": "b"}, {"body": "b", "html_body": LONG}, False),
        ({"context": {"seats": 1}, "template": "t"}, {"context": {"seats": True}, "template": "t"}, False),
    ],
)
def test_mails_with_long_texts_are_duplicates_where_all_of_them_is_the_same(one, other, same):
    mails = [{"to_email": "b@example.com", "subject": "s", **some} for some in (one, other)]
    assert ["duplicate_of" in row for row in check_bulk(mails)] == [False, same]


def test_the_bytes_of_a_bulk_count_a_long_text_for_each_item_that_has_it(monkeypatch):
    monkeypatch.setattr(bulk_emails, "MAX_BULK_BYTES", 12_000)
    mails = [{**items("b")[0], "to_email": f"b{number}@example.com", "body": LONG} for number in range(3)]
    assert len(list(check_bulk(mails[:2]))) == 2
    with pytest.raises(InvalidArgument, match=r"12000 in all; got 15\d+ bytes at item 2"):
        list(check_bulk(mails))


def test_of_a_bulks_texts_none_is_remembered_but_the_first_mails():
    mails = [{**items("b")[0], "body": f"{number} {LONG}"} for number in range(4)]
    before = getrefcount(mails[1]["body"])
    checked = check_bulk(mails)
    for _ in range(3):
        next(checked)
    after = getrefcount(mails[1]["body"])
    assert after == before


@pytest.mark.parametrize("long", ["b" * 5_000, 'ü"\n☃' * 500])
@pytest.mark.parametrize("name", ["body", "html_body", "from_email"])
def test_a_bulk_has_as_many_bytes_as_its_items_are_in_json(monkeypatch, name, long):
    mails = [{**items("b")[0], "to_email": f"b{number}@example.com", name: long} for number in range(3)]
    whole = sum(len(json.dumps(mail)) for mail in mails)
    monkeypatch.setattr(bulk_emails, "MAX_BULK_BYTES", whole + 10)
    assert len(list(check_bulk(mails))) == 3
    monkeypatch.setattr(bulk_emails, "MAX_BULK_BYTES", whole - 10)
    with pytest.raises(InvalidArgument, match="bytes at item 2"):
        list(check_bulk(mails))


@pytest.mark.parametrize("other", [{"to_email": "c@example.com"}, {"cc": ["b@example.com"]}, {"to_email": "nobody"}])
def test_the_same_mail_to_others_is_no_duplicate(other):
    rows = list(check_bulk([items("b")[0], {**items("b")[0], **other}]))
    assert ["duplicate_of" in row for row in rows] == [False, False]


def test_who_is_left_out_on_purpose_is_no_failure_of_a_bulk_and_is_listed_with_the_reason():
    row = {"position": 1, "arguments": items("b")[0], "state": "skipped"}
    told = concluded(
        {"sent": 1, "skipped": 2}, failures=[{**row, "outcome": {"skipped": {"b@example.com": "not let out"}}}]
    )
    assert (told.status, told.batches) == ("completed", 2)
    assert told.failures[0]["text"] == "not let out"
    assert concluded({"skipped": 2}).failure() is None


def test_a_batch_sends_each_member_once_though_it_runs_twice():
    members, mailer = (
        RememberedMembers([*items("b", "no"), {"to_email": "bad", "subject": "s", "body": "b"}]),
        ScriptedMailer(no=Outcome("refused", 550)),
    )
    batch = SendBatch(bulk_id="p", first=0, count=3)

    tally = deliver_batch(batch, members, post(mailer), silent)
    again = deliver_batch(batch, members, post(mailer), silent)

    assert tally == {"sent": 1, "refused": 1, "invalid": 1}
    assert again == {}
    assert mailer.sent == [["b@example.com"], ["no@example.com"]]


def test_a_mail_tells_what_its_server_said_when_it_took_it_and_after_how_many_tries():
    deliveries, mailer = RememberedDeliveries(), ScriptedMailer(b=Outcome("deferred", 450, "4.2.0", "later"))
    with pytest.raises(Postponed):
        deliver(SendEmail(to_email="b@example.com", subject="s", body="b"), post(mailer, deliveries), silent)
    deliveries.let_the_wait_pass()
    mailer.answers["b"] = Outcome("accepted", 250, "2.0.0", "queued as 4Xk2")
    sent = deliver(SendEmail(to_email="b@example.com", subject="s", body="b"), post(mailer, deliveries), silent)
    assert (sent.attempts, sent.response) == (2, "250 2.0.0 queued as 4Xk2")


def test_a_member_who_is_suppressed_ends_so_and_counts_as_neither_sent_nor_failed():
    members, known = RememberedMembers(items("b", "c")), RememberedSuppressions(c="unsubscribe")
    tally = deliver_batch(SendBatch(bulk_id="p", first=0, count=2), members, listed(ScriptedMailer(), known), silent)
    assert tally == {"sent": 1, "suppressed": 1}
    done = concluded(tally)
    assert (done.status, done.total, done.sent, done.suppressed, done.failures_truncated) == (
        "completed",
        2,
        1,
        1,
        False,
    )
    nobody = concluded({"suppressed": 2})
    assert (nobody.status, nobody.failure()) == ("completed", None)
    assert concluded({"suppressed": 1, "refused": 1}).failure()


def test_an_item_may_be_critical_and_name_its_list():
    (row,) = check_bulk([{**items("b")[0], "critical": True, "list_name": "news"}])
    assert (row["critical"], row["list_name"]) == (True, "news")
    with pytest.raises(InvalidArgument, match=r"emails\[0\]: list_name: must not be 'all'"):
        list(check_bulk([{**items("b")[0], "list_name": "all"}]))


def test_a_member_that_was_put_off_stays_open_and_holds_up_no_other():
    members, mailer = RememberedMembers(items("b", "full")), ScriptedMailer(full=Outcome("deferred", 452, None, "full"))
    deliveries = RememberedDeliveries()
    batch = SendBatch(bulk_id="p", first=0, count=2)

    with pytest.raises(Postponed) as put_off:
        deliver_batch(batch, members, post(mailer, deliveries), silent)
    assert 270 <= put_off.value.retry_after <= 330
    assert {n: state for n, (state, _) in members.closed.items()} == {0: "sent"}

    deliveries.let_the_wait_pass()
    assert deliver_batch(batch, members, post(ScriptedMailer(), deliveries), silent) == {"sent": 1}


def test_a_batch_of_many_mails_asks_for_their_rows_and_stores_their_ends_a_few_times_only():
    members, deliveries = RememberedMembers(items(*(f"r{n}" for n in range(120)))), RememberedDeliveries()
    opened, closed = [], []
    open_rows, close_all = deliveries.open, members.close_all
    deliveries.open = lambda *given: opened.append(1) or open_rows(*given)
    members.close_all = lambda *given: closed.append(1) or close_all(*given)

    tally = deliver_batch(
        SendBatch(bulk_id="p", first=0, count=120), members, post(ScriptedMailer(), deliveries), silent
    )

    assert tally == {"sent": 120}
    assert (len(opened), len(closed)) == (2, 1)


def test_what_was_sent_before_a_cancellation_is_stored():
    members, mailer = RememberedMembers(items("b", "c")), ScriptedMailer()

    def cancel(percent, text):
        if mailer.sent:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        deliver_batch(SendBatch(bulk_id="p", first=0, count=2), members, post(mailer), cancel)

    assert {n: state for n, (state, _) in members.closed.items()} == {0: "sent"}


@pytest.mark.parametrize("last", [False, True])
def test_a_member_that_a_former_run_may_still_be_sending_stays_open_and_holds_up_no_other(last):
    members, deliveries = RememberedMembers(items("b", "c")), RememberedDeliveries()
    batch = SendBatch(bulk_id="p", first=0, count=2)
    with pytest.raises(KeyboardInterrupt):
        deliver_batch(batch, members, post(ScriptedMailer(b=KeyboardInterrupt()), deliveries), silent)

    again = ScriptedMailer()
    with pytest.raises(EffectInDoubt):
        deliver_batch(batch, members, post(again, deliveries, last=last), silent)
    assert {n: state for n, (state, _) in members.closed.items()} == {1: "sent"}

    deliveries.let_the_doubt_pass(again)
    assert deliver_batch(batch, members, post(again, deliveries, last=last), silent) == {"unknown": 1}
    assert again.sent == [["c@example.com"]]


@pytest.mark.parametrize("last", [False, True])
def test_a_batch_does_not_try_a_dead_server_or_a_bad_login_for_every_mail(last):
    members, away = RememberedMembers(items(*"abcdefgh")), AwayMailer(TransportFault("no connection"))
    batch = SendBatch(bulk_id="p", first=0, count=8)

    if last:
        assert deliver_batch(batch, members, post(away, last=True), silent) == {"deferred": 8}
        assert members.closed[0] == ("deferred", {"text": "no connection"})
    else:
        with pytest.raises(TransportFault, match="no connection"):
            deliver_batch(batch, members, post(away), silent)
        assert members.closed == {}

    assert len(away.sent) == 1


class RememberedPauses:
    """Fulfils `processors.interfaces.Pauses`."""

    def __init__(self):
        self.why, self.asked = {}, 0

    def paused(self, task_id):
        self.asked += 1
        return task_id in self.why

    def pause(self, task_id, why=None):
        return self.why.setdefault(task_id, why) == why


def test_a_batch_ends_between_two_mails_once_its_bulk_is_paused_and_goes_on_later():
    members, pauses, now = RememberedMembers(items(*"bcdef")), RememberedPauses(), [0.0]
    brake = BulkBrake("p", 1.0, pauses, [], clock=lambda: now[0])

    class Pausing(ScriptedMailer):
        def some(self, recipients):
            if recipients == ("c@example.com",):
                pauses.pause("p")
                now[0] += 1.0
            return recipients

    mailer, batch = Pausing(), SendBatch(bulk_id="p", first=0, count=5)
    with pytest.raises(Postponed, match="The bulk is paused") as paused:
        deliver_batch(batch, members, post(mailer), silent, brake)
    assert paused.value.retry_after == 0
    assert mailer.sent == [["b@example.com"], ["c@example.com"]]
    assert {n: state for n, (state, _) in members.closed.items()} == {0: "sent", 1: "sent"}

    pauses.why.clear()
    again = BulkBrake("p", 1.0, pauses, [])
    assert deliver_batch(batch, members, post(mailer), silent, again) == {"sent": 3}


def test_a_paused_batch_that_has_nothing_left_is_done():
    members, pauses = RememberedMembers(items("b")), RememberedPauses()
    mailer, batch = ScriptedMailer(), SendBatch(bulk_id="p", first=0, count=1)
    deliver_batch(batch, members, post(mailer), silent)
    pauses.pause("p")
    assert deliver_batch(batch, members, post(mailer), silent, BulkBrake("p", 1.0, pauses, [])) == {}


def test_a_pause_is_asked_for_at_most_once_a_second():
    pauses, now = RememberedPauses(), [0.0]
    brake = BulkBrake("p", 1.0, pauses, [], clock=lambda: now[0])
    for _ in range(100):
        assert not brake.pulled()
        now[0] += 0.1
    assert pauses.asked == 10


@pytest.mark.parametrize("seed", range(5))
def test_a_bulk_is_paused_at_the_very_mail_that_makes_too_many_of_the_last_200_fail(seed):
    chance = random.Random(seed)
    states = [
        chance.choice(["accepted", "accepted", "accepted", "refused", "unknown", "suppressed"]) for _ in range(900)
    ]
    before, rate = states[: chance.randrange(0, 300)], chance.choice([0.2, 0.3, 0.35, 0.5])
    pauses = RememberedPauses()
    brake = BulkBrake("p", rate, pauses, before[::-1][:LOOKED_BACK])
    for at in range(len(before), len(states)):
        brake.note([states[at]])
        last = states[max(0, at + 1 - LOOKED_BACK) : at + 1]
        failed = sum(state in {"refused", "unknown"} for state in last)
        if len(last) == LOOKED_BACK and failed > rate * LOOKED_BACK:
            assert pauses.why["p"].startswith(f"{failed} of the last 200 mails were refused or are unknown"), seed
            return
        assert not pauses.why, seed
    assert not pauses.why


def test_a_mail_that_one_of_its_recipients_got_has_not_failed():
    pauses = RememberedPauses()
    brake = BulkBrake("p", 0.0, pauses, ["accepted"] * 199)
    brake.note(["accepted", "refused"])
    assert not pauses.why
    brake.note(["refused", "suppressed"])
    assert pauses.why


def test_what_no_task_has_ended_is_told_by_its_mail_first_and_then_by_its_tasks_end():
    left = [(0, "accepted"), (1, "unknown"), (2, None), (3, None), (4, None), (5, None)]
    parts = [EndedPart(0, 3, "expired", "…"), EndedPart(3, 1, "cancelled", "…"), EndedPart(4, 1, "failed", "It broke.")]
    ends = ends_of_left(left, parts)
    assert [end.state for end in ends] == ["sent", "unknown", "expired", "cancelled", "deferred", "cancelled"]
    assert ends[4].outcome == {"text": "It broke."}


def test_a_bulk_adds_up():
    failures = [
        {
            "position": 1,
            "arguments": {"to_email": "no@example.com"},
            "state": "refused",
            "outcome": {"refused": {"no@example.com": {"code": 550, "text": "no"}}},
        },
        {"position": 2, "arguments": {"to_email": "bad"}, "state": "invalid", "outcome": {"text": "no address"}},
    ]
    done = concluded({"sent": 3, "refused": 1, "invalid": 1, "duplicate": 1}, failures=failures, seconds=2)
    assert (done.status, done.total, done.per_second) == ("completed_with_failures", 6, 1.5)
    assert done.failures[0] == {"index": 1, "email": "no@example.com", "state": "refused", "code": 550, "text": "no"}
    assert done.failures[1]["text"] == "no address"
    assert concluded({"sent": 1}, seconds=0).status == "completed"
    none = concluded({"refused": 2})
    assert (none.status, none.failure(), none.failures_truncated) == ("failed", "None of the 2 mails was sent.", True)


def test_failures_are_counted_by_what_the_server_said_with_its_enhanced_code_and_else_by_their_state():
    def said(state: str, **refusal) -> MemberEnd:
        return MemberEnd(0, state, {"refused" if state == "refused" else "deferred": {"b@example.com": refusal}})

    ends = [
        said("refused", code=550, enhanced="5.1.1", text="no"),
        said("refused", code=550, enhanced="5.1.1", text="none"),
        said("refused", code=550, enhanced=None, text="no"),
        said("deferred", code=450, enhanced="4.2.0", text="later"),
        MemberEnd(0, "deferred", {"text": "no connection"}),
        MemberEnd(0, "invalid", {"invalid": {"b": "no address"}}),
        MemberEnd(0, "unknown", None),
    ]
    assert counted_by_code(ends) == {
        "550 5.1.1": 2, "550": 1, "450 4.2.0": 1, "deferred": 1, "invalid": 1, "unknown": 1,
    }  # fmt: skip


def test_a_mail_whose_file_is_away_at_the_last_attempt_is_deferred_as_one_whose_server_is_and_may_be_sent_again():
    class Away(FilesInMemory):
        def read(self, place, max_bytes, report):
            raise TransientError("files.example does not answer")

    members = RememberedMembers([{**items("b")[0], "attachments": [{"path": "https://files.example/a"}]}, *items("c")])
    batch, mailer = SendBatch(bulk_id="p", first=0, count=2), ScriptedMailer()
    sender = replace(post(mailer), composer=Composer(Away({}), 25))

    with pytest.raises(TransientError, match="does not answer"):
        deliver_batch(batch, members, sender, silent)
    assert deliver_batch(batch, members, replace(sender, last_attempt=True), silent) == {"deferred": 1}

    assert members.closed[0] == ("deferred", {"text": "files.example does not answer"})
    assert sender.deliveries.rows["t", 0, "b@example.com"].outcome == Outcome(
        "refused", text="files.example does not answer"
    )
    assert "deferred" in RESENT
    assert mailer.sent == [["c@example.com"]]


def test_a_mail_that_can_never_be_composed_ends_as_invalid_with_its_reason_also_where_that_is_all_that_was_kept():
    members = RememberedMembers([{**items("b")[0], "attachments": [{"path": "nowhere.pdf"}]}, *items("c")])
    batch, sender = SendBatch(bulk_id="p", first=0, count=2), post(ScriptedMailer())

    assert deliver_batch(batch, members, sender, silent) == {"invalid": 1, "sent": 1}
    row = sender.deliveries.rows["t", 0, "b@example.com"].outcome
    assert (row.state, "nowhere.pdf" in row.text) == ("invalid", True)

    members.closed.clear()  # its worker ended between the two
    assert deliver_batch(batch, members, sender, silent) == {"invalid": 1, "sent": 1}
    assert members.closed[0][1]["invalid"] == {"b@example.com": row.text}


def test_a_mail_of_which_some_can_not_be_composed_any_more_is_refused_for_them_alone():
    rows, sender = RememberedDeliveries(), post(ScriptedMailer())
    rows.open("t", {0: {"b@example.com": "to", "c@example.com": "to"}})
    rows.turn("t", [(0, "b@example.com", Outcome("accepted", 250))], [], Run("t", 1))
    request = mail("b", "c").model_copy(update={"attachments": [Attachment(path="nowhere.pdf")]})

    sent = deliver(request, replace(sender, deliveries=rows), silent)

    assert (sent.status, sent.accepted, list(sent.refused)) == ("partial", ["b@example.com"], ["c@example.com"])


# --- Leaving a list --------------------------------------------------------------------------------------------


def headers_of(mailer: ScriptedMailer) -> list[str | None]:
    return [read(content)["List-Unsubscribe"] for content in mailer.contents]


def test_a_mail_of_a_list_to_one_person_says_where_that_one_leaves_it_with_one_click():
    mailer = ScriptedMailer()
    sender = replace(post(mailer), unsubscribe_url=lambda address, name: f"https://example.com/{name}/{address}")

    deliver(mail("b").model_copy(update={"list_name": "news"}), sender, silent)
    assert headers_of(mailer) == ["<https://example.com/news/b@example.com>"]
    assert read(mailer.contents[0])["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_one_persons_way_out_of_a_list_is_never_shown_to_others_nor_put_over_the_callers_own():
    mailer = ScriptedMailer()
    sender = replace(post(mailer), unsubscribe_url=lambda *_: "https://example.com/token")
    deliver(mail("b", "c").model_copy(update={"list_name": "news"}), sender, silent)
    deliver(mail("b"), sender, silent, 1)
    own = {"list_name": "news", "unsubscribe": "https://own.example/x"}
    deliver(mail("b").model_copy(update=own), sender, silent, 2)
    deliver(mail("b").model_copy(update={"list_name": "news"}), post(mailer), silent, 3)
    assert headers_of(mailer) == [None, None, "<https://own.example/x>", None]


@pytest.mark.parametrize("name", ["List-Unsubscribe", "list-unsubscribe-post"])
def test_a_mail_whose_caller_writes_a_header_of_unsubscribing_gets_no_second_one(name):
    mailer = ScriptedMailer()
    sender = replace(post(mailer), unsubscribe_url=lambda *_: "https://example.com/token")
    deliver(mail("b").model_copy(update={"list_name": "news", "headers": {name: "own"}}), sender, silent)
    found = read(mailer.contents[0])
    assert found.get_all(name) == ["own"]
    assert sum(field.lower().startswith("list-unsubscribe") for field in found) == 1
