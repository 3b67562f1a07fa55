"""Reports of mail servers: what a bounce (RFC 3464, RFC 6533) or a complaint (RFC 5965) says of which mail.

Anybody may have written one: it is read up to a bound, in bounded time, and what cannot be understood is one sentence.
"""

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from email.policy import Compat32
from email.utils import parsedate_to_datetime
from typing import Any, cast

from processors.errors import PermanentError
from processors.mail_events import event
from processors.mail_events.event import Kind, MailEvent
from processors.suppression import is_hard_bounce

READ_BYTES = 256 * 1024
"""The report stands before the mail that it is about, which may be large, and of which the headers are enough."""

MOST_CONTAINERS = 20
"""Parts that hold parts: the parser takes its time for each at every line."""

MOST_PARTS = 2_000
"""A block for each recipient is a part."""

CONTAINER = re.compile(rb"^content-type:\s*(multipart|message)/", re.IGNORECASE | re.MULTILINE)
ACTIONS: dict[str, Kind] = {
    "failed": "bounced",
    "delayed": "delayed",
    "delivered": "delivered",
    "expanded": "delivered",  # to a list's members (RFC 3464 2.3.3); `relayed` says that nobody will tell
}
BY_CLASS: dict[str, Kind] = {"5": "bounced", "4": "delayed", "2": "delivered"}
FEEDBACK: dict[str, Kind] = {
    "abuse": "complained",
    "fraud": "complained",
    "virus": "complained",
    "other": "complained",
    "opt-out": "unsubscribed",  # RFC 6449 B; what else there is (not-spam, auth-failure, dmarc) is no complaint
}

ASCII_KIN = {
    "message/global-delivery-status": "message/delivery-status",
    "message/global": "message/rfc822",
    "message/global-headers": "text/rfc822-headers",
}
"""What is the same beside its letters, which are UTF-8 (RFC 6533 4, RFC 6532 3.7)."""

ENCODED = "encoded/"
"""Stands before the type of a part whose content is to be decoded before its fields can be read."""

ENCODINGS = frozenset({"base64", "quoted-printable"})
UNICODE_LETTER = re.compile(r"\\x\{(?P<point>[0-9A-F]{2,6})\}", re.IGNORECASE)
"""How a server writes a letter of an address where only ASCII may stand (RFC 6533 3)."""

ADDRESS = re.compile(r"(?<![^\s<>,;:\"()])[^\s<>,;:\"()@]++@[^\s<>,;:\"()]+")
"""Begins where a word does, and is tried once there: a long word without @ costs no square of its length."""

SMTP_REPLY = re.compile(r"\s*smtp\s*;\s*(?P<code>[2-5][0-9]{2})", re.IGNORECASE)
LONGEST_FIELD = 2_000
MOST_ADDRESSES = 100


class _Utf8(Compat32):
    """Fields are read as UTF-8, of which ASCII is a part (RFC 6532 3.2)."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        """Return a field's text, where the parser would make an object of other letters than ASCII."""
        del name
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


UTF8 = _Utf8()


class _Part(Message):
    """A part whose type is that of its ASCII kin, so that the parser reads it as that one."""

    def get_content_type(self) -> str:
        """Return the type."""
        kind = super().get_content_type()
        kin = ASCII_KIN.get(kind)
        if kin is None or not kin.startswith("message/"):
            return kin or kind
        encoding = str(self.get("Content-Transfer-Encoding", "")).strip().lower()
        return f"{ENCODED}{kin}" if encoding in ENCODINGS else kin


def read_report(message: bytes) -> list[MailEvent]:
    """Return what a report says, recipient by recipient.

    Args:
        message: the whole mail, as it came.

    Returns:
        Its events; none where it says of nobody anything that counts here, such as that a mail was no spam.

    Raises:
        PermanentError: it is no report, or too damaged or too tangled to be read.
    """
    try:
        return _read(message)
    except PermanentError:
        raise
    except Exception as error:  # anybody may have written it, and the parser promises nothing
        raise PermanentError(f"The report is too damaged to be read: {error!r:.200}.") from error


def _read(message: bytes) -> list[MailEvent]:
    report = _parsed(message)
    parts = [_decoded(part) for part in _parts(report)]
    kinds = {part.get_content_type(): part for part in reversed(parts)}
    common = {
        "event_id": event.known_as(_field(report, "Message-ID") or hashlib.sha256(message).hexdigest()),
        "message_id": _original_id(report, original := _original_headers(kinds)),
        "at": _date(_field(report, "Date")),
    }
    if (status := kinds.get("message/delivery-status")) is not None:
        found = [*_bounces(status)]
        if not found:
            raise PermanentError("The report names no recipient and what became of the mail (RFC 3464 2.3).")
    elif (feedback := kinds.get("message/feedback-report")) is not None:
        found = [*_complaints(feedback, original)]
    else:
        kind = " ".join(report.get_content_type().split())
        raise PermanentError(
            f"The mail is no report of a mail server: it is {kind:.80} and has no part "
            "message/delivery-status (RFC 3464) or message/feedback-report (RFC 5965)."
        )
    spelled = _spellings(original)
    return [replace(one, **common, address=spelled.get(one.address.lower(), one.address)) for one in found]


def _parsed(message: bytes) -> Message:
    """Return the mail with its parts, of which there may be only so many."""
    taken = message[:READ_BYTES]
    if len(CONTAINER.findall(taken)) > MOST_CONTAINERS:
        raise PermanentError(f"The report has over {MOST_CONTAINERS} parts that hold parts, as none of a server has.")
    made = 0

    def make(*given: Any, **more: Any) -> Message:
        nonlocal made
        made += 1
        if made > MOST_PARTS:
            raise PermanentError(f"The report has over {MOST_PARTS} parts, as none of a server has.")
        return _Part(*given, **more)

    return BytesParser(make, policy=UTF8).parsebytes(taken)


def _decoded(part: Message) -> Message:
    """Return a part as its content says that it is, where that is encoded for a way of 7 bits (RFC 6533)."""
    encoded, _, kind = part.get_content_type().partition(ENCODED)
    if encoded or not kind:
        return part
    content = cast("bytes | None", part.get_payload(decode=True)) or b""
    return _parsed(f"Content-Type: {kind}\n\n".encode("ascii") + content)


def _parts(part: Message) -> Iterator[Message]:
    """Yield the parts of a mail, not those of a mail in it."""
    yield part
    if part.get_content_maintype() == "multipart":
        for inner in _inner(part):
            yield from _parts(inner)


def _inner(part: Message) -> list[Message]:
    """Return the parts in a part, or the blocks of fields in a report."""
    payload: Any = part.get_payload()
    return cast("list[Message]", payload) if isinstance(payload, list) else []


def _original_headers(kinds: Mapping[str, Message]) -> Message | None:
    """Return the headers of the mail that the report is about, where it has them."""
    if (whole := kinds.get("message/rfc822")) is not None:
        return next(iter(_inner(whole)), None)
    if (headers := kinds.get("text/rfc822-headers")) is not None:
        content = cast("bytes | None", headers.get_payload(decode=True)) or b""
        return BytesHeaderParser(policy=UTF8).parsebytes(content.lstrip())
    return None


def _original_id(report: Message, original: Message | None) -> str | None:
    """Return the Message-ID of the mail that the report is about; some name it in their own headers only."""
    named = "" if original is None else _field(original, "Message-ID")
    named = named or _field(report, "In-Reply-To") or _field(report, "References")
    return event.message_id(named.split()[-1]) if named.split() else None


def _spellings(original: Message | None) -> dict[str, str]:
    """Return the addresses as the mail itself has them, by their lower case: its deliveries have those."""
    fields = [] if original is None else [*original.get_all("To", []), *original.get_all("Cc", [])]
    named = [found for one in fields[:MOST_ADDRESSES] for found in ADDRESS.findall(_text(one))]
    return {one.lower(): one for one in reversed(named)}


def _bounces(status: Message) -> Iterator[MailEvent]:
    """Yield what became of each recipient (RFC 3464 2.3)."""
    for block in _inner(status):
        address = _recipient(_field(block, "Original-Recipient")) or _recipient(_field(block, "Final-Recipient"))
        said, diagnostic = _field(block, "Status"), _field(block, "Diagnostic-Code")
        enhanced = event.enhanced(said)
        if enhanced is None or enhanced.endswith(".0.0"):  # which says nothing
            enhanced = event.enhanced(diagnostic) or enhanced
        kind = _kind(_field(block, "Action"), enhanced)
        if not address or kind is None:
            continue
        reply = SMTP_REPLY.match(diagnostic)
        code = int(reply["code"]) if reply else None
        hard = kind == "bounced" and is_hard_bounce(code, enhanced)
        yield MailEvent(kind, address, "", hard, code, enhanced, event.text(diagnostic or said))


def _kind(action: str, enhanced: str | None) -> Kind | None:
    """Return what an Action says; one that is missing or damaged is told by the status."""
    words = action.lower().split()
    if words and words[0] in {*ACTIONS, "relayed"}:
        return ACTIONS.get(words[0])
    return None if enhanced is None else BY_CLASS[enhanced[0]]


def _complaints(feedback: Message, original: Message | None) -> Iterator[MailEvent]:
    """Yield who complains (RFC 5965 3); where that is left out, it is the only recipient of the mail itself."""
    for fields in _inner(feedback)[:1]:
        kind = FEEDBACK.get(_field(fields, "Feedback-Type").lower())
        told = fields.get_all("Original-Rcpt-To", []) or fields.get_all("Removal-Recipient", [])
        if not told and original is not None:
            told = original.get_all("To", [])[:1]
            told = told if len(ADDRESS.findall(_text(told[0]) if told else "")) == 1 else []
        if kind is not None:
            addresses = dict.fromkeys(found for one in told[:MOST_ADDRESSES] for found in ADDRESS.findall(_text(one)))
            for address in addresses:
                yield MailEvent(kind, address, "", text=_field(fields, "Feedback-Type"))


def _recipient(value: str) -> str:
    """Return the address in `rfc822; ann@example.com` or `utf-8; …`; an empty text for every other type of address."""
    kind, _, address = value.partition(";")
    kind = kind.strip().lower()
    if kind == "utf-8":
        address = UNICODE_LETTER.sub(_letter, address)
    found = ADDRESS.search(address)
    return found[0] if found and kind in {"rfc822", "utf-8"} else ""


def _letter(written: re.Match[str]) -> str:
    """Return the letter that is written as its number; what is none stays as it is."""
    point = int(written["point"], 16)
    is_letter = point <= sys.maxunicode and not 0xD800 <= point <= 0xDFFF  # noqa: PLR2004 - halves of letters in UTF-16
    return chr(point) if is_letter else written[0]


def _field(part: Message, name: str) -> str:
    """Return a header or a field in one line, or an empty text."""
    return _text(part.get(name, ""))


def _text(value: object) -> str:
    return " ".join(str(value)[:LONGEST_FIELD].split())  # the parser promises no text


def _date(value: str) -> datetime | None:
    try:
        return parsedate_to_datetime(value).astimezone(UTC) if value else None
    except (ValueError, OverflowError):
        return None
