"""What mail providers post to a webhook, in the shapes that they document, signed with keys of the tests' own."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

MAILGUN_KEY = "key-mailgun-0123456789"
POSTMARK_SECRET = "postmark-secret-0123456789"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
SUBSCRIBE_URL = f"https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)

Json = dict[str, Any]


# --- Mailgun ----------------------------------------------------------------------------------------------------


def mailgun(
    event: str = "failed", *, now: datetime = NOW, key: str = MAILGUN_KEY, token: str = "t" * 50, **data: Any
) -> Json:
    at = str(int(now.timestamp()))
    signature = hmac.digest(key.encode(), f"{at}{token}".encode(), "sha256").hex()
    fields = {
        "id": "G9Bn5sl1TC6nu79C8C0bwg",
        "timestamp": now.timestamp() - 2.5,
        "event": event,
        "recipient": "ann@example.com",
        "message": {
            "headers": {"to": "Ann", "message-id": "m1@example.org", "from": "us", "subject": "s"},
            "size": 111,
        },
    }
    if event == "failed":
        fields |= {"severity": "permanent", "reason": "bounce"}
        fields["delivery-status"] = {
            "code": 550,
            "enhanced-code": "5.1.1",
            "message": "5.1.1 no such user",
            "mx-host": "mx",
        }
    return {"signature": {"timestamp": at, "token": token, "signature": signature}, "event-data": fields | data}


# --- SendGrid ---------------------------------------------------------------------------------------------------


@cache
def sendgrid_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_key(key: Any) -> str:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def sendgrid(event: str = "bounce", **more: Any) -> Json:
    fields = {
        "email": "ann@example.com",
        "timestamp": int(NOW.timestamp()),
        "smtp-id": "<m1@example.org>",
        "event": event,
        "sg_event_id": "6g4ZI7SA-xmRDv57GoPIPw==",
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
    }
    if event == "bounce":
        fields |= {"reason": "550 5.1.1 unknown user", "status": "5.1.1", "type": "bounce"}
    return fields | more


def sendgrid_headers(body: bytes, *, now: datetime = NOW, key: Any = None) -> dict[str, str]:
    at = str(int(now.timestamp()))
    signature = (key or sendgrid_key()).sign(at.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": at,
    }


# --- SES --------------------------------------------------------------------------------------------------------


@cache
def sns_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(7)
    builder = builder.not_valid_before(NOW - timedelta(days=99)).not_valid_after(NOW + timedelta(days=9999))
    return (
        builder.public_key(sns_key().public_key())
        .sign(sns_key(), hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def sns(
    message: Any, kind: str = "Notification", *, version: str = "2", now: datetime = NOW, key: Any = None, **more: Any
) -> Json:
    """Return a message as SNS posts it; `more` replaces fields before it is signed."""
    envelope: Json = {
        "Type": kind,
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
    }
    if kind == "Notification":
        envelope["UnsubscribeURL"] = SUBSCRIBE_URL.replace("ConfirmSubscription", "Unsubscribe")
    else:
        envelope |= {"Token": "2336412f37", "SubscribeURL": SUBSCRIBE_URL}
    envelope |= more
    names = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    text = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope)
    chosen = hashes.SHA1() if version == "1" else hashes.SHA256()
    envelope["Signature"] = base64.b64encode(
        (key or sns_key()).sign(text.encode(), padding.PKCS1v15(), chosen)
    ).decode()
    return envelope


def ses(kind: str = "Bounce", key: str = "notificationType", **more: Any) -> Json:
    mail = {
        "timestamp": "2026-03-01T12:00:00.000Z",
        "messageId": "00000138111222aa-33322211-cccc-cccc-cccc-ddddaaaa0680-000000",
        "source": "us@example.org",
        "destination": ["ann@example.com", "bob@example.com"],
        "headers": [{"name": "From", "value": "us"}, {"name": "Message-ID", "value": "<m1@example.org>"}],
        "commonHeaders": {"messageId": "<m1@example.org>", "subject": "Hello"},
    }
    details: Json = {
        "Bounce": {
            "bounce": {
                "bounceType": "Permanent",
                "bounceSubType": "General",
                "bouncedRecipients": [
                    {
                        "emailAddress": "ann@example.com",
                        "action": "failed",
                        "status": "5.1.1",
                        "diagnosticCode": "smtp; 550 5.1.1 unknown user",
                    }
                ],
                "timestamp": "2026-03-01T12:10:00.000Z",
                "feedbackId": "00000138111222aa",
            }
        },
        "Complaint": {
            "complaint": {
                "complainedRecipients": [{"emailAddress": "ann@example.com"}],
                "complaintFeedbackType": "abuse",
                "timestamp": "2026-03-01T12:10:00.000Z",
                "feedbackId": "00000137860315fd",
            }
        },
        "Delivery": {
            "delivery": {
                "recipients": ["ann@example.com"],
                "smtpResponse": "250 ok",
                "timestamp": "2026-03-01T12:10:00.000Z",
            }
        },
        "DeliveryDelay": {
            "deliveryDelay": {
                "delayType": "TransientCommunicationFailure",
                "delayedRecipients": [
                    {"emailAddress": "ann@example.com", "status": "4.4.1", "diagnosticCode": "smtp; 421 later"}
                ],
                "timestamp": "2026-03-01T12:10:00.000Z",
            }
        },
        "Reject": {"reject": {"reason": "Bad content"}},
        "Open": {"open": {"ipAddress": "192.0.2.1"}},
    }
    return {key: kind, "mail": mail, **details[kind], **more}


# --- Postmark ---------------------------------------------------------------------------------------------------


def postmark(kind: str = "Bounce", **more: Any) -> Json:
    details: Json = {
        "Bounce": {
            "ID": 4323372036854775807,
            "Type": "HardBounce",
            "TypeCode": 1,
            "Name": "Hard bounce",
            "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
            "Description": "The server was unable to deliver your message.",
            "Details": "smtp;550 5.1.1 The email account that you tried to reach does not exist",
            "Email": "ann@example.com",
            "BouncedAt": "2026-03-01T12:10:00Z",
            "Inactive": True,
        },
        "SpamComplaint": {
            "ID": 42,
            "Type": "SpamComplaint",
            "TypeCode": 100001,
            "MessageID": "00000000-0000-0000-0000-000000000000",
            "Details": "Test spam complaint details",
            "Email": "ann@example.com",
            "BouncedAt": "2026-03-01T12:10:00Z",
        },
        "Delivery": {
            "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
            "Recipient": "ann@example.com",
            "DeliveredAt": "2026-03-01T12:10:00Z",
            "Details": "Test delivery webhook details",
        },
        "SubscriptionChange": {
            "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
            "Recipient": "ann@example.com",
            "Origin": "Recipient",
            "SuppressSending": True,
            "SuppressionReason": "ManualSuppression",
            "ChangedAt": "2026-03-01T12:10:00Z",
        },
        "Open": {"Recipient": "ann@example.com", "MessageID": "x"},
    }
    return {"RecordType": kind, "ServerID": 23, "MessageStream": "outbound", **details[kind], **more}
