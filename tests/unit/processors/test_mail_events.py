"""Webhooks of mail providers: only theirs are read, and whatever they send is an event or nothing."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

import mail_webhooks as sent
from processors.errors import ConfigurationError, InvalidArgument, NotAuthentic
from processors.mail_events import event, mailgun, postmark, sendgrid, ses

NOW = sent.NOW
TOPICS = [sent.TOPIC]


def certificate(url: str) -> bytes:
    assert url == sent.CERTIFICATE_URL
    return sent.certificate()


def brief(events) -> list[tuple]:
    return [(one.kind, one.address, one.hard) for one in events]


# --- Mailgun ----------------------------------------------------------------------------------------------------


def test_what_mailgun_has_signed_is_let_through_with_its_token():
    assert mailgun.check(sent.mailgun(), sent.MAILGUN_KEY, NOW) == "t" * 50
    assert mailgun.check(sent.mailgun(), sent.MAILGUN_KEY, NOW + timedelta(hours=8)) == "t" * 50


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        {"event-data": sent.mailgun()["event-data"]},
        sent.mailgun(key="another"),
        sent.mailgun() | {"signature": sent.mailgun()["signature"] | {"timestamp": str(int(NOW.timestamp()) + 1)}},
        sent.mailgun() | {"signature": sent.mailgun()["signature"] | {"token": "x" * 50}},
        sent.mailgun() | {"signature": sent.mailgun()["signature"] | {"signature": ""}},
        sent.mailgun(token=""),
        sent.mailgun(now=NOW - timedelta(hours=13)),
        sent.mailgun(now=NOW + timedelta(hours=1)),
    ],
    ids=range(11),
)
def test_what_mailgun_has_not_signed_or_long_ago_is_refused(body):
    with pytest.raises(NotAuthentic):
        mailgun.check(body, sent.MAILGUN_KEY, NOW)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (sent.mailgun(), ("bounced", "ann@example.com", True)),
        (sent.mailgun(severity="temporary", reason="generic"), ("delayed", "ann@example.com", False)),
        (sent.mailgun(reason="suppress-bounce"), ("rejected", "ann@example.com", True)),
        (sent.mailgun(reason="suppress-complaint"), ("rejected", "ann@example.com", False)),
        (sent.mailgun(reason="espblock"), ("bounced", "ann@example.com", False)),
        (
            sent.mailgun(**{"delivery-status": {"code": 550, "enhanced-code": "5.7.1"}}),
            ("bounced", "ann@example.com", False),
        ),
        (sent.mailgun(**{"delivery-status": {"code": 552}}), ("bounced", "ann@example.com", False)),
        (sent.mailgun("complained"), ("complained", "ann@example.com", False)),
        (sent.mailgun("unsubscribed"), ("unsubscribed", "ann@example.com", False)),
        (sent.mailgun("delivered"), ("delivered", "ann@example.com", False)),
    ],
    ids=range(10),
)
def test_each_event_of_mailgun_is_what_it_says(body, expected):
    events = mailgun.read(body)
    assert brief(events) == [expected]
    assert (events[0].message_id, events[0].event_id) == ("<m1@example.org>", "G9Bn5sl1TC6nu79C8C0bwg")


# --- SendGrid ---------------------------------------------------------------------------------------------------


BODY = json.dumps([sent.sendgrid()]).encode()


def test_what_sendgrid_has_signed_is_let_through():
    sendgrid.check(BODY, sent.sendgrid_headers(BODY), sent.public_key(sent.sendgrid_key()), NOW)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (BODY, {}),
        (BODY + b" ", sent.sendgrid_headers(BODY)),
        (BODY, sent.sendgrid_headers(BODY) | {sendgrid.TIMESTAMP: str(int(NOW.timestamp()) + 1)}),
        (BODY, sent.sendgrid_headers(BODY) | {sendgrid.SIGNATURE: "ü"}),
        (BODY, sent.sendgrid_headers(BODY) | {sendgrid.SIGNATURE: "AAAA"}),
        (BODY, sent.sendgrid_headers(BODY, key=ec.generate_private_key(ec.SECP256R1()))),
        (BODY, sent.sendgrid_headers(BODY, now=NOW - timedelta(hours=26))),
        (BODY, sent.sendgrid_headers(BODY, now=NOW + timedelta(hours=1))),
    ],
    ids=range(8),
)
def test_what_sendgrid_has_not_signed_or_long_ago_is_refused(body, headers):
    with pytest.raises(NotAuthentic):
        sendgrid.check(body, headers, sent.public_key(sent.sendgrid_key()), NOW)


@pytest.mark.parametrize(
    "key", ["", "no key", base64.b64encode(b"no key").decode(), sent.public_key(rsa.generate_private_key(65537, 2048))]
)
def test_a_key_that_sendgrid_never_shows_is_the_settings_fault(key):
    with pytest.raises(ConfigurationError, match="EMAIL_SENDGRID_PUBLIC_KEY"):
        sendgrid.check(BODY, sent.sendgrid_headers(BODY), key, NOW)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (sent.sendgrid(), [("bounced", "ann@example.com", True)]),
        (sent.sendgrid(type="blocked"), [("bounced", "ann@example.com", False)]),
        (sent.sendgrid(status="5.7.1"), [("bounced", "ann@example.com", False)]),
        (sent.sendgrid("dropped"), [("rejected", "ann@example.com", False)]),
        (sent.sendgrid("deferred"), [("delayed", "ann@example.com", False)]),
        (sent.sendgrid("delivered"), [("delivered", "ann@example.com", False)]),
        (sent.sendgrid("spamreport"), [("complained", "ann@example.com", False)]),
        (sent.sendgrid("unsubscribe"), [("unsubscribed", "ann@example.com", False)]),
        (sent.sendgrid("open"), []),
        (sent.sendgrid("group_unsubscribe"), []),
    ],
    ids=range(10),
)
def test_each_event_of_sendgrid_is_what_it_says(one, expected):
    events = sendgrid.read([one, "no event", {}, None])
    assert brief(events) == expected
    assert all((found.message_id, found.at) == ("<m1@example.org>", NOW) for found in events)


# --- SES --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("more", [{}, {"Subject": "Amazon SES Email Event Notification"}])
def test_what_sns_has_signed_for_our_topic_is_let_through(version, more):
    ses.check(sent.sns(sent.ses(), version=version, **more), TOPICS, certificate, NOW)
    ses.check(
        sent.sns("You have chosen to subscribe", "SubscriptionConfirmation", version=version), TOPICS, certificate, NOW
    )


GOOD = sent.sns(sent.ses())


@pytest.mark.parametrize(
    ("envelope", "words"),
    [
        ({}, "not in EMAIL_SES_TOPICS"),
        (None, "not in EMAIL_SES_TOPICS"),
        (sent.sns(sent.ses(), TopicArn="arn:aws:sns:eu-west-1:666:theirs"), "not in EMAIL_SES_TOPICS"),
        (GOOD | {"Message": json.dumps(sent.ses("Complaint"))}, "not signed"),
        (GOOD | {"MessageId": "another"}, "not signed"),
        (GOOD | {"Subject": "new"}, "not signed"),
        (GOOD | {"Signature": "no base64"}, "not signed"),
        (GOOD | {"SignatureVersion": "1"}, "not signed"),
        (GOOD | {"SignatureVersion": "3"}, "no way that it uses"),
        (GOOD | {"Type": "SubscriptionConfirmation"}, "not signed"),
        (GOOD | {"Type": "Other"}, "no kind"),
        (sent.sns(sent.ses(), key=rsa.generate_private_key(65537, 2048)), "not signed"),
        (sent.sns(sent.ses(), now=NOW - timedelta(hours=13)), "signed 46800 s ago"),
        (sent.sns(sent.ses(), now=NOW + timedelta(hours=1)), "future"),
        (sent.sns(sent.ses(), Timestamp="yesterday"), "signed"),
    ],
    ids=range(15),
)
def test_what_sns_has_not_signed_for_our_topic_or_long_ago_is_refused(envelope, words):
    with pytest.raises(NotAuthentic, match=words):
        ses.check(envelope, TOPICS, certificate, NOW)


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-01.pem",
        "https://evil.example/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-01.pem",
        "https://bucket.s3.amazonaws.com/SimpleNotificationService-01.pem",
        "https://sns.evil.amazonaws.com/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com/other/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem\n",
        "",
    ],
)
def test_a_certificate_from_anywhere_else_is_never_asked_for(url):
    with pytest.raises(NotAuthentic, match="certificate that is not of SNS"):
        ses.check(sent.sns(sent.ses(), SigningCertURL=url), TOPICS, lambda _: pytest.fail("asked"), NOW)


@pytest.mark.parametrize("pem", [b"", b"no certificate"])
def test_a_certificate_that_is_none_verifies_nothing(pem):
    with pytest.raises(NotAuthentic, match="none with an RSA key"):
        ses.check(GOOD, TOPICS, lambda _: pem, NOW)


def test_a_subscription_is_confirmed_at_sns_and_nowhere_else():
    assert ses.confirmation(GOOD) is None
    asked = sent.sns("You have chosen", "SubscriptionConfirmation")
    assert ses.confirmation(asked) == sent.SUBSCRIBE_URL
    for url in ("https://evil.example/?Action=ConfirmSubscription", "http://sns.eu-west-1.amazonaws.com/?a", ""):
        with pytest.raises(NotAuthentic, match="not of SNS"):
            ses.confirmation(asked | {"SubscribeURL": url})


@pytest.mark.parametrize("key", ["notificationType", "eventType"])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Bounce", [("bounced", "ann@example.com", True)]),
        ("Complaint", [("complained", "ann@example.com", False)]),
        ("Delivery", [("delivered", "ann@example.com", False)]),
        ("DeliveryDelay", [("delayed", "ann@example.com", False)]),
        ("Reject", [("rejected", "ann@example.com", False), ("rejected", "bob@example.com", False)]),
        ("Open", []),
    ],
)
def test_each_event_of_ses_is_what_it_says(key, kind, expected):
    events = ses.read(sent.sns(sent.ses(kind, key)))
    assert brief(events) == expected
    assert {(one.message_id, one.event_id) for one in events} <= {("<m1@example.org>", GOOD["MessageId"])}


def test_a_bounce_of_ses_for_now_or_of_policy_is_not_hard():
    told = sent.ses()
    told["bounce"]["bounceType"] = "Transient"
    assert brief(ses.read(sent.sns(told))) == [("bounced", "ann@example.com", False)]
    told = sent.ses()
    told["bounce"]["bouncedRecipients"][0]["status"] = "5.7.1"
    assert brief(ses.read(sent.sns(told))) == [("bounced", "ann@example.com", False)]


def test_that_a_mail_was_no_spam_is_no_complaint():
    told = sent.ses("Complaint")
    told["complaint"]["complaintFeedbackType"] = "not-spam"
    assert ses.read(sent.sns(told)) == []


def test_a_notification_of_another_service_is_refused_in_one_sentence():
    with pytest.raises(InvalidArgument, match="must be the JSON that SES sends"):
        ses.read(sent.sns("Successfully validated SNS topic for Amazon SES event publishing."))
    assert ses.read(sent.sns({"AlarmName": "disk"})) == []


# --- Postmark ---------------------------------------------------------------------------------------------------


def basic(pair: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


@pytest.mark.parametrize(
    "headers", [basic(f"postmark:{sent.POSTMARK_SECRET}"), {postmark.SECRET_HEADER: sent.POSTMARK_SECRET}]
)
def test_postmark_is_known_by_its_secret(headers):
    postmark.check(headers, sent.POSTMARK_SECRET)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("postmark:wrong"),
        basic("postmark"),
        {"authorization": "Basic ü"},
        {"authorization": f"Bearer {sent.POSTMARK_SECRET}"},
        {postmark.SECRET_HEADER: "ü"},
    ],
    ids=range(6),
)
def test_who_has_not_postmarks_secret_is_refused(headers):
    with pytest.raises(NotAuthentic):
        postmark.check(headers, sent.POSTMARK_SECRET)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (sent.postmark(), [("bounced", "ann@example.com", True)]),
        (sent.postmark(Type="SoftBounce"), [("bounced", "ann@example.com", False)]),
        (sent.postmark(Details="smtp;550 5.7.1 policy"), [("bounced", "ann@example.com", False)]),
        (sent.postmark(Type="Transient"), [("delayed", "ann@example.com", False)]),
        (sent.postmark(Type="AutoResponder"), []),
        (sent.postmark("SpamComplaint"), [("complained", "ann@example.com", False)]),
        (sent.postmark("Delivery"), [("delivered", "ann@example.com", False)]),
        (sent.postmark("SubscriptionChange"), [("unsubscribed", "ann@example.com", False)]),
        (sent.postmark("SubscriptionChange", SuppressSending=False), []),
        (sent.postmark("SubscriptionChange", Origin="Customer"), []),
        (sent.postmark("Open"), []),
    ],
    ids=range(11),
)
def test_each_event_of_postmark_is_what_it_says(body, expected):
    events = postmark.read(body)
    assert brief(events) == expected
    assert all(one.at == datetime(2026, 3, 1, 12, 10, tzinfo=UTC) for one in events)


# --- Whatever is sent -------------------------------------------------------------------------------------------

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
BODIES = [sent.mailgun(), [sent.sendgrid()], sent.sns(sent.ses()), sent.sns(sent.ses("DeliveryDelay")), sent.postmark()]


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from places(inner, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = replaced(value[path[0]], path[1:], new)
    return copied


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_value_in_any_place_is_an_event_or_nothing_or_one_sentence(data):
    body = data.draw(st.sampled_from(BODIES))
    if isinstance(body, dict) and "Message" in body and data.draw(st.booleans()):
        told = json.loads(body["Message"])
        told = replaced(told, data.draw(st.sampled_from(list(places(told)))), data.draw(ANY_JSON))
        body = body | {"Message": json.dumps(told)}
    else:
        body = replaced(body, data.draw(st.sampled_from(list(places(body)))), data.draw(ANY_JSON))
    for provider in (mailgun, sendgrid, ses, postmark):
        try:
            events = provider.read(body)
        except InvalidArgument:
            continue
        for one in events:
            assert len(one.event_id) <= 255
            assert one.event_id.isascii()
            assert one.code is None or 200 <= one.code < 600
            assert one.enhanced is None or len(one.enhanced) <= 16
            assert len(one.text) <= event.LONGEST_TEXT
    for refuse in (
        lambda: mailgun.check(body, "other", NOW),
        lambda: ses.check(body, ["other"], certificate, NOW),
        lambda: ses.check(body, TOPICS, lambda _: b"", NOW),
    ):
        with pytest.raises(NotAuthentic):
            refuse()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000])
def test_what_is_no_json_is_one_sentence(body):
    with pytest.raises(InvalidArgument, match="must be the JSON that Mailgun sends") as error:
        event.parsed(body, "Mailgun")
    assert "\n" not in str(error.value)
