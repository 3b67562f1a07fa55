"""PPTX: every slide with its shapes, tables and notes (ISO/IEC 29500-1, 19)."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import pptx

from processors.document_formats.archives import check_archive
from processors.document_formats.content import Allowance, Content, Page, Table
from processors.document_formats.office import engine, loaded, properties
from processors.interfaces import Report


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read slide by slide."""
    check_archive(file)
    content = Content(engine=engine("python-pptx"))
    allowance = Allowance(options, content)
    deck: Any = loaded(pptx.Presentation, file)
    for number, slide in enumerate(deck.slides, 1):
        if allowance.over() or not allowance.page():
            content.pages_skipped = len(deck.slides) - number + 1
            break
        report(20 + 70 * number / len(deck.slides), f"slide {number}")
        texts = [text for shape in slide.shapes for text in _shape(shape, number, content)] + _notes(slide)
        title = slide.shapes.title.text if slide.shapes.title is not None else None
        text = "\n".join(filter(None, texts)).replace("\v", "\n")
        content.pages.append(Page(number, allowance.take(text), title=title))
    content.metadata = properties(deck.core_properties, options)
    return content


def _notes(slide: Any) -> list[str]:
    """Return a slide's notes; a notes page may have no place for text."""
    frame = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    return [] if frame is None else [str(frame.text)]


def _shape(shape: Any, number: int, content: Content) -> Iterator[str]:
    if getattr(shape, "has_table", False):
        rows = [[cell.text for cell in row.cells] for row in shape.table.rows]
        content.tables.append(Table(number, rows))
        yield "\n".join("\t".join(row) for row in rows)
    elif shape.has_text_frame:
        yield shape.text_frame.text
    for inner in getattr(shape, "shapes", ()):
        yield from _shape(inner, number, content)
