"""What the sandboxed child does with a document: find out what it is, and read it."""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, BinaryIO

from docx.exceptions import PythonDocxError
from pptx.exc import PythonPptxError

from processors.document_formats import (
    csv_table,
    docx,
    epub,
    html_page,
    mail,
    markdown,
    msg,
    odf,
    pdf,
    pdf_pictures,
    pptx,
    rtf,
    text,
    xlsx,
)
from processors.document_formats.attachments import Attachments
from processors.document_formats.content import Content, Reader
from processors.envelopes import clean, warning
from processors.errors import FileError
from processors.file_types import identity, refuse_other_than, sniff
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
    "rtf": rtf.read,
    "odt": odf.read,
    "ods": odf.read,
    "odp": odf.read,
    "epub": epub.read,
    "msg": msg.read,
}

OLD_OFFICE = {"doc", "xls", "ppt"}
"""What no library here reads: LibreOffice converts it, outside of this child."""

WHY_NO_TEXT = {
    "docx": "The document has no text; pictures in it are not read.",
    "xlsx": "No cell of the workbook has a value.",
    "pptx": "No slide has text; pictures in them are not read.",
    "html": "The page shows no text.",
    "eml": "The mail has no text of its own.",
    "msg": "The message has no text of its own.",
    "odt": "The document has no text; pictures in it are not read.",
    "ods": "No cell of the spreadsheet has a value.",
    "odp": "No slide has text; pictures in them are not read.",
    "rtf": "The rich text shows no text; pictures in it are not read.",
    "epub": "No chapter of the book has text; pictures in them are not read.",
}
WHY_NO_TEXT_THERE = {
    "xlsx": "No cell of the sheet has a value.",
    "pptx": "The slide has no text; pictures in it are not read.",
    "ods": "No cell of the sheet has a value.",
    "odp": "The slide has no text; pictures in it are not read.",
    "epub": "The chapter has no text; pictures in it are not read.",
}
"""The same of one page among others; the other kinds have one page."""

BLANK = "There is nothing but white space in the file."

MOST_ENTRIES = 1_000
LONGEST_ENTRY = 2_000
MOST_MADE_CHARACTERS = 24 * 1024**2
MOST_MARKDOWN_CHARACTERS = 5_000_000
LISTS = ("outline", "attachments", "links", "forms", "annotations")

DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, NotImplementedError, OSError),
    *(SyntaxError, TypeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(PythonDocxError, PythonPptxError),
)
"""What the libraries raise at a damaged file; lxml's errors are syntax errors."""


def read_document(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Read a document.

    Args:
        file: open, seekable, read-only.
        options: `name`, `max_pages`, `max_characters`, `extract_metadata`, `password`.
        report: told how far it is.

    Returns:
        JSON values: `kind`, `mime`, `declared` (the type that the name claims), `sha256`, `bytes` and `content`,
        which is None for what has to be converted first.

    Raises:
        FileError: with one of the stable codes.
    """
    found = identity(file, str(options["name"]))
    if found["kind"] in OLD_OFFICE:
        return found | {"content": None}
    content = _read(found["kind"], file, options, report)

    def read_inside(raw: bytes, name: str) -> tuple[str, Content]:
        inside = io.BytesIO(raw)
        kind = sniff(inside, name)
        return kind, _read(kind, inside, {**options, "name": name, "password": None}, _silent)

    Attachments(read_inside, found["sha256"]).open(content)
    _bound(content)
    _explain(found["kind"], content)
    return found | {"content": clean(content.as_json())}


def _read(kind: str, file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    refuse_other_than("document", kind)
    if kind in OLD_OFFICE:
        raise FileError(f"a {kind} document is converted only where it is a file of its own.", "dependency_missing")
    try:
        return READERS[kind](file, options, report)
    except RecursionError as error:
        raise FileError("The document is nested too deeply to be read.", "archive_depth") from error
    except DAMAGE as error:
        said = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
        raise FileError(f"The {kind} document is damaged and cannot be read: {said}.", "corrupt") from error


def _silent(percent: float, text: str) -> None:
    """Report nothing: a file inside is a small part of its document."""


def read_pictures(file: BinaryIO, options: Mapping[str, Any], report: Report, reader: TextReader) -> dict[str, Any]:
    """Read pages of a PDF as pictures: `options["pages"]` are their numbers."""
    content = pdf_pictures.read_pictures(file, options["pages"], options, reader, report)
    return {"content": clean(content.as_json())}


def read_tables(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Find tables on pages of a PDF: `options` has the `pages`, the document's `layout`, `seconds` and `password`.

    Raises:
        FileError: this machine has no pdfplumber.
    """
    if find_spec("pdfplumber") is None:
        message = "tables of a PDF cannot be found on this machine: it has no pdfplumber."
        raise FileError(message, "dependency_missing")
    tables = import_module("processors.document_formats.pdf_tables")
    return {"content": clean(tables.read_tables(file, options, report).as_json())}


def draw_pages(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Make pictures of pages of a PDF: `options["pages"]` are their numbers."""
    return {"content": clean(pdf_pictures.draw_pages(file, options["pages"], options, report).as_json())}


def _bound(content: Content) -> None:
    """Keep what a result holds beside the text within reason."""
    for name in LISTS:
        entries: list[dict[str, Any]] = getattr(content, name)
        if len(entries) > MOST_ENTRIES:
            del entries[MOST_ENTRIES:]
            content.limits_hit.append(f"max_{name}")
        for entry in entries:
            entry |= {key: _short(value) for key, value in entry.items()}
    content.metadata = {key: _short(value) for key, value in content.metadata.items()}
    for page in content.pages:
        page.title, page.header, page.footer = _short(page.title), _short(page.header), _short(page.footer)
    _bound_markdown(content)
    _bound_made(content)


def _bound_markdown(content: Content) -> None:
    """Let plain text serve for the pages whose Markdown would make the answer too large."""
    total = 0
    for page in content.pages:
        total += len(page.markdown or "")
        if total > MOST_MARKDOWN_CHARACTERS:
            page.markdown = None
    if total > MOST_MARKDOWN_CHARACTERS:
        content.limits_hit.append("max_markdown")


def _bound_made(content: Content) -> None:
    """Leave out the artefacts that would make the answer too large."""
    kept: list[dict[str, Any]] = []
    total = 0
    for one in content.made:
        total += len(one["data"])
        if total <= MOST_MADE_CHARACTERS:
            kept.append(one)
    if len(kept) < len(content.made):
        content.made = kept
        content.limits_hit.append("max_artefacts")


def _short(value: Any) -> Any:
    return value[:LONGEST_ENTRY] if isinstance(value, str) else value


def _explain(kind: str, content: Content) -> None:
    """Say why a document or a page of it has no text; those of a PDF are read as pictures first."""
    silent = [page.n for page in content.pages if not page.text.strip()]
    if kind == "pdf":
        return
    if len(silent) == len(content.pages):
        content.warnings.append(warning("no_text", WHY_NO_TEXT.get(kind, BLANK)))
    elif "max_characters" not in content.limits_hit:
        content.warnings += [warning("no_text", WHY_NO_TEXT_THERE[kind], page=n) for n in silent]
