"""The outbox: mail that was written into files instead of sent, listed and taken apart."""

import html
import os
import re
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

from adapters.outbox_mailer import MAIL_ID
from config.settings import settings
from processors.errors import InvalidArgument, PermanentError

ENDING = ".eml"
MOST_HEADER_BYTES = 256_000
MOST_BYTES = 40_000_000
"""Of a mail that is taken apart; a larger one can be saved."""

MOST_INLINE_BYTES = 10_000_000
PLACE = re.compile(r"([0-9]{1,19})\.([A-Za-z0-9_-]{1,200})")
CID = re.compile(r"cid:([^\s\"'<>)]{1,200})", re.IGNORECASE)
TASK = re.compile(r"(.+)-[0-9]+")
PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class UnreadableMail(PermanentError):
    """A file of the outbox is no mail that can be taken apart."""


@dataclass(frozen=True, slots=True)
class MailRow:
    """A mail as a list shows it.

    Attributes:
        task_id: of what wrote it.
        to: the addresses of its header.
    """

    id: str
    task_id: str
    at: datetime
    bytes: int
    subject: str
    sender: str
    to: str


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
class Mail:
    """A mail taken apart.

    Attributes:
        row: as a list shows it.
        headers: all of them, in their order.
        text: as plain text, where it has that.
        html: as a page, where it has that; its own pictures are in it.
        parts: what is enclosed, pictures of the page too.
    """

    row: MailRow
    headers: Sequence[tuple[str, str]]
    text: str | None
    html: str | None
    parts: Sequence[MailPart]


def listed(most: int, before: str = "") -> tuple[Sequence[MailRow], str | None]:
    """Return the newest mails, and what leads to those before them, or None.

    Args:
        most: at most so many.
        before: what an earlier call returned.

    Raises:
        InvalidArgument: `before` is none of that.
    """
    place = _place(before)
    found = sorted((one for one in _files() if place is None or one < place), reverse=True)[: most + 1]
    rows = [row for row in (_row(mail_id) for _, mail_id in found[:most]) if row is not None]
    last = f"{found[most - 1][0]}.{found[most - 1][1]}" if len(found) > most else None
    return rows, last


def path_of(mail_id: str) -> Path | None:
    """Return where a mail's file is; None where there is none."""
    if not MAIL_ID.fullmatch(mail_id):
        return None
    path = settings.outbox_dir / f"{mail_id}{ENDING}"
    return path if path.is_file() and not path.is_symlink() else None


def mail(mail_id: str) -> Mail | None:
    """Take a mail apart; None where there is none.

    Raises:
        UnreadableMail: it is too large, or is no mail.
    """
    path = path_of(mail_id)
    row = None if path is None else _row(mail_id)
    if path is None or row is None:
        return None
    if row.bytes > MOST_BYTES:
        raise UnreadableMail(f"The mail has more than {MOST_BYTES // 1_000_000} MB, and can only be saved.")
    try:
        return _taken_apart(row, BytesParser(policy=default).parsebytes(path.read_bytes()))
    except FileNotFoundError:
        return None
    except Exception as error:  # the parser raises whatever comes to it where a mail is none
        raise UnreadableMail("The mail cannot be taken apart; it can be saved as it is.") from error


def _taken_apart(row: MailRow, message: EmailMessage) -> Mail:
    text, page = message.get_body(("plain",)), message.get_body(("html",))
    parts: list[MailPart] = []
    pictures: dict[str, str] = {}
    for part in message.walk():
        if part.is_multipart() or part is text or part is page:
            continue
        content = part.get_payload(decode=True)
        content = content if isinstance(content, bytes) else b""
        parts.append(MailPart(part.get_filename() or "", part.get_content_type(), content))
        if part.get_content_type() in PICTURES and len(content) <= MOST_INLINE_BYTES:
            address = f"data:{part.get_content_type()};base64,{b64encode(content).decode()}"
            pictures[str(part.get("Content-ID", "")).strip("<> ")] = address
    return Mail(
        row,
        [(name, str(value)) for name, value in message.items()],
        None if text is None else str(text.get_content()),
        None if page is None else _with_pictures(str(page.get_content()), pictures),
        parts,
    )


def _with_pictures(page: str, pictures: dict[str, str]) -> str:
    """Return a page in which the mail's own pictures are, instead of their names."""
    return CID.sub(lambda found: pictures.get(html.unescape(found[1]), found[0]), page)


def _place(before: str) -> tuple[int, str] | None:
    if not before:
        return None
    found = PLACE.fullmatch(before)
    if found is None:
        raise InvalidArgument("before: must be what the link to older mails says.")
    return int(found[1]), found[2]


def _files() -> list[tuple[int, str]]:
    """Return when each mail was written, in nanoseconds, and its id."""
    found: list[tuple[int, str]] = []
    with suppress(FileNotFoundError), os.scandir(settings.outbox_dir) as entries:
        for entry in entries:
            mail_id = entry.name.removesuffix(ENDING)
            if entry.name.endswith(ENDING) and MAIL_ID.fullmatch(mail_id):
                with suppress(FileNotFoundError):
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, mail_id))
    return found


def _row(mail_id: str) -> MailRow | None:
    """Read a mail's header; None where it is gone."""
    path = path_of(mail_id)
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            state, beginning = os.fstat(file.fileno()), file.read(MOST_HEADER_BYTES)
    except FileNotFoundError:
        return None
    try:
        header = BytesHeaderParser(policy=default).parsebytes(beginning)
        subject, sender, to = (_said(header, name) for name in ("Subject", "From", "To"))
    except Exception:  # noqa: BLE001 - the parser raises whatever comes to it where a mail is none
        subject, sender, to = "", "", ""
    found = TASK.fullmatch(mail_id)
    at = datetime.fromtimestamp(state.st_mtime, UTC)
    return MailRow(mail_id, found[1] if found else mail_id, at, state.st_size, subject, sender, to)


def _said(header: Any, name: str) -> str:
    return str(header.get(name, ""))
