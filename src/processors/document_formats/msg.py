"""Mail as Outlook keeps it (MS-OXMSG): turned into mail as it is sent, and read as that."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, BinaryIO

from processors.compound_files import opened
from processors.document_formats import compressed_rtf, rtf
from processors.document_formats.content import Content
from processors.document_formats.mail import AS_WRITTEN, read_message
from processors.envelopes import warning
from processors.errors import FileError
from processors.interfaces import Report

PROPERTIES = "__properties_version1.0"
ENTRY = struct.Struct("<HHI8s")
HEADER_BYTES = {"root": 32, "message": 24, "other": 8}
"""What stands before the entries of a property stream (2.4.1)."""

INTEGER, TEXT_8, TEXT_16, TIME, BINARY = 0x0003, 0x001E, 0x001F, 0x0040, 0x0102
SUBJECT, BODY, HTML, RICH, MESSAGE_ID, IN_REPLY_TO = 0x0037, 0x1000, 0x1013, 0x1009, 0x1035, 0x1042
SENDER = (0x0C1A, (0x5D01, 0x5D02, 0x0C1F, 0x0065))
DISPLAY = {"To": 0x0E04, "Cc": 0x0E03}
SENT, RECEIVED = 0x0039, 0x0E06
CODE_PAGE, INTERNET_CODE_PAGE = 0x3FFD, 0x3FDE
RECIPIENT_TYPE, RECIPIENT_NAME, RECIPIENT_ADDRESSES = 0x0C15, 0x3001, (0x39FE, 0x3003)
RECIPIENTS = {1: "To", 2: "Cc", 3: "Bcc"}
ATTACHED_DATA, ATTACHED_NAMES, ATTACHED_TYPE = 0x3701, (0x3707, 0x3704, 0x3001), 0x370E
ATTACHED_MESSAGE = "__substg1.0_3701000D"
RECIPIENT, ATTACHMENT = "__recip_version1.0_#", "__attach_version1.0_#"

EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
LARGEST_STREAM = 256 * 1024**2
MOST_RECIPIENTS, MOST_ATTACHMENTS = 1_000, 1_000
DEEPEST_MESSAGE = 10
UNKNOWN_TYPE = "application/octet-stream"


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read a message.

    Raises:
        FileError: the compound file is damaged.
    """
    report(10, "reading the message")
    problems: list[dict[str, Any]] = []
    with opened(file) as compound:
        message = _Storage.read(compound, (), "root").message(problems)
    content = read_message(message, options)
    content.engine = "olefile, python email"
    content.warnings += problems
    return content


@dataclass(slots=True)
class _Storage:
    """One storage of the compound file: a message, a recipient or an attachment, with its properties by their ids."""

    compound: Any
    path: tuple[str, ...]
    codepage: str = "cp1252"
    values: dict[int, tuple[int, bytes]] = field(default_factory=dict[int, tuple[int, bytes]])
    depth: int = 0

    @classmethod
    def read(
        cls, compound: Any, path: tuple[str, ...], kind: str, codepage: str = "cp1252", depth: int = 0
    ) -> "_Storage":
        """Read the fixed properties; what is broken in them is as if it were not there."""
        storage = cls(compound, path, codepage, depth=depth)
        name = [*path, PROPERTIES]
        raw: bytes = storage.stream(name) if compound.exists(name) else b""
        body = raw[HEADER_BYTES[kind] :]
        for kind_, id_, _, value in ENTRY.iter_unpack(body[: len(body) - len(body) % ENTRY.size]):
            storage.values[id_] = (kind_, value)
        storage.codepage = _codepage(storage.integer(CODE_PAGE)) or codepage
        return storage

    def stream(self, path: list[str]) -> bytes:
        """Return a stream's bytes.

        Raises:
            FileError: it is too large.
        """
        if self.compound.get_size(path) > LARGEST_STREAM:
            raise FileError(f"A part of the message has more than {LARGEST_STREAM // 1024**2} MB.", "too_large")
        return bytes(self.compound.openstream(path).read())

    def variable(self, id_: int, kind: int) -> bytes | None:
        """Return a property that has a stream of its own, or None."""
        path = [*self.path, f"__substg1.0_{id_:04X}{kind:04X}"]
        return self.stream(path) if self.compound.get_type(path) == 2 else None  # noqa: PLR2004 - STGTY_STREAM

    def text(self, *ids: int) -> str:
        """Return the first of these texts that says something."""
        for id_ in ids:
            if wide := self.variable(id_, TEXT_16):
                return wide.decode("utf-16-le", "replace").strip("\0")
            if narrow := self.variable(id_, TEXT_8):
                return narrow.decode(self.codepage, "replace").strip("\0")
        return ""

    def integer(self, id_: int) -> int | None:
        """Return a number, or None."""
        kind, value = self.values.get(id_, (0, b""))
        return int.from_bytes(value[:4], "little") if kind == INTEGER else None

    def time(self, *ids: int) -> datetime | None:
        """Return the first of these moments that there is."""
        for id_ in ids:
            kind, value = self.values.get(id_, (0, b""))
            ticks = int.from_bytes(value, "little")
            if kind == TIME and 0 < ticks < 2**63:
                try:
                    return EPOCH + timedelta(microseconds=ticks // 10)
                except OverflowError:
                    continue
        return None

    def children(self, beginning: str, most: int) -> list[tuple[str, ...]]:
        """Return the paths of the storages here whose name begins so."""
        here = len(self.path)
        inside = (path for path in self.compound.listdir(streams=False, storages=True) if len(path) == here + 1)
        found = [tuple(path) for path in inside if tuple(path[:here]) == self.path and path[here].startswith(beginning)]
        return found[:most]

    def message(self, problems: list[dict[str, Any]]) -> EmailMessage:
        """Return this message as mail; what is lost on the way is told in `problems`."""
        mail = EmailMessage(policy=AS_WRITTEN)
        for name, value in self._headers():
            _set(mail, name, value)
        self._set_body(mail, problems)
        for path in self.children(ATTACHMENT, MOST_ATTACHMENTS):
            attachment = _Storage.read(self.compound, path, "other", self.codepage, self.depth)
            try:
                attachment.attach_to(mail, problems)
            except (FileError, OSError, ValueError, LookupError) as error:
                message = f"An attachment of the message cannot be read: {error}"
                problems.append(warning("attachment_unread", message))
        return mail

    def _headers(self) -> Iterator[tuple[str, str]]:
        yield "Subject", self.text(SUBJECT)
        name, addresses = SENDER
        yield "From", _mailbox(self.text(name), self.text(*addresses))
        recipients: dict[str, list[str]] = {}
        for path in self.children(RECIPIENT, MOST_RECIPIENTS):
            one = _Storage.read(self.compound, path, "other", self.codepage)
            mailbox = _mailbox(one.text(RECIPIENT_NAME), one.text(*RECIPIENT_ADDRESSES))
            recipients.setdefault(RECIPIENTS.get(one.integer(RECIPIENT_TYPE) or 1, "To"), []).append(mailbox)
        for header, id_ in DISPLAY.items():
            yield header, ", ".join(filter(None, recipients.get(header, []))) or self.text(id_)
        sent = self.time(SENT, RECEIVED)
        yield "Date", format_datetime(sent) if sent else ""
        yield "Message-ID", self.text(MESSAGE_ID)
        yield "In-Reply-To", self.text(IN_REPLY_TO)

    def _set_body(self, mail: EmailMessage, problems: list[dict[str, Any]]) -> None:
        """Set the plain text, and HTML as its alternative; rich text only where there is neither."""
        plain, html = self.text(BODY).replace("\r\n", "\n"), self._html()
        if not plain and not html and (rich := self.variable(RICH, BINARY)):
            try:
                plain = rtf.body_text(compressed_rtf.unpacked(rich))
            except FileError as error:
                problems.append(warning("text_unread", str(error)))
        if plain or not html:
            mail.set_content(plain.encode("utf-8", "replace"), "text", "plain", cte="8bit", params={"charset": "utf-8"})
        if html:
            raw, charset = html
            add = mail.add_alternative if plain else mail.set_content
            add(raw, "text", "html", cte="8bit", params={"charset": charset} if charset else {})

    def _html(self) -> tuple[bytes, str | None] | None:
        raw = self.variable(HTML, BINARY)
        if raw:
            return raw, _codepage(self.integer(INTERNET_CODE_PAGE))
        text = self.text(HTML)
        return (text.encode("utf-8", "replace"), "utf-8") if text else None

    def attach_to(self, mail: EmailMessage, problems: list[dict[str, Any]]) -> None:
        """Add this attachment to a mail; a message inside is read as deep as ten of them lie in each other."""
        name = _one_line(self.text(*ATTACHED_NAMES)) or None
        inner = (*self.path, ATTACHED_MESSAGE)
        if self.compound.get_type(list(inner)) == 1:
            if self.depth + 1 >= DEEPEST_MESSAGE:
                raise FileError(f"messages lie in each other more than {DEEPEST_MESSAGE} deep.", "archive_depth")
            message = _Storage.read(self.compound, inner, "message", self.codepage, self.depth + 1).message(problems)
            mail.add_attachment(message, filename=name)
            return
        raw = self.variable(ATTACHED_DATA, BINARY) or b""
        main, _, sub = (_one_line(self.text(ATTACHED_TYPE)) or UNKNOWN_TYPE).partition("/")
        good = main.isalnum() and sub and main not in {"multipart", "message"}
        main, sub = (main, sub) if good else ("application", "octet-stream")
        mail.add_attachment(raw, main, sub, filename=name)


def _mailbox(name: str, address: str) -> str:
    """Return a name with its address; one of Exchange's own (`/O=…`) is none that a reader can use."""
    usable = address if "@" in address else ""
    if name and usable and name != usable:
        return f"{name} <{usable}>"
    return usable or name


def _set(mail: EmailMessage, name: str, value: str) -> None:
    if line := _one_line(value):
        mail[name] = line


def _one_line(value: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in value).split())


def _codepage(number: int | None) -> str | None:
    """Return the encoding of a Windows code page, or None where Python has none of that number."""
    names = {65001: "utf-8", 20127: "ascii", 28591: "latin-1", 20866: "koi8-r", 50220: "iso2022_jp", 51932: "euc_jp"}
    if number is None:
        return None
    name = names.get(number, f"cp{number}")
    try:
        "".encode(name)
    except LookupError:
        return None
    return name
