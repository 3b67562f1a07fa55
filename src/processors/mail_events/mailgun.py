"""What Mailgun tells of mails: signed by HMAC over a moment and a token, not over the event.

Sources: https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
and https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure
"""

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from processors.errors import NotAuthentic
from processors.mail_events import event
from processors.mail_events.event import Kind, MailEvent, field
from processors.suppression import is_spared

OLDEST_SECONDS = 12 * 3600
"""Mailgun tries again for 8 hours."""

NEWEST_SECONDS = 300
"""Clocks do not agree."""

KINDS: dict[str, Kind] = {"delivered": "delivered", "complained": "complained", "unsubscribed": "unsubscribed"}
BOUNCE_REASONS = frozenset({"bounce", "suppress-bounce"})
"""Why Mailgun itself mails an address no more; others are about the content, the sender or the time."""

NOT_SENT = "suppress-"


def check(body: Any, key: str, now: datetime) -> str:
    """Return the signature's token, which is good for this event alone, once it is known that Mailgun has signed it.

    Args:
        body: the webhook's JSON.
        key: EMAIL_MAILGUN_SIGNING_KEY.
        now: aware.

    Raises:
        NotAuthentic: it is not signed with the key, or was too long ago.
    """
    given = field(body, "signature")
    at, token, signature = (event.text(field(given, name)) for name in ("timestamp", "token", "signature"))
    right = hmac.digest(key.encode(), f"{at}{token}".encode("utf-8", "surrogatepass"), "sha256").hex()
    if not token or not hmac.compare_digest(right.encode(), signature.encode("utf-8", "surrogatepass")):
        raise NotAuthentic("The event is not signed with EMAIL_MAILGUN_SIGNING_KEY.")
    seconds = now.timestamp() - float(at) if at.isascii() and at.isdecimal() else OLDEST_SECONDS + 1
    if not -NEWEST_SECONDS <= seconds <= OLDEST_SECONDS:
        raise NotAuthentic(f"The event was signed {seconds:.0f} s ago, over {OLDEST_SECONDS} s, or is of the future.")
    return token


def read(body: Any) -> Sequence[MailEvent]:
    """Return the event, in a list; an empty one for what does not count here, such as opens and clicks."""
    data = field(body, "event-data")
    status = field(data, "delivery-status")
    code, enhanced = event.code(field(status, "code")), event.enhanced(field(status, "enhanced-code"))
    reason = event.text(field(data, "reason"))
    kind = _kind(event.text(field(data, "event")), event.text(field(data, "severity")), reason)
    if kind is None:
        return []
    return [
        MailEvent(
            kind,
            event.text(field(data, "recipient")),
            event.known_as(field(data, "id")),
            hard=kind in {"bounced", "rejected"} and reason in BOUNCE_REASONS and not is_spared(code, enhanced),
            code=code,
            enhanced=enhanced,
            text=event.text(field(status, "message")) or event.text(field(status, "description")) or reason,
            message_id=event.message_id(field(data, "message", "headers", "message-id")),
            at=event.moment(field(data, "timestamp")),
        )
    ]


def _kind(name: str, severity: str, reason: str) -> Kind | None:
    if name == "failed" and severity == "temporary":
        return "delayed"
    if name == "failed":
        return "rejected" if reason.startswith(NOT_SENT) else "bounced"
    return KINDS.get(name)
