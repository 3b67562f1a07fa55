"""Reports of mail servers: read for what they say, and never a danger to who reads them."""

import base64
import quopri
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import bounces
from processors.bounces import read_report
from processors.errors import PermanentError

FIELDS = """\
Final-Recipient: rfc822; ann@example.com
Original-Recipient: rfc822;Ann@example.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.example.com
Diagnostic-Code: smtp; 550 5.1.1 <ann@example.com>: Recipient address
    rejected: User unknown
"""


def dsn(
    *recipients: str, original="text/rfc822-headers", headers="Message-ID: <m1@example.org>\nTo: Ann@example.com"
) -> bytes:
    """A report as Postfix writes one."""
    blocks = "\n".join(["Reporting-MTA: dns; mail.example.org\nX-Postfix-Queue-ID: 4Xk\n", *(recipients or [FIELDS])])
    return f"""\
Date: Sun, 1 Mar 2026 12:30:00 +0100 (CET)
From: MAILER-DAEMON@example.org (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
Message-ID: <report@example.org>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b/1"

This is a MIME-encapsulated message.

--b/1
Content-Type: text/plain; charset=us-ascii

I'm sorry.

--b/1
Content-Description: Delivery report
Content-Type: message/delivery-status

{blocks}
--b/1
Content-Type: {original}

{headers}

--b/1--
""".encode()


def arf(
    kind="abuse",
    fields="Original-Rcpt-To: <ann@example.com>\n",
    headers="Message-ID: <m1@example.org>\nTo: ann@example.com",
) -> bytes:
    """A complaint as in RFC 5965, appendix B."""
    return f"""\
From: <abusedesk@example.com>
Date: Thu, 8 Mar 2026 17:40:36 +0000
Subject: FW: Earn money
Message-ID: <complaint@example.com>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary=part1

--part1
Content-Type: text/plain

This is an email abuse report.

--part1
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: SomeGenerator/1.0
Version: 1
{fields}Arrival-Date: Thu, 8 Mar 2026 14:00:00 +0000

--part1
Content-Type: message/rfc822
Content-Disposition: inline

{headers}
Subject: Earn money

Spam Spam Spam
--part1--
""".encode()


def global_report(encoding: str, *, address: str = "ann@bücher.example") -> bytes:
    """A report of a server that writes UTF-8, as in RFC 6533, appendix; its parts are encoded on a way of 7 bits."""
    status = (
        f"Reporting-MTA: dns; mail.example.org\n\nFinal-Recipient: utf-8; {address}\nAction: failed\nStatus: 5.1.1\n"
    )
    status += "Diagnostic-Code: smtp; 550 5.1.1 Empfänger unbekannt\n"
    headers = f"Subject: Grüße\nMessage-ID: <m1@example.org>\nTo: {address}\n"
    encode = {"8bit": str.encode, "base64": lambda one: base64.encodebytes(one.encode()),
              "quoted-printable": lambda one: quopri.encodestring(one.encode())}[encoding]  # fmt: skip
    parts = [("message/global-delivery-status", status), ("message/global-headers", headers)]
    return b"".join(
        [
            b"Message-ID: <report@example.org>\nMIME-Version: 1.0\n",
            b'Content-Type: multipart/report; report-type=delivery-status; boundary="b/1"\n\n',
            *(
                f"--b/1\nContent-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n".encode()
                + encode(text)
                + b"\n"
                for kind, text in parts
            ),
            b"--b/1--\n",
        ]
    )


# --- Bounces ----------------------------------------------------------------------------------------------------


def test_a_bounce_says_who_was_not_reached_why_and_with_which_mail():
    (one,) = read_report(dsn())
    assert (one.kind, one.hard, one.address) == ("bounced", True, "Ann@example.com")
    assert (one.code, one.enhanced, one.message_id) == (550, "5.1.1", "<m1@example.org>")
    assert one.text == "smtp; 550 5.1.1 <ann@example.com>: Recipient address rejected: User unknown"
    assert (one.event_id, one.at) == ("<report@example.org>", datetime(2026, 3, 1, 11, 30, tzinfo=UTC))


@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
def test_a_report_in_utf_8_is_read_as_its_kin_in_ascii(encoding):
    (one,) = read_report(global_report(encoding))
    assert (one.kind, one.hard, one.address) == ("bounced", True, "ann@bücher.example")
    assert (one.code, one.enhanced, one.message_id) == (550, "5.1.1", "<m1@example.org>")
    assert one.text == "smtp; 550 5.1.1 Empfänger unbekannt"


@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
def test_a_report_in_utf_8_may_have_the_whole_mail(encoding):
    whole = global_report(encoding).replace(b"message/global-headers", b"message/global")
    (one,) = read_report(whole)
    assert (one.address, one.message_id) == ("ann@bücher.example", "<m1@example.org>")


@pytest.mark.parametrize(
    ("told", "address"),
    [
        (r"utf-8; ann@b\x{FC}cher.example", "ann@bücher.example"),
        (r"UTF-8; ann\x{2B}\x{1F600}@example.com", "ann+😀@example.com"),
        (r"utf-8; a\x{D800}nn@example.com", r"a\x{D800}nn@example.com"),
        (r"utf-8; a\x{FFFFFF}nn@example.com", r"a\x{FFFFFF}nn@example.com"),
        (r"rfc822; ann\x{2B}@example.com", r"ann\x{2B}@example.com"),
    ],
)
def test_a_letter_that_is_written_as_its_number_is_read_where_the_address_is_of_that_type(told, address):
    (one,) = read_report(dsn(f"Original-Recipient: {told}\nAction: failed\nStatus: 5.1.1\n"))
    assert one.address == address


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("Action: failed\nStatus: 5.2.2\n", ("bounced", False)),
        ("Action: failed\nStatus: 5.7.1\n", ("bounced", False)),
        ("Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 554 5.1.1 no\n", ("bounced", False)),
        ("Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp;550-5.1.1 gone\n", ("bounced", True)),
        ("Action: FAILED (for good)\nStatus: 5.1.1 (bad destination)\n", ("bounced", True)),
        ("Action: delayed\nStatus: 4.4.1\n", ("delayed", False)),
        ("Action: delivered\nStatus: 2.0.0\n", ("delivered", False)),
        ("Status: 5.1.1\n", ("bounced", True)),
        ("Status: 4.2.0\n", ("delayed", False)),
    ],
)
def test_each_action_and_status_is_what_it_says(fields, expected):
    (one,) = read_report(dsn(f"Final-Recipient: RFC822; ann@example.com\n{fields}"))
    assert (one.kind, one.hard) == expected


def test_each_recipient_of_a_report_is_told_by_itself():
    second = FIELDS.replace("ann@", "bob@").replace("Ann@", "bob@").replace("5.1.1", "5.2.2")
    found = read_report(dsn(FIELDS, second, "X-Note: no recipient\n"))
    assert [(one.address, one.hard) for one in found] == [("Ann@example.com", True), ("bob@example.com", False)]


def test_the_original_may_be_there_whole():
    (one,) = read_report(dsn(original="message/rfc822", headers="Message-ID: <m2@example.org>\n\nbody"))
    assert one.message_id == "<m2@example.org>"


def test_a_report_without_the_original_may_name_it_in_its_own_headers():
    raw = dsn(headers="").replace(b"MIME-Version", b"References: <a@x> <m3@example.org>\nMIME-Version", 1)
    assert read_report(raw)[0].message_id == "<m3@example.org>"


def test_a_report_in_a_mail_in_a_report_is_not_read():
    inner = dsn(FIELDS.replace("Ann@", "victim@").replace("ann@", "victim@")).decode().replace("b/1", "b/2")
    (one,) = read_report(dsn(original="message/rfc822", headers=inner))
    assert one.address == "Ann@example.com"
    with pytest.raises(PermanentError, match="no report"):
        read_report(b"Content-Type: message/rfc822\n\n" + dsn())


def test_a_footer_around_a_report_does_no_harm():
    wrapped = (
        b"Message-ID: <w@x>\nContent-Type: multipart/mixed; boundary=w\n\n--w\n"
        + dsn()
        + b"\n--w\nContent-Type: text/plain\n\nfooter\n--w--\n"
    )
    assert read_report(wrapped)[0].hard


def test_lines_may_end_as_they_do_on_the_wire_and_letters_may_be_any():
    raw = dsn().replace(b"User unknown", b"Empf\xe4nger unbekannt").replace(b"\n", b"\r\n")
    (one,) = read_report(raw)
    assert "unbekannt" in one.text
    assert one.hard


def test_a_cut_report_is_read_as_far_as_it_goes():
    raw = dsn()
    (one,) = read_report(raw[: raw.index(b"--b/1\nContent-Type: text/rfc822")])
    assert (one.hard, one.message_id) == (True, None)


def test_the_mail_behind_a_report_may_be_large():
    large = dsn(original="message/rfc822", headers="Message-ID: <m1@example.org>\n\n" + "x" * 70 + "\n" * 3_000_000)
    assert read_report(large)[0].message_id == "<m1@example.org>"


# --- Complaints -------------------------------------------------------------------------------------------------


def test_a_complaint_says_who_and_with_which_mail():
    (one,) = read_report(arf())
    assert (one.kind, one.address, one.message_id) == ("complained", "ann@example.com", "<m1@example.org>")
    assert (one.event_id, one.text) == ("<complaint@example.com>", "abuse")


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure", "dmarc", "", "x"])
def test_what_is_no_complaint_is_nothing(kind):
    assert read_report(arf(kind)) == []


def test_who_opts_out_is_unsubscribed():
    assert [one.kind for one in read_report(arf("opt-out"))] == ["unsubscribed"]


def test_a_complaint_that_hides_who_complains_is_the_only_recipients():
    assert [one.address for one in read_report(arf(fields=""))] == ["ann@example.com"]
    two = arf(fields="", headers="Message-ID: <m1@example.org>\nTo: ann@example.com, Bob <bob@example.com>")
    assert read_report(two) == []


# --- What is none, and what would do harm -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no report of a mail server"),
        (b"Subject: hello\n\nI am on holiday.", "no report .* text/plain"),
        (b"\x00\xff" * 1000, "no report"),
        (dsn("X: y\n"), "names no recipient"),
        (dsn("Final-Recipient: x400; /C=us\nAction: failed\nStatus: 5.1.1\n"), "names no recipient"),
        (b"Content-Type: message/delivery-status\n\n", "names no recipient"),
    ],
)
def test_what_is_no_report_is_one_sentence(raw, words):
    with pytest.raises(PermanentError, match=words) as error:
        read_report(raw)
    assert "\n" not in str(error.value)


def test_parts_in_parts_without_end_are_refused_before_they_are_read():
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(900))
    with pytest.raises(PermanentError, match="over 20 parts that hold parts"):
        read_report(nested + b"\n" * 500_000)


def test_parts_beside_parts_without_end_are_refused():
    with pytest.raises(PermanentError, match="over 2000 parts"):
        read_report(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 50_000)


def test_recipients_without_end_are_refused():
    with pytest.raises(PermanentError, match="over 2000 parts"):
        read_report(dsn(*["Final-Recipient: rfc822;a@b.c\n"] * 3_000))


def test_long_words_beside_many_recipients_cost_no_more_than_their_length():
    """It took over an hour, in which anybody's mail kept what reads bounces from all others."""
    to = ("To: " + "a" * 1_990 + "\n") * 60
    report = dsn(*(f"Final-Recipient: rfc822;r{n}@b.c\nAction: failed\n" for n in range(1_500)), headers=to)
    assert [one.address for one in read_report(report)] == [f"r{n}@b.c" for n in range(1_500)]


GOOD = [dsn(), dsn(original="message/rfc822"), arf(), arf(fields="")]
PIECES = [
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
    b"--b/1",
    b"--b/1--",
    b"--part1",
    b";",
    b":",
    b"Content-Type: message/rfc822\n\n",
]
PIECES += [
    b"Content-Type: message/delivery-status\n\n",
    b"Content-Transfer-Encoding: base64\n",
    b"boundary*0*=a%ff'",
    b"=",
]
PIECES += [
    b"Content-Transfer-Encoding: x-uuencode\n",
    b"begin 666 x\n",
    b"=?utf-8?b?/w==?=",
    b"(",
    b"charset=\xff",
    b"rfc822;",
]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_report_is_read_or_refused_in_one_sentence_and_nothing_else(data):
    raw = bytearray(data.draw(st.sampled_from(GOOD)))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw)))
        gone = data.draw(st.sampled_from([0, 0, 1, 10, 200]))
        raw[at : at + gone] = data.draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)))
    _read_or_refuse(bytes(raw))


def test_a_type_with_a_line_break_is_named_in_one_line():
    _read_or_refuse(b"Content-Type: =?utf-8?b?/w==?=x\n y\n\nhello")


@settings(max_examples=200, deadline=None)
@given(raw=st.one_of(st.binary(max_size=2000), st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join)))
def test_anything_else_is_refused_in_one_sentence(raw):
    _read_or_refuse(raw)


def _read_or_refuse(raw: bytes) -> None:
    try:
        events = read_report(raw)
    except PermanentError as error:
        events, refused = [], error
    else:
        refused = None
    assert refused is None or (type(refused) is PermanentError and "\n" not in str(refused))
    for one in events:
        assert len(one.event_id) <= 255
        assert one.event_id.isprintable()
        assert one.message_id is None or (one.message_id.isascii() and one.message_id.isprintable())
        assert one.address
        assert len(one.text) <= bounces.LONGEST_FIELD
