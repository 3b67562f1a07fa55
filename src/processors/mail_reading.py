"""A mail that was written, taken apart for somebody to look at: its header, its text, its page and what is enclosed."""

import html
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser
from email.policy import default
from typing import Any

from processors.errors import PermanentError

MOST_PICTURE_BYTES = 10_000_000
"""Of all pictures that are written into a page, each as often as the page shows it."""

CID = re.compile(r"cid:([^\s\"'<>)]{1,200})", re.IGNORECASE)
PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class UnreadableMail(PermanentError):
    """What is to be looked at is no mail that can be taken apart."""


@dataclass(frozen=True, slots=True)
class MailPart:
    """What is enclosed in a mail.

    Attributes:
        content: its bytes.
    """

    name: str
    type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class OpenedMail:
    """A mail taken apart.

    Attributes:
        headers: all of them, in their order.
        text: as plain text, where it has that.
        html: as a page, where it has that; its own pictures are in it.
        parts: what is enclosed, pictures of the page too.
    """

    headers: Sequence[tuple[str, str]]
    text: str | None
    html: str | None
    parts: Sequence[MailPart]


def header_of(beginning: bytes) -> tuple[str, str, str]:
    """Return subject, sender and recipients that the beginning of a mail says; empty texts where it is none."""
    try:
        header = BytesHeaderParser(policy=default).parsebytes(beginning)
        return _said(header, "Subject"), _said(header, "From"), _said(header, "To")
    except Exception:  # noqa: BLE001 - the parser raises whatever comes to it where a mail is none
        return "", "", ""


def opened(content: bytes) -> OpenedMail:
    """Take a mail apart.

    Raises:
        UnreadableMail: it is none.
    """
    try:
        return _opened(BytesParser(policy=default).parsebytes(content))
    except Exception as error:  # the parser raises whatever comes to it where a mail is none
        raise UnreadableMail("The mail cannot be taken apart; it can be saved as it is.") from error


def _opened(message: EmailMessage) -> OpenedMail:
    text, page = message.get_body(("plain",)), message.get_body(("html",))
    parts: list[MailPart] = []
    pictures: dict[str, MailPart] = {}
    for part in message.walk():
        if part.is_multipart() or part is text or part is page:
            continue
        content = part.get_payload(decode=True)
        content = content if isinstance(content, bytes) else b""
        parts.append(MailPart(part.get_filename() or "", part.get_content_type(), content))
        if part.get_content_type() in PICTURES:
            pictures[str(part.get("Content-ID", "")).strip("<> ")] = parts[-1]
    return OpenedMail(
        [(name, str(value)) for name, value in message.items()],
        None if text is None else str(text.get_content()),
        None if page is None else _with_pictures(str(page.get_content()), pictures),
        parts,
    )


def _with_pictures(page: str, pictures: Mapping[str, MailPart]) -> str:
    """Return a page in which the mail's own pictures are, instead of their names, as far as there is room."""
    left = MOST_PICTURE_BYTES

    def shown(found: re.Match[str]) -> str:
        nonlocal left
        picture = pictures.get(html.unescape(found[1]))
        if picture is None or len(picture.content) > left:
            return found[0]
        left -= len(picture.content)
        return f"data:{picture.type};base64,{b64encode(picture.content).decode()}"

    return CID.sub(shown, page)


def _said(header: Any, name: str) -> str:
    return str(header.get(name, ""))
