"""Tables of a PDF: found by the lines that are drawn around their cells."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from contextlib import closing
from time import monotonic
from typing import Any, BinaryIO, cast

import pdfplumber
from pdfplumber.utils.exceptions import MalformedPDFException, PdfminerException

from processors.document_formats.content import Content, Page, Table
from processors.document_formats.layout import Block, Layout, markdown, pipe_table, running
from processors.document_formats.pdf import opened, page_lines
from processors.interfaces import Report

MOST_ROWS, MOST_TABLES_OF_PAGE = 5_000, 100
FEWEST_CELLS = 2
TURNED_SHARE = 0.5
QUARTER = 90
FAULTS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    *(MalformedPDFException, PdfminerException),
)
"""What the libraries raise at a damaged page."""

Box = tuple[float, float, float, float]


def read_tables(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Find the tables of some pages, and write these pages as Markdown with them.

    Args:
        file: the PDF.
        options: `pages` (numbers, from 1), `layout` (of the document), `seconds` (for all pages) and `password`.
        report: told how far it is.
    """
    numbers: list[int] = options["pages"]
    layout = Layout.of_json(options["layout"])
    content = Content(engine=f"pdfplumber {importlib.metadata.version('pdfplumber')}")
    until = monotonic() + float(options["seconds"])
    password = options.get("password")
    with opened(file, password) as pdf:
        file.seek(0)
        plumber: Any = pdfplumber.open(cast("Any", file), password=password or "", pages=numbers)
        with closing(plumber):
            for done, page in enumerate(plumber.pages):
                if monotonic() >= until:
                    content.limits_hit.append("table_seconds")
                    content.pages_skipped = len(numbers) - done
                    break
                report(100 * done / len(numbers), f"looking for tables on page {page.page_number}")
                _read_page(pdf, page, layout, content)
    return content


def _read_page(pdf: Any, page: Any, layout: Layout, content: Content) -> None:
    """Add a page with tables to the content; what the libraries raise at a damaged page costs only that page."""
    number = int(page.page_number)
    try:
        with closing(page):
            found = _tables(page)
    except FAULTS as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        content.errors.append({"code": "page_failed", "step": "tables", "page": number, "message": said})
        return
    if not found:
        return
    left, top, right, bottom = page.cropbox
    width, height = float(right - left), float(bottom - top)
    blocks: list[Block] = []
    for (left, top, right, bottom), rows in found:
        box = [
            round(max(0.0, min(1.0, edge)), 4) for edge in (left / width, top / height, right / width, bottom / height)
        ]
        content.tables.append(Table(number, rows, bbox=box))
        blocks.append(Block((left, top, right, bottom), pipe_table(rows)))
    lines = page_lines(pdf, number)
    text = markdown(lines, layout, set[int]().union(*running(lines, layout)), blocks)
    content.pages.append(Page(number, "", markdown=text))


def _tables(page: Any) -> list[tuple[Box, list[list[str]]]]:
    """Return the tables of a page, each with its box; one whose text is turned is read as it is held to be read."""
    found: list[tuple[Box, list[list[str]]]] = []
    for table in page.find_tables()[:MOST_TABLES_OF_PAGE]:
        turn = _turn(page.crop(_within(table.bbox, page.bbox), strict=False).chars)
        rows = _rows(table.extract()) if turn == 0 else _turned_rows(page, table.bbox, turn)
        if sum(bool(cell) for row in rows for cell in row) >= FEWEST_CELLS:
            found.append((_on_shown_page(page, table.bbox), rows))
    return found


def _turn(letters: Sequence[Mapping[str, Any]]) -> int:
    """Return by how many degrees clockwise a page must be turned so that most of these letters stand upright."""
    turned = [letter["matrix"] for letter in letters if not letter["upright"]]
    if len(turned) <= TURNED_SHARE * len(letters):
        return 0
    rising = sum(matrix[1] > 0 for matrix in turned)
    return QUARTER if rising > len(turned) / 2 else 3 * QUARTER


def _turned_rows(page: Any, box: Box, turn: int) -> list[list[str]]:
    """Return the rows of the table in a box of the page, as they are on the turned page."""
    original = page.page_obj
    before = original.rotate, original.attrs.get("Rotate")
    original.rotate = (page.rotation + turn) % 360
    original.attrs["Rotate"] = original.rotate
    try:
        with closing(type(page)(page.pdf, original, page.page_number)) as turned:
            place = _turned_box(box, page, turn)
            tables = turned.find_tables()
            nearest = min(tables, key=lambda table: _distance(table.bbox, place), default=None)
            return _rows(nearest.extract()) if nearest is not None else []
    finally:
        original.rotate, original.attrs["Rotate"] = before


def _turned_box(box: Box, page: Any, turn: int) -> Box:
    left, top, right, bottom = box
    if turn == QUARTER:
        return page.height - bottom, left, page.height - top, right
    return top, page.width - right, bottom, page.width - left


def _distance(one: Box, other: Box) -> float:
    return sum(abs(float(a) - float(b)) for a, b in zip(one, other, strict=True))


def _rows(cells: Sequence[Sequence[str | None]]) -> list[list[str]]:
    """Return rows of texts; the part of a cell that spans several is empty."""
    return [["" if cell is None else " ".join(cell.split()) for cell in row] for row in cells[:MOST_ROWS]]


def _within(box: Box, page: Box) -> Box:
    return max(box[0], page[0]), max(box[1], page[1]), min(box[2], page[2]), min(box[3], page[3])


def _on_shown_page(page: Any, box: Box) -> Box:
    """Return a box as points from the top left of what is shown of the page: its crop box (ISO 32000-1 14.11.2)."""
    left, top = page.cropbox[0] - page.mediabox[0], page.cropbox[1] - page.mediabox[1]
    return float(box[0] - left), float(box[1] - top), float(box[2] - left), float(box[3] - top)
