"""What Amazon SES tells of mails, through SNS: signed by RSA with a certificate of Amazon's.

Sources: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html,
https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html and
https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

import base64
import binascii
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from importlib import import_module
from typing import Any

from processors.errors import NotAuthentic
from processors.mail_events import event
from processors.mail_events.event import MailEvent, field
from processors.optional_packages import load
from processors.suppression import is_spared

OLDEST_SECONDS = 12 * 3600
"""SNS tries again for an hour at most, unless its queue of what could not be delivered is."""

NEWEST_SECONDS = 300
"""Clocks do not agree."""

HOST = r"https://sns\.[a-z]{2}(-[a-z]+)+-[0-9]{1,2}\.amazonaws\.com(\.cn)?"
CERTIFICATE_URL = re.compile(rf"{HOST}/SimpleNotificationService-[0-9A-Fa-f]{{1,64}}\.pem")
SUBSCRIBE_URL = re.compile(rf"{HOST}/\?[!-~]{{1,4000}}")

NOTIFICATION, CONFIRMATION = "Notification", "SubscriptionConfirmation"
SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
"""What is signed of each kind of message, in this order; a Subject only where there is one."""

HASHES = {"1": "SHA1", "2": "SHA256"}
"""By SignatureVersion. Version 1 is what a topic has unless told; who forged one would need a second preimage."""

LONGEST_MESSAGE = 1_000_000
OF_SMTP = re.compile(r"\s*smtp\s*;\s*", re.IGNORECASE)


def check(envelope: Any, topics: Collection[str], certificate: Callable[[str], bytes], now: datetime) -> None:
    """Let a message pass that SNS has signed for one of our topics: anybody may have a topic, and SNS signs for all.

    Args:
        envelope: the request's JSON.
        topics: EMAIL_SES_TOPICS.
        certificate: returns the PEM certificate at an address of SNS; asked last.
        now: aware.

    Raises:
        NotAuthentic: it is of another topic, not signed by SNS, or was too long ago.
    """
    kind, topic = event.text(field(envelope, "Type")), event.text(field(envelope, "TopicArn"))
    if topic not in topics:
        raise NotAuthentic(f"The message is of the topic {topic[:200]!r}, which is not in EMAIL_SES_TOPICS.")
    at = event.moment(field(envelope, "Timestamp"))
    seconds = OLDEST_SECONDS + 1 if at is None else (now - at).total_seconds()
    if not -NEWEST_SECONDS <= seconds <= OLDEST_SECONDS:
        raise NotAuthentic(f"The message was signed {seconds:.0f} s ago, over {OLDEST_SECONDS} s, or is of the future.")
    address = event.text(field(envelope, "SigningCertURL"))
    if not CERTIFICATE_URL.fullmatch(address):
        raise NotAuthentic(f"The message names a certificate that is not of SNS: {address[:200]!r}.")
    if kind not in SIGNED or event.text(field(envelope, "SignatureVersion")) not in HASHES:
        raise NotAuthentic("The message is of no kind that SNS signs, or signed in no way that it uses.")
    _verify(envelope, kind, certificate(address))


def _verify(envelope: Any, kind: str, pem: bytes) -> None:
    try:
        signature = base64.b64decode(event.text(field(envelope, "Signature")), validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    exceptions = load("cryptography.exceptions", "SES's webhook", "unset EMAIL_SES_TOPICS")
    x509 = import_module("cryptography.x509")
    hashes = import_module("cryptography.hazmat.primitives.hashes")
    padding = import_module("cryptography.hazmat.primitives.asymmetric.padding")
    rsa = import_module("cryptography.hazmat.primitives.asymmetric.rsa")
    try:
        key: Any = x509.load_pem_x509_certificate(pem).public_key()
    except ValueError:
        key = None
    if not isinstance(key, rsa.RSAPublicKey):
        raise NotAuthentic("The certificate that the message names is none with an RSA key.")
    chosen = getattr(hashes, HASHES[event.text(field(envelope, "SignatureVersion"))])
    try:
        key.verify(signature, _signed(envelope, kind), padding.PKCS1v15(), chosen())
    except exceptions.InvalidSignature:
        raise NotAuthentic("The message is not signed by SNS.") from None


def _signed(envelope: Any, kind: str) -> bytes:
    """Return what SNS signs: each name and each value on a line of its own."""
    pairs = ((name, field(envelope, name)) for name in SIGNED[kind])
    lines = (f"{name}\n{event.text(value, LONGEST_MESSAGE)}\n" for name, value in pairs if value is not None)
    return "".join(lines).encode("utf-8", "surrogatepass")


def confirmation(envelope: Any) -> str | None:
    """Return the address that confirms a subscription, once the message has passed `check`; None for other messages.

    Raises:
        NotAuthentic: the address is not of SNS.
    """
    if field(envelope, "Type") != CONFIRMATION:
        return None
    address = event.text(field(envelope, "SubscribeURL"), LONGEST_MESSAGE)
    if not SUBSCRIBE_URL.fullmatch(address):
        raise NotAuthentic(f"The message names an address to confirm that is not of SNS: {address[:200]!r}.")
    return address


def read(envelope: Any) -> Sequence[MailEvent]:
    """Return the events of a notification, recipient by recipient; what does not count here is passed over."""
    if field(envelope, "Type") != NOTIFICATION:
        return []
    told = event.parsed(event.text(field(envelope, "Message"), LONGEST_MESSAGE).encode("utf-8", "replace"), "SES")
    known = event.known_as(field(envelope, "MessageId"))
    name = event.text(field(told, "eventType")) or event.text(field(told, "notificationType"))
    reader = READERS.get(name)
    return [] if reader is None else list(reader(told, known, _message_id(field(told, "mail"))))


def _message_id(mail: Any) -> str | None:
    """Return the Message-ID that we sent: SES puts another one in its place, and keeps ours among the headers."""
    headers = (
        one for one in event.listed(field(mail, "headers")) if event.text(field(one, "name")).lower() == "message-id"
    )
    return event.message_id(field(next(headers, None), "value")) or event.message_id(
        field(mail, "commonHeaders", "messageId")
    )


def _bounced(told: Any, known: str, ours: str | None) -> Iterator[MailEvent]:
    bounce = field(told, "bounce")
    permanent = event.text(field(bounce, "bounceType")) == "Permanent"
    for one in event.listed(field(bounce, "bouncedRecipients")):
        said = event.text(field(one, "diagnosticCode")) or event.text(field(bounce, "bounceSubType"))
        code, enhanced = event.code(OF_SMTP.sub("", said)[:3]), event.enhanced(field(one, "status"))
        hard = permanent and not is_spared(code, enhanced)
        at = event.moment(field(bounce, "timestamp"))
        yield MailEvent("bounced", _address(one), known, hard, code, enhanced, said, ours, at)


def _complained(told: Any, known: str, ours: str | None) -> Iterator[MailEvent]:
    complaint = field(told, "complaint")
    said, at = event.text(field(complaint, "complaintFeedbackType")), event.moment(field(complaint, "timestamp"))
    if said in {"not-spam", "auth-failure"}:
        return
    for one in event.listed(field(complaint, "complainedRecipients")):
        yield MailEvent("complained", _address(one), known, text=said, message_id=ours, at=at)


def _delayed(told: Any, known: str, ours: str | None) -> Iterator[MailEvent]:
    delay = field(told, "deliveryDelay")
    at = event.moment(field(delay, "timestamp"))
    for one in event.listed(field(delay, "delayedRecipients")):
        said, enhanced = event.text(field(one, "diagnosticCode")), event.enhanced(field(one, "status"))
        yield MailEvent("delayed", _address(one), known, enhanced=enhanced, text=said, message_id=ours, at=at)


def _delivered(told: Any, known: str, ours: str | None) -> Iterator[MailEvent]:
    delivery = field(told, "delivery")
    said, at = event.text(field(delivery, "smtpResponse")), event.moment(field(delivery, "timestamp"))
    for one in event.listed(field(delivery, "recipients")):
        yield MailEvent("delivered", event.text(one), known, text=said, message_id=ours, at=at)


def _rejected(told: Any, known: str, ours: str | None) -> Iterator[MailEvent]:
    said = event.text(field(told, "reject", "reason")) or event.text(field(told, "failure", "errorMessage"))
    for one in event.listed(field(told, "mail", "destination")):
        yield MailEvent("rejected", event.text(one), known, text=said, message_id=ours)


READERS: dict[str, Callable[[Any, str, str | None], Iterator[MailEvent]]] = {
    "Bounce": _bounced,
    "Complaint": _complained,
    "DeliveryDelay": _delayed,
    "Delivery": _delivered,
    "Reject": _rejected,
    "Rendering Failure": _rejected,
}


def _address(one: Any) -> str:
    return event.text(field(one, "emailAddress"))
