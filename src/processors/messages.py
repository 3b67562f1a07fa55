"""Composing a mail: the same request gives the same bytes, and nothing in them was not asked for.

The headers are written here: `email` reads what looks like encoded words in a value before it writes it, and a crafted
one (`=?utf-8?q?=0D…` without its end) comes out as a line of its own.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.utils import format_datetime
from html.parser import HTMLParser
from typing import Any

from processors.addresses import Recipient, decoded
from processors.errors import PermanentError

WIRE = policy.SMTP.clone(cte_type="7bit")
"""CRLF, lines of at most 998 octets, and nothing but ASCII: every server takes it (RFC 5321, RFC 5322)."""

PLAIN_CHARACTERS = 66
WORD_BYTES = 39
"""A header's lines have at most 76 characters where they carry encoded words (RFC 2047 2), so those carry 39 bytes."""

HTML_START = re.compile(
    r"(?>\s|\ufeff|<!--.*?-->|<\?xml\b[^>]*>)*+<(!doctype html|"  # each part is taken once: no body can slow this down
    r"(html|head|body|div|p|table|h[1-6]|span|ul|ol|section|article|center|b|strong|em|a|img|br)(?=[\s/>]))[^>]*>",
    re.IGNORECASE | re.DOTALL,
)
BLOCKS = {"p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "section", "article"}
HIDDEN = {"script", "style", "head", "title"}
BODY_HEADERS = {"mime-version", "content-type", "content-transfer-encoding"}


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
        PermanentError: the bytes have other headers than those asked for.
    """
    visible = {role.capitalize(): [one.header for one in recipients if one.role == role] for role in ("to", "cc")}
    lines = [
        *(_address_line(name, some) for name, some in {"From": [sender], **visible}.items() if some),
        f"Subject: {_words(subject)}",
        f"Date: {format_datetime(date)}",
        f"Message-ID: {message_id(mail_id, sender.addr_spec)}",
    ]
    content = "".join(f"{line}\r\n" for line in lines).encode("ascii") + _body(body, mail_id)
    _check_headers(content, [line.split(":", 1)[0] for line in lines])
    return content


def _body(body: str, mail_id: str) -> bytes:
    """Return the body with the headers that say what it is."""
    message = EmailMessage(policy=WIRE)
    message.set_content(text_of(body) if is_html(body) else body)
    if is_html(body):
        message.add_alternative(body, subtype="html")
        message.set_boundary(hashlib.sha256(f"{mail_id}:boundary".encode()).hexdigest()[:32])
    return message.as_bytes()


def _address_line(name: str, addresses: Sequence[Address]) -> str:
    return f"{name}: " + ",\r\n ".join(_mailbox(address) for address in addresses)


def _mailbox(address: Address) -> str:
    if not address.display_name:
        return address.addr_spec
    name = _words(address.display_name)
    if "=?" not in name:
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'  # a quoted string (RFC 5322 3.2.4)
    return f"{name}\r\n <{address.addr_spec}>"


def _words(text: str) -> str:
    """Return a text as it stands where that is one short plain line, else in encoded words (RFC 2047)."""
    text = decoded(text)
    plain = text.isascii() and text.isprintable() and "=?" not in text
    if plain and text == text.strip() and len(text) <= PLAIN_CHARACTERS:
        return text
    words = (base64.b64encode(part.encode()).decode() for part in _pieces(text))
    return "\r\n ".join(f"=?utf-8?b?{word}?=" for word in words)


def _pieces(text: str) -> Iterator[str]:
    """Cut a text into pieces that fit an encoded word each; no character is cut."""
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or len(text[start : end + 1].encode()) > WORD_BYTES:
            yield text[start:end]
            start = end


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
        elif tag == "body":
            self._hidden = 0  # it ends a head that has no end tag (HTML 13.1.2.4)
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


def _check_headers(content: bytes, asked: list[str]) -> None:
    """Read the headers back: those that were asked for, the body's, and no other."""
    parsed: Any = BytesHeaderParser(policy=policy.compat32).parsebytes(content)
    found: list[str] = list(parsed.keys())
    if found[: len(asked)] != asked or not {name.lower() for name in found[len(asked) :]} <= BODY_HEADERS:
        raise PermanentError(f"The mail would carry other headers than were asked for: {', '.join(found)}.")
