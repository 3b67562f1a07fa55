"""What the sandboxed child does with a document: find out what it is, and read it."""

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO, cast

from processors.document_formats import csv_table, docx, html_page, mail, markdown, pdf, pptx, text, xlsx
from processors.document_formats.content import Content, Reader
from processors.errors import FileError
from processors.file_types import MIME, named_by_ending, sniff
from processors.interfaces import Report, TextReader

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL, which many programs stop at, and half characters, which no encoding has."""

READERS: dict[str, Reader] = {
    "pdf": pdf.read,
    "docx": docx.read,
    "xlsx": xlsx.read,
    "pptx": pptx.read,
    "html": html_page.read,
    "markdown": markdown.read,
    "csv": csv_table.read,
    "eml": mail.read,
    "text": text.read,
}

WHY_NO_TEXT = {
    "docx": "The document has no text; pictures in it are not read.",
    "xlsx": "No cell of the workbook has a value.",
    "pptx": "No slide has text; pictures in them are not read.",
    "html": "The page shows no text.",
    "eml": "The mail has no text of its own.",
}
BLANK = "There is nothing but white space in the file."

MOST_ENTRIES = 1_000
LONGEST_ENTRY = 2_000

DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, NotImplementedError, OSError),
    *(SyntaxError, TypeError, ValueError, zipfile.BadZipFile, zlib.error),
)
"""What the libraries raise at a damaged file; lxml's errors are syntax errors."""


def read_document(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Read a document.

    Args:
        file: open, seekable, read-only.
        options: `name`, `max_pages`, `max_characters`, `extract_metadata`, `password`.
        report: told how far it is.

    Returns:
        JSON values: `kind`, `mime`, `declared` (the type that the name claims), `sha256`, `bytes` and the content.

    Raises:
        FileError: with one of the stable codes.
    """
    kind = sniff(file, str(options["name"]))
    digest = hashlib.file_digest(cast("Any", file), "sha256").hexdigest()
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        content = READERS[kind](file, options, report)
    except RecursionError as error:
        raise FileError("The document is nested too deeply to be read.", "archive_depth") from error
    except DAMAGE as error:
        said = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
        raise FileError(f"The {kind} document is damaged and cannot be read: {said}.", "corrupt") from error
    _bound(content)
    _explain(kind, content)
    return {
        "kind": kind,
        "mime": MIME[kind],
        "declared": MIME.get(named_by_ending(str(options["name"])) or ""),
        "sha256": digest,
        "bytes": size,
        "content": clean(content.as_json()),
    }


def read_pictures(file: BinaryIO, options: Mapping[str, Any], report: Report, reader: TextReader) -> dict[str, Any]:
    """Read pages of a PDF as pictures: `options["pages"]` are their numbers."""
    return {"content": clean(pdf.read_pictures(file, options["pages"], options, reader, report).as_json())}


def _bound(content: Content) -> None:
    """Keep what a result holds beside the text within reason."""
    for name in ("outline", "attachments"):
        entries: list[dict[str, Any]] = getattr(content, name)
        if len(entries) > MOST_ENTRIES:
            del entries[MOST_ENTRIES:]
            content.limits_hit.append(f"max_{name}")
        for entry in entries:
            entry |= {key: _short(value) for key, value in entry.items()}
    content.metadata = {key: _short(value) for key, value in content.metadata.items()}
    for page in content.pages:
        page.title = _short(page.title)


def _short(value: Any) -> Any:
    return value[:LONGEST_ENTRY] if isinstance(value, str) else value


def _explain(kind: str, content: Content) -> None:
    """Say why a document has no text; pages of a PDF are read as pictures first."""
    if kind != "pdf" and not any(page.text.strip() for page in content.pages):
        content.warnings.append({"code": "no_text", "message": WHY_NO_TEXT.get(kind, BLANK)})


def clean(value: Any) -> Any:
    """Return JSON values whose texts can be stored and sent everywhere: what cannot becomes U+FFFD."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {clean(key): clean(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [clean(inner) for inner in cast("list[Any]", value)]
    return value
