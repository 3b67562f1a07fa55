"""DOCX: paragraphs, headings and tables in their order, then notes, heads, feet and comments (ISO/IEC 29500-1, 17)."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import docx
from docx.oxml import parse_xml
from docx.oxml.ns import qn

from processors.document_formats.archives import check_archive
from processors.document_formats.content import Allowance, Content, Page, Table
from processors.document_formats.office import engine, loaded, properties
from processors.interfaces import Report

PARAGRAPH, TABLE, ROW, CELL = qn("w:p"), qn("w:tbl"), qn("w:tr"), qn("w:tc")
TEXT = {qn("w:t"), "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"}
TEXT_BOX = qn("w:txbxContent")
NOTE = {qn("w:footnote"), qn("w:endnote"), qn("w:comment")}
SIGNS = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
LEFT_OUT = {
    *(qn("w:pPr"), qn("w:rPr"), qn("w:tcPr"), qn("w:del"), qn("w:moveFrom")),
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
}
WIDEST_SPAN = 64
BESIDE = ("/footnotes", "/endnotes", "/header", "/footer", "/comments")
"""Kinds of parts with text of their own, in the order in which it follows the document's."""


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read what the document shows with its changes accepted: inserted text is text, deleted text is not."""
    check_archive(file)
    content = Content(engine=engine("python-docx"))
    allowance = Allowance(options, content)
    document: Any = loaded(docx.Document, file)
    styles = {style.style_id: str(style.name) for style in document.styles}
    report(20, "reading paragraphs")
    blocks: list[str] = []
    for block in _blocks(document.element.body):
        if allowance.over():
            break
        blocks.append(allowance.take(_block(block, styles, content)))
    blocks += [allowance.take(note) for note in _beside(document)]
    content.pages.append(Page(1, "\n".join(blocks)))
    content.metadata = properties(document.core_properties, options)
    return content


def _blocks(parent: Any) -> Iterator[Any]:
    """Yield paragraphs and tables, those inside content controls and changes too."""
    for child in parent:
        if child.tag in {PARAGRAPH, TABLE}:
            yield child
        elif child.tag not in LEFT_OUT:
            yield from _blocks(child)


def _block(block: Any, styles: Mapping[str, str], content: Content) -> str:
    if block.tag == TABLE:
        rows = [_cells(row) for row in _inside(block, ROW)]
        content.tables.append(Table(1, rows))
        return "\n".join("\t".join(row) for row in rows)
    text = _text(block)
    style = styles.get(str(block.style or ""), "")
    if text and style.startswith("Heading ") and style[8:].isdecimal():
        content.outline.append({"title": text, "level": int(style[8:]), "page": 1})
    return text


def _inside(parent: Any, tag: str) -> Iterator[Any]:
    """Yield the nearest elements of a kind, not those inside of them."""
    for child in parent:
        if child.tag == tag:
            yield child
        elif child.tag not in LEFT_OUT:
            yield from _inside(child, tag)


def _cells(row: Any) -> list[str]:
    """Return the texts of a row; a cell over several columns is followed by empty ones."""
    cells: list[str] = []
    for cell in _inside(row, CELL):
        span = min(WIDEST_SPAN, int(cell.grid_span))
        cells += [_text(cell), *[""] * (span - 1)]
    return cells


def _text(element: Any) -> str:
    return "".join(_pieces(element)).strip("\n")


def _pieces(element: Any) -> Iterator[str]:
    for child in element:
        if child.tag in TEXT:
            yield child.text or ""
        elif child.tag in SIGNS:
            yield SIGNS[child.tag]
        elif child.tag == PARAGRAPH:
            yield "\n"
            yield from _pieces(child)
        elif child.tag not in LEFT_OUT:
            yield from _pieces(child)
            if child.tag == TEXT_BOX:
                yield "\n"


def _beside(document: Any) -> Iterator[str]:
    """Yield notes, what stands at the pages' heads and feet, and comments; the same text once."""
    parts = [relation for relation in document.part.rels.values() if not relation.is_external]
    roots: list[Any] = [
        parse_xml(part.target_part.blob) for kind in BESIDE for part in parts if part.reltype.endswith(kind)
    ]
    texts = [_text(one) for root in roots for one in [note for note in root if note.tag in NOTE] or [root]]
    yield from dict.fromkeys(filter(str.strip, texts))
