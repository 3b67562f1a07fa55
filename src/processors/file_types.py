"""What a file is: told by its content; its name only decides between kinds of text."""

import re
import zipfile
from pathlib import PurePath
from typing import Any, BinaryIO, cast

import puremagic

from processors.errors import FileError

HEAD_BYTES = 64 * 1024
PDF_MARK_WITHIN = 1024
PDF_MARK = re.compile(rb"(?:\A|[\r\n])[^\r\nA-Za-z]*%PDF-")
OFFICE_PART = re.compile(r"(word/document|xl/workbook|ppt/presentation)\d*\.xml")
OFFICE_KINDS = {"word/document": "docx", "xl/workbook": "xlsx", "ppt/presentation": "pptx"}
COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
RICH_TEXT = b"{\\rtf"
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
WIDE_SAMPLE = 4096
LEAST_NUL_SHARE, LEAST_PRINTABLE_SHARE = 0.3, 0.95
HTML = re.compile(rb"<!doctype\s+html|<(?:html|head|body)[\s>]", re.IGNORECASE)
MAIL_HEADER = re.compile(rb"(?mi)^(from|to|subject|date|received|message-id|mime-version|return-path):[ \t]")
FEWEST_MAIL_HEADERS = 3
BY_ENDING = {
    "pdf": "pdf",
    "docx": "docx",
    "xlsx": "xlsx",
    "pptx": "pptx",
    "txt": "text",
    "md": "markdown",
    "markdown": "markdown",
    "csv": "csv",
    "tsv": "csv",
    "html": "html",
    "htm": "html",
    "eml": "eml",
}

MIME = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "html": "text/html",
    "markdown": "text/markdown",
    "csv": "text/csv",
    "eml": "message/rfc822",
    "text": "text/plain",
}
KINDS = ", ".join(MIME)


def sniff(file: BinaryIO, name: str) -> str:
    """Return which kind of document an open file is, one of `MIME`.

    Args:
        file: seekable; left at its start.
        name: its name; decides only between kinds of text.

    Raises:
        FileError: it is empty, encrypted as a whole, or of a kind that is not read.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not head:
        raise FileError("The file is empty.", "empty_file")
    if PDF_MARK.search(head[:PDF_MARK_WITHIN]):
        return "pdf"
    if head.startswith(b"PK\x03\x04"):
        return _office(file)
    if head.startswith(COMPOUND_FILE):
        raise _compound(file)
    if head.startswith(RICH_TEXT):
        raise FileError(f"The file is rich text (RTF); read are {KINDS}.", "unsupported_type")
    if b"\0" in head and not head.startswith(WIDE_MARKS) and wide_encoding(head) is None:
        raise FileError(f"The file is {_named(head)}; read are {KINDS}.", "unsupported_type")
    return _text(head, name)


def named_by_ending(name: str) -> str | None:
    """Return the kind that a file's name claims, or None where it claims none of ours."""
    return BY_ENDING.get(PurePath(name).suffix.lower().lstrip("."))


def wide_encoding(raw: bytes) -> str | None:
    """Return `utf-16-le` or `utf-16-be` for text of two bytes a character that has no mark, else None.

    Letters of western languages have a NUL in every second byte, and only there.
    """
    sample = raw[:WIDE_SAMPLE]
    low, high = sample[1::2].count(0), sample[::2].count(0)
    encoding = "utf-16-le" if low > high else "utf-16-be"
    if max(low, high) < LEAST_NUL_SHARE * len(sample) / 2:
        return None
    text = sample.decode(encoding, "ignore")
    printable = sum(character.isprintable() or character in "\t\r\n\f" for character in text)
    return encoding if text and printable >= LEAST_PRINTABLE_SHARE * len(text) else None


def _office(file: BinaryIO) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise FileError(f"The file begins like an archive and is damaged: {error}.", "corrupt") from error
    finally:
        file.seek(0)
    for name in names:
        if part := OFFICE_PART.fullmatch(name):
            return OFFICE_KINDS[part[1]]
    raise FileError(f"The file is an archive and no Office document; read are {KINDS}.", "unsupported_type")


def _compound(file: BinaryIO) -> FileError:
    whole = file.read()
    file.seek(0)
    if ENCRYPTED_STREAM in whole:
        return FileError("The Office document is encrypted as a whole: save it without a password.", "encrypted")
    return FileError("The file is of an Office before 2007: save it as DOCX, XLSX or PPTX.", "unsupported_type")


def _text(head: bytes, name: str) -> str:
    kind = named_by_ending(name)
    block = head.replace(b"\r\n", b"\n").split(b"\n\n")[0]
    if len({match.lower() for match in MAIL_HEADER.findall(block)}) >= FEWEST_MAIL_HEADERS:
        return "eml"
    if HTML.search(head[:4096]):
        return "markdown" if kind == "markdown" else "html"
    return kind if kind in {"markdown", "csv"} else "text"


def _named(head: bytes) -> str:
    try:
        return str(cast("Any", puremagic).from_string(head, mime=True)) or "of an unknown type"
    except puremagic.PureError:
        return "of an unknown type"
