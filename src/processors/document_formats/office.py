"""DOCX, XLSX and PPTX (ISO/IEC 29500)."""

import importlib.metadata
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import date, datetime
from typing import Any, BinaryIO

import docx
import openpyxl
import pptx
from docx.table import Table as WordTable

from processors.document_formats.archives import check_archive
from processors.document_formats.content import Allowance, Content, Page, Table
from processors.errors import FileError
from processors.interfaces import Report

PROPERTIES = (
    "title",
    "author",
    "subject",
    "keywords",
    "comments",
    "category",
    "created",
    "modified",
    "last_modified_by",
)
REPORT_EVERY_ROWS = 5_000
DAMAGE = (KeyError, ValueError, AttributeError, IndexError, TypeError, OSError)


def read_docx(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read paragraphs, headings and tables in their order."""
    check_archive(file)
    content = Content(engine=_engine("python-docx"))
    allowance = Allowance(options, content)
    document: Any = _loaded(docx.Document, file)
    report(20, "reading paragraphs")
    blocks: list[str] = []
    for block in document.iter_inner_content():
        if allowance.over():
            break
        if isinstance(block, WordTable):
            rows = [[cell.text for cell in row.cells] for row in block.rows]
            content.tables.append(Table(1, rows))
            blocks.append(allowance.take("\n".join("\t".join(row) for row in rows)))
        else:
            _note_heading(block, content)
            blocks.append(allowance.take(str(block.text)))
    content.pages.append(Page(1, "\n".join(blocks)))
    content.metadata = _properties(document.core_properties, options)
    return content


def read_xlsx(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read every sheet as a table of the values that were last calculated."""
    check_archive(file)
    content = Content(engine=_engine("openpyxl"))
    allowance = Allowance(options, content)

    def load(source: BinaryIO) -> Any:
        return openpyxl.load_workbook(source, read_only=True, data_only=True)

    with closing(_loaded(load, file)) as book:
        for number, sheet in enumerate(book.worksheets, 1):
            if allowance.over() or not allowance.page():
                break
            rows = list(_rows(sheet, allowance, report))
            content.tables.append(Table(number, rows, sheet.title))
            content.pages.append(Page(number, "\n".join("\t".join(row) for row in rows), title=sheet.title))
        content.metadata = _properties(book.properties, options)
    return content


def read_pptx(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read every slide: its shapes, tables and notes."""
    check_archive(file)
    content = Content(engine=_engine("python-pptx"))
    allowance = Allowance(options, content)
    deck: Any = _loaded(pptx.Presentation, file)
    for number, slide in enumerate(deck.slides, 1):
        if allowance.over() or not allowance.page():
            break
        report(20 + 70 * number / len(deck.slides), f"slide {number}")
        texts = [text for shape in slide.shapes for text in _shape(shape, number, content)]
        if slide.has_notes_slide:
            texts.append(slide.notes_slide.notes_text_frame.text)
        title = slide.shapes.title.text if slide.shapes.title is not None else None
        content.pages.append(Page(number, allowance.take("\n".join(filter(None, texts))), title=title))
    content.metadata = _properties(deck.core_properties, options)
    return content


def _loaded(load: Any, file: BinaryIO) -> Any:
    """Open with a library; whatever it raises at a damaged file is one sentence."""
    try:
        return load(file)
    except DAMAGE as error:
        raise FileError(f"The document is damaged: {error}.", "corrupt") from error


def _rows(sheet: Any, allowance: Allowance, report: Report) -> Iterator[list[str]]:
    for index, row in enumerate(sheet.iter_rows(values_only=True)):
        if allowance.over():
            return
        if index % REPORT_EVERY_ROWS == 0:
            report(50, f"sheet {sheet.title}, row {index + 1}")
        cells = [allowance.take(_cell(value)) for value in row]
        while cells and not cells[-1]:
            cells.pop()
        yield cells


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else str(value)


def _shape(shape: Any, number: int, content: Content) -> Iterator[str]:
    if getattr(shape, "has_table", False):
        rows = [[cell.text for cell in row.cells] for row in shape.table.rows]
        content.tables.append(Table(number, rows))
        yield "\n".join("\t".join(row) for row in rows)
    elif shape.has_text_frame:
        yield shape.text_frame.text
    for inner in getattr(shape, "shapes", ()):
        yield from _shape(inner, number, content)


def _note_heading(paragraph: Any, content: Content) -> None:
    style = str(getattr(paragraph.style, "name", ""))
    if style.startswith("Heading ") and style[8:].isdecimal():
        content.outline.append({"title": paragraph.text, "level": int(style[8:]), "page": 1})


def _properties(found: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    if not options["extract_metadata"]:
        return {}
    names = {"author": "creator", "last_modified_by": "lastModifiedBy"}
    values = {name: getattr(found, name, None) or getattr(found, names.get(name, name), None) for name in PROPERTIES}
    return {name: _value(value) for name, value in values.items() if value}


def _value(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _engine(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"
