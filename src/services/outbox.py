"""The outbox: mail that was written into files instead of sent, listed and taken apart."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from adapters.outbox_mailer import MAIL_ID
from config.settings import settings
from processors.errors import InvalidArgument
from processors.mail_reading import OpenedMail, UnreadableMail, header_of, opened

ENDING = ".eml"
MOST_HEADER_BYTES = 256_000
MOST_BYTES = 40_000_000
"""Of a mail that is taken apart; a larger one can be saved."""

PLACE = re.compile(r"([0-9]{1,19})\.([A-Za-z0-9_-]{1,200})")
TASK = re.compile(r"(.+)-[0-9]+")


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
class Mail(OpenedMail):
    """A mail taken apart, and as a list shows it."""

    row: MailRow


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
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    found = opened(content)
    return Mail(found.headers, found.text, found.html, found.parts, row)


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
    found = TASK.fullmatch(mail_id)
    at = datetime.fromtimestamp(state.st_mtime, UTC)
    return MailRow(mail_id, found[1] if found else mail_id, at, state.st_size, *header_of(beginning))
