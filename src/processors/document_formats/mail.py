"""Mail (RFC 5322): its headers, its text, and what is attached to it."""

import re
from collections.abc import Iterator, Mapping
from email import policy
from email.headerregistry import HeaderRegistry
from email.parser import Parser
from io import TextIOWrapper
from typing import Any, BinaryIO, cast

from processors.document_formats.content import Allowance, Attached, Content, Page
from processors.document_formats.html_page import parsed, shown
from processors.document_formats.text import decode, decode_as
from processors.errors import FileError
from processors.interfaces import Report

HEADERS = ("from", "to", "cc", "subject", "date", "message-id", "in-reply-to")
SHOWN = {"text/plain", "text/html"}
ESCAPED = re.compile("[\udc80-\udcff]")
"""Bytes beyond ASCII, as the parser keeps them."""

LINE_END = re.compile("\r\n?")

HEADER_FAULTS = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
LONGEST_PARSED = 20_000
"""Characters of a header that is parsed: the time that takes grows with the square of its length."""

ENCODING = re.compile(r"\*=[^';=]*'")
"""Of a header's parameter, where it names one (RFC 2231, 4); none is looked for beyond the next parameter."""


class _Headers(HeaderRegistry):
    """Parses headers with their parameters; those in an encoding that it stumbles over are read as UTF-8."""

    def __call__(self, name: str, value: str) -> Any:
        try:
            return super().__call__(name, value)
        except HEADER_FAULTS:
            return super().__call__(name, ENCODING.sub("*=utf-8'", value))


AS_WRITTEN = policy.default.clone(refold_source="none", header_factory=_Headers())


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read a mail."""
    report(10, "reading the mail")
    text = TextIOWrapper(file, "ascii", "surrogateescape", newline="")  # ends of lines in a file's bytes are none
    try:
        return read_message(Parser(policy=AS_WRITTEN).parse(text), options)
    finally:
        text.detach()


def read_message(mail: Any, options: Mapping[str, Any]) -> Content:
    """Read a mail that was parsed; its attachments are handed on as files inside."""
    content = Content(engine="python email")
    page = Page(1, Allowance(options, content).take(_text(mail)), title=_header(mail, "subject"))
    content.pages.append(page)
    if options["extract_metadata"]:
        found = {name: _header(mail, name) for name in HEADERS}
        content.metadata = {name: value for name, value in found.items() if value}
    content.attached = [_attachment(part) for part in _attached(mail)]
    return content


def _header(mail: Any, name: str) -> str | None:
    """Return a header's text; one that the parser stumbles over, or that is not ASCII, as it was written."""
    raw = next((str(value) for key, value in mail.raw_items() if key.lower() == name), None)
    if raw is None:
        return None
    if ESCAPED.search(raw):
        return " ".join(_decoded(raw.encode("ascii", "surrogateescape")).split())
    try:
        return str(mail[name]) if len(raw) <= LONGEST_PARSED else " ".join(raw.split())
    except HEADER_FAULTS:
        return " ".join(raw.split())


def _text(part: Any) -> str:
    """Return what a reader sees: every text in line, and of alternatives the first that says something."""
    if not _is_compound(part):
        return LINE_END.sub("\n", _part_text(part)) if _in_line(part) else ""
    texts = [text for inner in part.iter_parts() if (text := _text(inner)).strip()]
    return "\n".join(texts[:1] if part.get_content_subtype() == "alternative" else texts)


def _is_compound(part: Any) -> bool:
    """Tell whether it has parts; one that says so and whose parts cannot be told apart is text."""
    return part.get_content_maintype() == "multipart" and part.is_multipart()


def _in_line(part: Any) -> bool:
    shown = part.get_content_type() in SHOWN or part.get_content_maintype() == "multipart"
    return shown and not part.is_attachment() and part.get_filename() is None


def _part_text(part: Any) -> str:
    raw = cast("bytes", part.get_payload(decode=True) or b"")
    charset = part.get_content_charset()
    if part.get_content_type() == "text/html":
        return shown(parsed(raw, charset))
    known = decode_as(raw, charset) if charset else None
    return known[0] if known else _decoded(raw)


def _decoded(raw: bytes) -> str:
    """Return a header or a part that names no encoding as text; one that is none costs itself, and not the mail."""
    try:
        return decode(raw)[0]
    except FileError:
        return raw.decode("ascii", "replace")


def _attached(part: Any) -> Iterator[Any]:
    """Yield whatever is not shown as text, however deep it lies; a mail that is nothing but a file has that one."""
    if _is_compound(part):
        for inner in part.iter_parts():
            yield from _attached(inner)
    elif not _in_line(part):
        yield part


def _attachment(part: Any) -> Attached:
    inner: Any = part.get_payload(0) if part.get_content_type() == "message/rfc822" and part.is_multipart() else None
    whole = inner if inner is not None else part
    raw: bytes = whole.as_bytes() if whole.is_multipart() or inner is not None else part.get_payload(decode=True) or b""
    name = part.get_filename() or (_header(inner, "subject") if inner is not None else None)
    return Attached(name, raw, part.get_content_type())
