"""DOCX: paragraphs, headings and tables in their order, then notes, heads, feet and comments (ISO/IEC 29500-1, 17)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import docx
from docx.oxml.ns import qn

from processors.document_formats import docx_beside
from processors.document_formats.archives import check_archive
from processors.document_formats.blocks import Block, page_of, table_of
from processors.document_formats.content import Allowance, Content, Table
from processors.document_formats.office import diagrams, engine, inside, loaded, properties, roots
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
VALUE = qn("w:val")
WIDEST_SPAN = 64
NOTES, HEADER, FOOTER, COMMENTS = ("/footnotes", "/endnotes"), "/header", "/footer", "/comments"
"""Kinds of parts with text of their own, in the order in which it follows the document's."""


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read what the document shows with its changes accepted: inserted text is text, deleted text is not."""
    check_archive(file)
    content = Content(engine=engine("python-docx"))
    allowance = Allowance(options, content)
    document: Any = loaded(docx.Document, file)
    styles = {style.style_id: str(style.name) for style in document.styles}
    report(20, "reading paragraphs")
    body = document.element.body
    blocks = [_block(block, styles, content) for block in _blocks(body)]
    beside = {kind: list(roots(document.part, kind, content, page=1)) for kind in (*NOTES, HEADER, FOOTER, COMMENTS)}
    notes = [Block("paragraph", note) for note in _texts(root for kind in NOTES for root in beside[kind])]
    page = page_of(1, [*blocks, *diagrams(document.part, 1, content), *notes], allowance)
    heads = {kind: _texts(beside[kind]) for kind in (HEADER, FOOTER, COMMENTS)}
    page.text += "".join(allowance.take(f"\n{text}") for texts in heads.values() for text in texts)
    page.header, page.footer = ("\n".join(heads[kind]) or None for kind in (HEADER, FOOTER))
    content.pages.append(page)
    report(80, "reading what stands beside the text")
    _read_beside(document, body, beside[COMMENTS], content)
    content.metadata = properties(document.core_properties, options)
    return content


def _read_beside(document: Any, body: Any, comments: Iterable[Any], content: Content) -> None:
    content.links = list(docx_beside.links(body, document.part.rels, _text))
    content.forms = list(docx_beside.forms(body, _text))
    for root in comments:
        content.annotations += docx_beside.comments(root, _text)
    if changes := docx_beside.changes(body):
        content.warnings.append(changes)
    content.attached = inside(document.part.package, "/word/")


def _blocks(parent: Any) -> Iterator[Any]:
    """Yield paragraphs and tables, those inside content controls and changes too."""
    for child in parent:
        if child.tag in {PARAGRAPH, TABLE}:
            yield child
        elif child.tag not in LEFT_OUT:
            yield from _blocks(child)


def _block(block: Any, styles: Mapping[str, str], content: Content) -> Block:
    if block.tag == TABLE:
        rows = [_cells(row) for row in _inside(block, ROW)]
        content.tables.append(Table(1, rows))
        return table_of(rows)
    text = _text(block)
    style = styles.get(str(block.style or ""), "")
    if text and style.startswith("Heading ") and style[8:].isdecimal():
        level = int(style[8:])
        content.outline.append({"title": text, "level": level, "page": 1})
        return Block("heading", text, level)
    level = _item_level(block, style)
    return Block("item" if level else "paragraph", text, level)


def _item_level(paragraph: Any, style: str) -> int:
    """Return how deep an item lies in lists, from 1; 0 where it is none."""
    numbering = paragraph.find(f"{qn('w:pPr')}/{qn('w:numPr')}")
    if numbering is None:
        return int(style.startswith("List "))
    number, level = numbering.find(qn("w:numId")), numbering.find(qn("w:ilvl"))
    if number is None or number.get(VALUE) == "0":
        return 0
    depth = "0" if level is None else level.get(VALUE, "0")
    return 1 + (int(depth) if depth.isdecimal() else 0)


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


def _texts(roots: Iterable[Any]) -> list[str]:
    """Return the texts of parts: of notes and comments one by one; the same text once."""
    texts = (_text(one) for root in roots for one in [note for note in root if note.tag in NOTE] or [root])
    return list(dict.fromkeys(filter(str.strip, texts)))
