"""One event of a mail that had gone out, whoever tells it; and how it is taken out of JSON that nobody vouches for."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from processors.errors import InvalidArgument

Kind = Literal["delivered", "delayed", "bounced", "rejected", "complained", "unsubscribed"]
"""Taken by the recipient's server; put off; given back; not even sent; called spam; asked to be left alone."""

LONGEST_TEXT = 1_000
LONGEST_MESSAGE_ID = 990
LONGEST_EVENT_ID = 255

CODE = re.compile("[2-5][0-9]{2}")
ENHANCED = re.compile(r"(?<![0-9.])[245]\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9.])")
PLAIN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class MailEvent:
    """What became of a mail for one recipient.

    Attributes:
        kind: what happened.
        address: the recipient, as it was told.
        hard: of a bounce: the address takes no mail.
        code: the reply of the recipient's server, where it was told.
        enhanced: its enhanced status code.
        text: what else was said.
        message_id: the Message-ID that the mail was sent with, where it was told.
        event_id: the same event told again has the same.
        at: when it happened, where it was told.
    """

    kind: Kind
    address: str
    event_id: str
    hard: bool = False
    code: int | None = None
    enhanced: str | None = None
    text: str = ""
    message_id: str | None = None
    at: datetime | None = None


def parsed(body: bytes, provider: str) -> Any:
    """Return a body's JSON.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"body: must be the JSON that {provider} sends; got {body[:80]!r}: {error}.") from error


def field(value: Any, *names: str) -> Any:
    """Return what lies below these names, or None where there is nothing of the kind."""
    for name in names:
        value = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
    return value


def listed(value: Any) -> Sequence[Any]:
    """Return a list, an empty one for all else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def text(value: Any, longest: int = LONGEST_TEXT) -> str:
    """Return a text, a number as text, and an empty one for all else."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return str(value)[:longest]


def code(value: Any) -> int | None:
    """Return a reply's code of three digits (RFC 5321 4.2), or None."""
    digits = text(value)
    return int(digits) if CODE.fullmatch(digits) else None


def enhanced(value: Any) -> str | None:
    """Return an enhanced status code (RFC 3463 2), or None."""
    found = ENHANCED.search(text(value))
    return found[0] if found else None


def message_id(value: Any) -> str | None:
    """Return a Message-ID in its angle brackets, with which some providers dispense; None where it cannot be one."""
    bare = text(value).strip().strip("<>")
    return f"<{bare}>" if PLAIN.fullmatch(bare) and len(bare) <= LONGEST_MESSAGE_ID else None


def known_as(*parts: Any) -> str:
    """Return what an event is known by: its parts, or their digest where they are long or odd."""
    joined = ":".join(map(text, parts))
    if PLAIN.fullmatch(joined) and len(joined) <= LONGEST_EVENT_ID:
        return joined
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()


def moment(value: Any) -> datetime | None:
    """Return a moment from Unix seconds, or from an ISO 8601 text with an offset; None for all else."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        return found.astimezone(UTC) if found is not None and found.tzinfo else None
    except (ValueError, OverflowError, OSError):
        return None
