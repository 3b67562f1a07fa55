"""Who is not mailed, by the facade: in one sentence where it is wrong, and as it was said where it is right."""

from datetime import UTC, datetime, timedelta

import pytest

from examples.celery_example import BOUNCE
from processors.errors import InvalidArgument
from services import mail_intake
from services.celery_service import celery_service
from services.wiring import parts


@pytest.mark.usefixtures("inline_service")
def test_what_is_suppressed_is_listed_as_it_was_said_and_ends_by_hand():
    until = datetime.now(UTC) + timedelta(days=3)
    made = celery_service.suppress_email("Ann <ANN@example.com>", until=until.isoformat())
    assert made | {"id": 0, "created_at": ""} == {
        "id": 0,
        "address": "ann@example.com",
        "list_name": None,
        "reason": "manual",
        "until": until.isoformat(),
        "source": "facade",
        "text": "",
        "created_at": "",
    }
    assert celery_service.get_suppressions("ann@EXAMPLE.com") == [made]
    assert celery_service.get_suppressions(list_name="news") == []
    assert not celery_service.unsuppress_email("ann@example.com", list_name="news")
    assert celery_service.unsuppress_email("ann@example.com")
    assert celery_service.get_suppressions() == []


def test_what_has_ended_by_itself_is_listed_no_more(inline_service):
    celery_service.suppress_email("ann@example.com", until=datetime.now(UTC) + timedelta(days=3))
    inline_service.advance(3 * 86_400 + 1)
    assert celery_service.get_suppressions() == []


@pytest.mark.usefixtures("inline_service")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.suppress_email("nobody"), "address: must be one mail address"),
        (lambda s: s.suppress_email("a@example.com, b@example.com"), "address: must be one mail address"),
        (lambda s: s.suppress_email(5), "address: .*valid string; got 5"),
        (lambda s: s.suppress_email("a@example.com", reason="boredom"), "reason: must be|reason: Input should be"),
        (lambda s: s.suppress_email("a@example.com", list_name="all"), "list_name: must not be 'all'"),
        (lambda s: s.suppress_email("a@example.com", list_name=" "), "list_name"),
        (lambda s: s.suppress_email("a@example.com", list_name="a\nb"), "list_name: must not contain control"),
        (lambda s: s.suppress_email("a@example.com", until="soon"), "until: must be a datetime"),
        (lambda s: s.suppress_email("a@example.com", until="2020-01-01"), "until: must lie ahead; got 2020-01-01"),
        (lambda s: s.unsuppress_email(""), "address"),
        (lambda s: s.get_suppressions(limit=0), "limit"),
        (lambda s: s.get_suppressions(after="x"), "after"),
        (lambda s: s.get_suppressions(after=2**63), "after"),
        (lambda s: s.get_email_events(after=2**63), "after"),
        (lambda s: s.get_email_events(message_id=""), "message_id"),
        (lambda s: s.unsubscribe_url("nobody"), "address: must be one mail address"),
        (lambda s: s.receive_bounce("text"), "message: must be the bytes of one mail; got str"),
        (lambda s: s.receive_bounce(b" " * 10_000_001), "message: must have at most 10000000 bytes; got 10000001"),
        (lambda s: s.receive_bounce(b"hello"), "message: The mail is no report"),
    ],
    ids=range(19),
)
def test_a_bad_argument_is_one_sentence_and_nothing_is_kept(call, words):
    with pytest.raises(InvalidArgument, match=words) as error:
        call(celery_service)
    assert "\n" not in str(error.value)
    assert celery_service.get_suppressions() == []


# --- Until it goes out ------------------------------------------------------------------------------------------


def test_who_unsubscribes_while_a_mail_waits_does_not_get_it(inline_service):
    task_id = celery_service.send_email("ann@example.com", "News", "Hello", list_name="news", delay_seconds=60)
    token = celery_service.unsubscribe_url("ann@example.com", "news").rpartition("/")[2]
    mail_intake.unsubscribe(parts().unsubscribing.read(token))
    inline_service.advance(61)
    result = celery_service.get_task_result(task_id)
    assert (result["status"], result["suppressed"]) == ("suppressed", {"ann@example.com": "unsubscribe"})
    assert not list(inline_service.outbox.glob("*.eml"))
    for more in ({}, {"list_name": "offers"}, {"list_name": "news", "critical": True}):
        task_id = celery_service.send_email("ann@example.com", "Bill", "Hello", **more)
        assert celery_service.get_task_result(task_id)["status"] == "sent"


def test_a_bounce_and_a_complaint_about_a_mail_of_ours_are_matched_to_it(inline_service):
    task_id = celery_service.send_email("Gone@example.com", "News", "Hello")
    ours = celery_service.get_task_result(task_id)["message_id"]
    report = BOUNCE.replace(
        b"--4Xk--", f"--4Xk\nContent-Type: text/rfc822-headers\n\nMessage-ID: {ours}\n\n--4Xk--".encode()
    )
    (new,) = celery_service.receive_bounce(report.replace(b"gone@", b"Gone@"))
    assert (new["task_id"], new["message_id"], new["address"]) == (task_id, ours, "gone@example.com")
    assert celery_service.get_email_events(message_id=ours) == [new]
    assert celery_service.get_suppressions() == [], "it is the first"


def test_a_bounce_in_utf_8_is_matched_to_the_mail_whose_domain_it_spells_with_other_letters(inline_service):
    task_id = celery_service.send_email("gone@bücher.example", "News", "Hello")
    ours = celery_service.get_task_result(task_id)["message_id"]
    report = (
        "Content-Type: multipart/report; boundary=4Xk\n\n--4Xk\nContent-Type: message/global-delivery-status\n\n"
        "Reporting-MTA: dns; mail.example.org\n\nFinal-Recipient: utf-8; gone@b\\x{FC}cher.example\nAction: failed\n"
        f"Status: 5.1.1\n\n--4Xk\nContent-Type: message/global-headers\n\nMessage-ID: {ours}\n\n--4Xk--\n"
    )
    (new,) = celery_service.receive_bounce(report.encode())
    assert (new["task_id"], new["message_id"], new["hard"]) == (task_id, ours, True)


def test_the_suppressed_of_a_bulk_are_counted(inline_service):
    celery_service.suppress_email("r1@example.com")
    mails = [{"to_email": f"r{number}@example.com", "subject": "s", "body": "b"} for number in range(3)]
    result = celery_service.get_task_result(celery_service.send_bulk_emails(mails, delay_between_batches=0))
    assert (result["status"], result["sent"], result["suppressed"], result["total"]) == ("completed", 2, 1, 3)
    assert len(list(inline_service.outbox.glob("*.eml"))) == 2


COMPLAINT = """\
From: fbl@mailbox.example
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary=B

--B
Content-Type: message/feedback-report

Feedback-Type: abuse
Version: 1
Original-Rcpt-To: ann.lee@example.com

--B
Content-Type: text/rfc822-headers

To: Ann <Ann.Lee@example.com>
Message-ID: {message_id}

--B--
"""


@pytest.mark.usefixtures("inline_service")
def test_a_report_counts_though_its_server_tells_the_address_in_lower_case():
    sent = celery_service.get_task_result(celery_service.send_email("Ann.Lee@Example.com", "News", "Hello"), timeout=0)
    (event,) = celery_service.receive_bounce(COMPLAINT.format(message_id=sent["message_id"]).encode())
    assert (event["kind"], event["address"], event["task_id"]) == ("complained", "ann.lee@example.com", sent["id"])
    (found,) = celery_service.get_suppressions(address="ann.lee@example.com")
    assert found["reason"] == "complaint"
