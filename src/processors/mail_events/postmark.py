"""What Postmark tells of mails: not signed, so known by a secret that only it was given.

Sources: https://postmarkapp.com/developer/webhooks/webhooks-overview, …/bounce-webhook, …/spam-complaint-webhook,
…/delivery-webhook, …/subscription-change-webhook and https://postmarkapp.com/developer/api/bounce-api (its types)
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from processors.errors import NotAuthentic
from processors.mail_events import event
from processors.mail_events.event import Kind, MailEvent, field
from processors.suppression import is_spared

SECRET_HEADER = "x-postmark-secret"  # noqa: S105 - a header's name

HARD_TYPES = frozenset({"HardBounce", "BadEmailAddress"})
"""The server says that there is no such mailbox; the address is no valid one."""

BOUNCES: dict[str, Kind] = {
    **dict.fromkeys(HARD_TYPES, "bounced"),
    "Transient": "delayed",
    "DnsError": "delayed",
    "SoftBounce": "bounced",
    "Blocked": "bounced",
    "SpamNotification": "bounced",
    "DMARCPolicy": "bounced",
    "VirusNotification": "bounced",
    "Undeliverable": "bounced",
    "Unknown": "bounced",
    "SMTPApiError": "rejected",
    "TemplateRenderingFailed": "rejected",
    "ManuallyDeactivated": "rejected",
}
"""What there is beside these (AutoResponder, AddressChange, …) tells of no mail that did not arrive."""


def check(headers: Mapping[str, str], secret: str) -> None:
    """Let a request pass that has the secret, as the password of basic authentication or in X-Postmark-Secret.

    Args:
        headers: by their names in lower case.
        secret: EMAIL_POSTMARK_SECRET.

    Raises:
        NotAuthentic: it has not.
    """
    given = headers.get(SECRET_HEADER) or _password(headers.get("authorization", ""))
    if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode()):
        raise NotAuthentic("The event comes without EMAIL_POSTMARK_SECRET, or with another secret.")


def _password(authorization: str) -> str:
    """Return the password of `Basic …` (RFC 7617), whoever's it is; an empty text for all else."""
    scheme, _, coded = authorization.partition(" ")
    try:
        pair = base64.b64decode(coded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return pair.partition(":")[2] if scheme.lower() == "basic" else ""


def read(body: Any) -> Sequence[MailEvent]:
    """Return the event, in a list; an empty one for what does not count here, such as opens and clicks."""
    reader = READERS.get(event.text(field(body, "RecordType")))
    found = reader(body) if reader else None
    return [] if found is None else [found]


def _bounce(body: Any) -> MailEvent | None:
    name, said = (
        event.text(field(body, "Type")),
        event.text(field(body, "Details")) or event.text(field(body, "Description")),
    )
    kind, enhanced = BOUNCES.get(name), event.enhanced(said)
    if kind is None:
        return None
    hard = name in HARD_TYPES and not is_spared(None, enhanced)
    return MailEvent(
        kind, _text(body, "Email"), _id(body), hard, None, enhanced, said or name, at=_at(body, "BouncedAt")
    )


def _complaint(body: Any) -> MailEvent:
    said = event.text(field(body, "Description"))
    return MailEvent("complained", _text(body, "Email"), _id(body), text=said, at=_at(body, "BouncedAt"))


def _delivery(body: Any) -> MailEvent:
    at, said = _at(body, "DeliveredAt"), event.text(field(body, "Details"))
    return MailEvent("delivered", _text(body, "Recipient"), _id(body), text=said, at=at)


def _subscription(body: Any) -> MailEvent | None:
    if field(body, "SuppressSending") is not True or _text(body, "Origin") != "Recipient":
        return None  # it is mailed again, or Postmark's bounce and complaint have told it
    known = event.known_as("SubscriptionChange", field(body, "MessageID"), field(body, "ChangedAt"))
    kind: Kind = "complained" if _text(body, "SuppressionReason") == "SpamComplaint" else "unsubscribed"
    return MailEvent(
        kind, _text(body, "Recipient"), known, text=_text(body, "SuppressionReason"), at=_at(body, "ChangedAt")
    )


READERS: dict[str, Callable[[Any], MailEvent | None]] = {
    "Bounce": _bounce,
    "SpamComplaint": _complaint,
    "Delivery": _delivery,
    "SubscriptionChange": _subscription,
}


def _text(body: Any, name: str) -> str:
    return event.text(field(body, name))


def _at(body: Any, name: str) -> Any:
    return event.moment(field(body, name))


def _id(body: Any) -> str:
    """Return what an event is known by: the bounce's number, or the mail's where there is none."""
    return event.known_as(field(body, "RecordType"), field(body, "ID") or field(body, "MessageID"))
