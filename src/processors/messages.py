"""Composing a mail: the same request gives the same bytes, and nothing in them was not asked for."""

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.utils import format_datetime
from html.parser import HTMLParser
from typing import Any

from processors.addresses import Recipient
from processors.errors import PermanentError

WIRE = policy.SMTP.clone(cte_type="7bit")
"""CRLF, lines of at most 998 octets, and nothing but ASCII: every server takes it (RFC 5321, RFC 5322)."""

HTML_START = re.compile(
    r"\s*(<!doctype html|<(html|head|body|div|p|table|h[1-6]|span|ul|ol|section|article|center|b|strong|em|a|img|br)\b"
    r"[^>]*>)",
    re.IGNORECASE,
)
BLOCKS = {"p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "section", "article"}
HIDDEN = {"script", "style", "head", "title"}
BASE_HEADERS = {"from", "subject", "date", "message-id", "mime-version", "content-type", "content-transfer-encoding"}


def is_html(body: str) -> bool:
    """Tell whether a body is HTML: it begins with a document type or a common tag."""
    return HTML_START.match(body) is not None


def message_id(mail_id: str, sender: str) -> str:
    """Return the Message-ID of a mail, the same for every attempt (RFC 5322 3.6.4)."""
    name = base64.b32encode(hashlib.sha256(mail_id.encode()).digest())[:26].decode().lower()
    return f"<{name}@{sender.rsplit('@', 1)[-1]}>"


def compose(
    sender: Address, recipients: Sequence[Recipient], subject: str, body: str, *, mail_id: str, date: datetime
) -> bytes:
    """Return the complete message; Bcc recipients are nowhere in it.

    Args:
        sender: the author.
        recipients: checked addresses.
        subject: a checked line.
        body: plain text, or HTML, which gets a text part beside it.
        mail_id: decides the Message-ID and the boundary.
        date: when the mail was submitted.

    Raises:
        PermanentError: the bytes have another header than those asked for.
    """
    message = EmailMessage(policy=WIRE)
    message["From"] = sender
    for role in ("to", "cc"):
        if visible := [recipient.header for recipient in recipients if recipient.role == role]:
            message[role.capitalize()] = visible
    message["Subject"] = subject
    message["Date"] = format_datetime(date)
    message["Message-ID"] = message_id(mail_id, sender.addr_spec)
    text = text_of(body) if is_html(body) else body
    message.set_content(text)
    if is_html(body):
        message.add_alternative(body, subtype="html")
        message.set_boundary(hashlib.sha256(f"{mail_id}:boundary".encode()).hexdigest()[:32])
    content = message.as_bytes()
    _check_headers(content, BASE_HEADERS | {r.role for r in recipients if r.role != "bcc"})
    return content


def text_of(html: str) -> str:
    """Return the readable text of an HTML body; links are followed by their address."""
    reader = _TextReader()
    reader.feed(html)
    reader.close()
    lines = (re.sub(r"[ \t\r\f\v]+", " ", line).strip() for line in "".join(reader.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


class _TextReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0
        self._link: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in HIDDEN:
            self._hidden += 1
        elif tag in BLOCKS:
            self.parts.append("\n")
        elif tag == "a":
            self._link = dict(attrs).get("href")

    def handle_endtag(self, tag: str) -> None:
        if tag in HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in BLOCKS:
            self.parts.append("\n")
        elif tag == "a" and self._link:
            self.parts.append(f" ({self._link})")
            self._link = None

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data.replace("\n", " "))


def _check_headers(content: bytes, allowed: set[str]) -> None:
    """Read the header block back: a header that was not asked for was injected."""
    parsed: Any = BytesHeaderParser(policy=policy.compat32).parsebytes(content)
    found = [name.lower() for name in parsed.keys()]  # noqa: SIM118 - a message, not a dict
    if len(found) != len(set(found)) or not set(found) <= allowed:
        raise PermanentError(
            f"The mail would carry headers nobody asked for: {', '.join(sorted(set(found) - allowed))}."
        )
