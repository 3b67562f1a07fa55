"""What the sandboxed child does with a document: find out what it is, and read it."""

import hashlib
import io
import re
from collections.abc import Mapping
from typing import Any, BinaryIO, cast

from processors.document_formats import office, pdf, plain
from processors.document_formats.content import Reader
from processors.errors import FileError
from processors.file_types import MIME, sniff
from processors.interfaces import Report, TextReader

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL, which many programs stop at, and half characters, which no encoding has."""

READERS: dict[str, Reader] = {
    "pdf": pdf.read,
    "docx": office.read_docx,
    "xlsx": office.read_xlsx,
    "pptx": office.read_pptx,
    "html": plain.read_html,
    "markdown": plain.read_markdown,
    "csv": plain.read_csv,
    "eml": plain.read_mail,
    "text": plain.read_text,
}


def read_document(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Read a document.

    Args:
        file: open, seekable, read-only.
        options: `name`, `max_pages`, `max_characters`, `extract_metadata`, `password`.
        report: told how far it is.

    Returns:
        JSON values: `kind`, `mime`, `sha256`, `bytes` and the content.

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
    return {"kind": kind, "mime": MIME[kind], "sha256": digest, "bytes": size, "content": clean(content.as_json())}


def read_pictures(file: BinaryIO, options: Mapping[str, Any], report: Report, reader: TextReader) -> dict[str, Any]:
    """Read pages of a PDF as pictures: `options["pages"]` are their numbers."""
    return {"content": clean(pdf.read_pictures(file, options["pages"], options, reader, report).as_json())}


def clean(value: Any) -> Any:
    """Return JSON values whose texts can be stored and sent everywhere: what cannot becomes U+FFFD."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {clean(key): clean(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [clean(inner) for inner in cast("list[Any]", value)]
    return value
