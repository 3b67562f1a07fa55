"""Mail (RFC 5322): its headers, its text, and what is attached to it."""

import hashlib
from collections.abc import Mapping
from email import policy
from email.parser import BytesParser
from typing import Any, BinaryIO, cast

from processors.document_formats.content import Allowance, Content, Page
from processors.document_formats.html_page import parsed, shown
from processors.document_formats.text import decode
from processors.interfaces import Report

HEADERS = ("from", "to", "cc", "subject", "date", "message-id", "in-reply-to")
AS_WRITTEN = policy.default.clone(refold_source="none")
HEADER_FAULTS = (ValueError, TypeError, LookupError, AttributeError)


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read a mail."""
    report(10, "reading the mail")
    content = Content(engine="python email")
    mail: Any = BytesParser(policy=AS_WRITTEN).parse(file)
    content.pages.append(Page(1, Allowance(options, content).take(_text(mail))))
    if options["extract_metadata"]:
        found = {name: _header(mail, name) for name in HEADERS}
        content.metadata = {name: value for name, value in found.items() if value}
    content.attachments = [_attachment(part) for part in _attached(mail)]
    return content


def _header(mail: Any, name: str) -> str | None:
    """Return a header's text; one that the parser stumbles over, or that is not ASCII, as it was written."""
    raw = next((str(value) for key, value in mail.raw_items() if key.lower() == name), None)
    if raw is None:
        return None
    if not raw.isascii():
        return decode(raw.encode("ascii", "surrogateescape"))[0].strip()
    try:
        return str(mail[name])
    except HEADER_FAULTS:
        return " ".join(raw.split())


def _text(mail: Any) -> str:
    body = mail.get_body(("plain", "html"))
    if body is not None:
        return _part_text(body)
    broken = mail.get_content_maintype() == "multipart" and isinstance(mail.get_payload(), str)
    return _part_text(mail) if broken else ""


def _part_text(part: Any) -> str:
    raw = cast("bytes", part.get_payload(decode=True) or b"")
    if part.get_content_type() == "text/html":
        return shown(parsed(raw))
    charset = part.get_content_charset()
    try:
        return raw.decode(charset) if charset else decode(raw)[0]
    except (LookupError, UnicodeDecodeError):
        return decode(raw)[0]


def _attached(mail: Any) -> list[Any]:
    """Return the attachments; a mail that is nothing but a file has that one."""
    if mail.get_content_maintype() not in {"text", "multipart"}:
        return [mail]
    return list(mail.iter_attachments())


def _attachment(part: Any) -> dict[str, Any]:
    inner: Any = part.get_payload(0) if part.get_content_type() == "message/rfc822" and part.is_multipart() else None
    whole = inner if inner is not None else part
    raw: bytes = whole.as_bytes() if whole.is_multipart() or inner is not None else part.get_payload(decode=True) or b""
    return {
        "name": part.get_filename() or (_header(inner, "subject") if inner is not None else None),
        "type": part.get_content_type(),
        "bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
