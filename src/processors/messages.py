"""Composing a mail: the same request gives the same bytes, and nothing in them was not asked for."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.utils import format_datetime
from functools import lru_cache
from html.parser import HTMLParser

from processors.addresses import Recipient
from processors.built_bodies import BuiltBodies
from processors.errors import PermanentError
from processors.mail_headers import address_line, extra_line, text_line
from processors.mail_interfaces import Signer
from processors.mail_parts import Body, build

HTML_START = re.compile(
    r"(?>\s|\ufeff|<!--.*?-->|<\?xml\b[^>]*>)*+<(!doctype html|"  # each part is taken once: no body can slow this down
    r"(html|head|body|div|p|table|h[1-6]|span|ul|ol|section|article|center|b|strong|em|a|img|br)(?=[\s/>]))[^>]*>",
    re.IGNORECASE | re.DOTALL,
)
BLOCKS = {"p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "section", "article"}
HIDDEN = {"script", "style", "head", "title"}
HEADER_FIELD = re.compile(r"(([!-9;-~]+):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*+)")
"""A field with the lines that it is folded to (RFC 5322 2.2); a line break of any other kind ends none."""

ENDLESS_NUMBER = re.compile(r"&#\d{1000,};?")
"""Of no character, and Python reads none of more than 4 300 digits (HTML 13.2.5.80 has the replacement character)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One mail, checked: what its bytes are made of.

    Attributes:
        sender: the author.
        recipients: those in Bcc are nowhere in the bytes.
        subject: a checked line.
        body: what it says and encloses.
        reply_to: who gets the answers, where that is not the author.
        headers: checked further fields, by their names.
        unsubscribe: the addresses of `List-Unsubscribe`: an https one, and perhaps a mailto one.
    """

    sender: Address
    recipients: Sequence[Recipient]
    subject: str
    body: Body
    reply_to: Sequence[Address] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    unsubscribe: Sequence[str] = ()


def is_html(body: str) -> bool:
    """Tell whether a body is HTML: it begins with a document type or a common tag."""
    return HTML_START.match(body) is not None


@lru_cache(maxsize=4_096)
def message_id(mail_id: str, sender: str) -> str:
    """Return the Message-ID of a mail, the same for every attempt (RFC 5322 3.6.4)."""
    name = base64.b32encode(hashlib.sha256(mail_id.encode()).digest())[:26].decode().lower()
    return f"<{name}@{sender.rsplit('@', 1)[-1]}>"


def compose(message: Message, *, mail_id: str, date: datetime, signer: Signer | None = None) -> bytes:
    """Return the complete message.

    Args:
        message: what it says, and to whom.
        mail_id: decides the Message-ID.
        date: when the mail was submitted.
        signer: signs it, where one is given.

    Raises:
        PermanentError: the bytes have other headers than those asked for.
    """
    body = _bodies.built(message.body)
    lines = [*_lines(message, mail_id, date), *body.lines, "MIME-Version: 1.0"]
    asked = [line.partition(":")[0] for line in lines]
    if signer is not None:
        lines = [signer.sign(lines, body.body_hash, date), *lines]
        asked = ["DKIM-Signature", *asked]
    head = "\r\n".join([*lines, "", ""])
    _check_headers(head, asked)
    return head.encode("ascii") + body.content


def text_part(body: Body) -> str:
    """Return the text that a mail with this body shows where pages are not shown."""
    return text_of(body.html or "") if body.text is None else body.text


_bodies = BuiltBodies(lambda body: build(body, text_part(body)))


def _lines(message: Message, mail_id: str, date: datetime) -> list[str]:
    """Return a message's own header fields, without those that say what its body is."""
    visible = {role: [one.header for one in message.recipients if one.role == role] for role in ("to", "cc")}
    addresses = {"From": [message.sender], "To": visible["to"], "Cc": visible["cc"], "Reply-To": message.reply_to}
    lines = [
        *(address_line(name, some) for name, some in addresses.items() if some),
        text_line("Subject", message.subject),
        f"Date: {_shown(date)}",
        f"Message-ID: {message_id(mail_id, message.sender.addr_spec)}",
        *(extra_line(name, text) for name, text in message.headers.items()),
    ]
    if message.unsubscribe:
        lines.append("List-Unsubscribe: " + ",\r\n ".join(f"<{address}>" for address in message.unsubscribe))
        lines.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")  # RFC 8058 3.1
    return lines


_shown = lru_cache(maxsize=16)(format_datetime)  # the mails of a bulk have one Date


def _check_headers(head: str, asked: list[str]) -> None:
    """Read the headers back: those that were asked for, and no other, with nothing between them."""
    fields: list[tuple[str, str]] = HEADER_FIELD.findall(head)
    found = [name for _, name in fields]
    if found != asked or "".join([field for field, _ in fields]) + "\r\n" != head:
        raise PermanentError(f"The mail would carry other headers than were asked for: {', '.join(found)}.")


def text_of(html: str) -> str:
    """Return the readable text of an HTML body; links are followed by their address."""
    reader = _TextReader()
    reader.feed(_ended(ENDLESS_NUMBER.sub("\N{REPLACEMENT CHARACTER}", html)))
    reader.close()
    lines = (re.sub(r"[ \t\r\f\v]+", " ", line).strip() for line in "".join(reader.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _ended(html: str) -> str:
    """Return a page in which what never ends is text: the parser would look for its end anew at every one of them."""
    for begin, end in (("<!--", "-->"), ("<![", "]"), ("<", ">")):
        last = html.rfind(end) + 1
        html = html[:last] + html[last:].replace(begin, "&lt;" + begin[1:])
    return html


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
