"""What the sandboxed child does with a document: find out what it is, and read it."""

import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

from processors.document_formats import csv_table, docx, html_page, mail, markdown, pdf, pptx, text, xlsx
from processors.document_formats.content import Content, Reader
from processors.errors import FileError
from processors.file_results import clean
from processors.file_types import identity, refuse_other_than
from processors.interfaces import Report, TextReader

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
    found = identity(file, str(options["name"]))
    kind: str = found["kind"]
    refuse_other_than("document", kind)
    try:
        content = READERS[kind](file, options, report)
    except RecursionError as error:
        raise FileError("The document is nested too deeply to be read.", "archive_depth") from error
    except DAMAGE as error:
        said = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
        raise FileError(f"The {kind} document is damaged and cannot be read: {said}.", "corrupt") from error
    _bound(content)
    _explain(kind, content)
    return found | {"content": clean(content.as_json())}


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
