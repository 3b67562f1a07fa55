"""PPTX: every slide with its shapes, tables, diagrams, notes, links and comments (ISO/IEC 29500-1, 19)."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import pptx
from pptx.oxml.ns import qn

from processors.document_formats.archives import check_archive
from processors.document_formats.blocks import Block, page_of, table_of
from processors.document_formats.content import Allowance, Content, Table
from processors.document_formats.office import diagrams, engine, inside, loaded, properties, roots
from processors.interfaces import Report

COMMENTS, AUTHORS = "/comments", "/commentAuthors"


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read slide by slide, hidden ones too."""
    check_archive(file)
    content = Content(engine=engine("python-pptx"))
    allowance = Allowance(options, content)
    deck: Any = loaded(pptx.Presentation, file)
    authors = {one.get("id"): one.get("name") for root in roots(deck.part, AUTHORS, content) for one in root}
    for number, slide in enumerate(deck.slides, 1):
        if allowance.over() or not allowance.page():
            content.pages_skipped = len(deck.slides) - number + 1
            break
        report(20 + 70 * number / len(deck.slides), f"slide {number}")
        _read_slide(slide, number, authors, allowance, content)
    content.attached = inside(deck.part.package, "/ppt/")
    content.metadata = properties(deck.core_properties, options)
    return content


def _read_slide(slide: Any, number: int, authors: Mapping[str, str], allowance: Allowance, content: Content) -> None:
    title = slide.shapes.title
    blocks = [block for shape in slide.shapes for block in _shape(shape, number, title, content)]
    blocks += diagrams(slide.part, number, content)
    blocks += [Block("paragraph", _lines(note)) for note in _notes(slide)]
    shown = title.text if title is not None else None
    content.pages.append(page_of(number, [block for block in blocks if block.text], allowance, shown))
    if shown:
        content.outline.append({"title": _lines(shown), "level": 1, "page": number})
    if slide.element.get("show") in {"0", "false"}:
        message = f"Slide {number} is hidden; its text is read."
        content.warnings.append({"code": "hidden_slide", "message": message, "page": number})
    for root in roots(slide.part, COMMENTS, content, page=number):
        content.annotations += _comments(root, authors, number)


def _notes(slide: Any) -> list[str]:
    """Return a slide's notes; a notes page may have no place for text."""
    frame = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    return [] if frame is None else [str(frame.text)]


def _shape(shape: Any, number: int, title: Any, content: Content) -> Iterator[Block]:
    if getattr(shape, "has_table", False):
        rows = [[_lines(cell.text) for cell in row.cells] for row in shape.table.rows]
        content.tables.append(Table(number, rows))
        yield table_of(rows)
    elif shape.has_text_frame:
        content.links += _links(shape, number)
        yield from _paragraphs(shape, is_title=title is not None and shape.shape_id == title.shape_id)
    for inner in getattr(shape, "shapes", ()):
        yield from _shape(inner, number, title, content)


def _paragraphs(shape: Any, *, is_title: bool) -> Iterator[Block]:
    """Yield a shape's paragraphs; those of a place for text, other than the title, are items of its list."""
    if is_title:
        yield Block("heading", _lines(shape.text_frame.text), 1)
        return
    for paragraph in shape.text_frame.paragraphs:
        listed = shape.is_placeholder
        yield Block("item" if listed else "paragraph", _lines(paragraph.text), paragraph.level + 1 if listed else 0)


def _links(shape: Any, number: int) -> Iterator[dict[str, Any]]:
    for paragraph in shape.text_frame.paragraphs:
        for run in paragraph.runs:
            if run.hyperlink.address:
                yield {"text": run.text, "url": run.hyperlink.address, "page": number}
    clicked = shape.click_action.hyperlink.address if hasattr(shape, "click_action") else None
    if clicked:
        yield {"text": _lines(shape.text_frame.text), "url": clicked, "page": number}


def _comments(root: Any, authors: Mapping[str, str], number: int) -> Iterator[dict[str, Any]]:
    for comment in root.iter(qn("p:cm")):
        text, author = comment.findtext(qn("p:text")), authors.get(comment.get("authorId"))
        yield {"type": "comment", "text": text, "author": author, "page": number}


def _lines(text: str) -> str:
    """Return text whose line breaks within a paragraph are line ends."""
    return text.replace("\v", "\n")
