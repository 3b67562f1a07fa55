"""What SendGrid tells of mails: signed by ECDSA over a moment and the whole body.

Sources: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
and https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import import_module
from typing import Any

from processors.errors import ConfigurationError, NotAuthentic
from processors.mail_events import event
from processors.mail_events.event import Kind, MailEvent, field
from processors.optional_packages import load
from processors.suppression import is_spared

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"

OLDEST_SECONDS = 25 * 3600
"""SendGrid tries again for 24 hours."""

NEWEST_SECONDS = 300
"""Clocks do not agree."""

KINDS: dict[str, Kind] = {
    "delivered": "delivered",
    "deferred": "delayed",
    "bounce": "bounced",
    "dropped": "rejected",
    "spamreport": "complained",
    "unsubscribe": "unsubscribed",  # from all mail; of a group (group_unsubscribe) only SendGrid knows the mails
}
BOUNCED = "bounce"
"""The `type` of a bounce that is about the address; `blocked` is not."""


def check(body: bytes, headers: Mapping[str, str], public_key: str, now: datetime) -> None:
    """Let a body pass that SendGrid has signed.

    Args:
        body: as it came.
        headers: by their names in lower case.
        public_key: EMAIL_SENDGRID_PUBLIC_KEY: base64 of a DER key, as SendGrid shows it.
        now: aware.

    Raises:
        NotAuthentic: it is not signed with the key, or was too long ago.
        ConfigurationError: the key is none, or what checks it is not installed.
    """
    at = headers.get(TIMESTAMP, "")
    try:
        signature = base64.b64decode(headers.get(SIGNATURE, ""), validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    exceptions = load("cryptography.exceptions", "SendGrid's webhook", "unset EMAIL_SENDGRID_PUBLIC_KEY")
    hashes = import_module("cryptography.hazmat.primitives.hashes")
    ec = import_module("cryptography.hazmat.primitives.asymmetric.ec")
    try:
        _key(public_key, ec).verify(signature, at.encode("utf-8", "replace") + body, ec.ECDSA(hashes.SHA256()))
    except exceptions.InvalidSignature:
        raise NotAuthentic("The events are not signed with the key of EMAIL_SENDGRID_PUBLIC_KEY.") from None
    seconds = now.timestamp() - float(at) if at.isascii() and at.isdecimal() else OLDEST_SECONDS + 1
    if not -NEWEST_SECONDS <= seconds <= OLDEST_SECONDS:
        raise NotAuthentic(
            f"The events were signed {seconds:.0f} s ago, over {OLDEST_SECONDS} s, or are of the future."
        )


def _key(public_key: str, ec: Any) -> Any:
    serialization = import_module("cryptography.hazmat.primitives.serialization")
    try:
        key = serialization.load_der_public_key(base64.b64decode(public_key, validate=True))
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            "EMAIL_SENDGRID_PUBLIC_KEY must be the verification key that SendGrid shows: base64 of a public key."
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ConfigurationError("EMAIL_SENDGRID_PUBLIC_KEY must be a key of an elliptic curve, as SendGrid shows it.")
    return key


def read(body: Any) -> Sequence[MailEvent]:
    """Return the events that count here; opens, clicks and what is no event are passed over."""
    return [_event(one, kind) for one in event.listed(body) if (kind := KINDS.get(event.text(field(one, "event"))))]


def _event(one: Any, kind: Kind) -> MailEvent:
    said = event.text(field(one, "reason")) or event.text(field(one, "response"))
    enhanced = event.enhanced(field(one, "status")) or event.enhanced(said)
    code = event.code(said[:3])
    bounced = kind == "bounced" and event.text(field(one, "type")) == BOUNCED
    return MailEvent(
        kind,
        event.text(field(one, "email")),
        event.known_as(field(one, "sg_event_id")),
        hard=bounced and not is_spared(code, enhanced),
        code=code,
        enhanced=enhanced,
        text=said,
        message_id=event.message_id(field(one, "smtp-id")),
        at=event.moment(field(one, "timestamp")),
    )
