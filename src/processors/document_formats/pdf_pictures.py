"""Pages of a PDF as pictures: read by OCR, turned where a scan lies on its side, and drawn to be shown."""

import io
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from statistics import median
from time import monotonic
from typing import Any, BinaryIO, cast

import numpy as np
from pypdfium2 import PdfDocument, PdfiumError  # pyright: ignore[reportMissingTypeStubs] - it has none

from processors.document_formats.content import Content, Page
from processors.document_formats.layout import paragraphs
from processors.document_formats.pdf import ENGINE, opened
from processors.envelopes import packed, warning
from processors.interfaces import Report, TextLine, TextReader

OCR_DPI = 200
LEAST_DPI = 72
MOST_PIXELS = 25_000_000
POINTS_PER_INCH = 72
IMAGE_PIXELS = 1_000
IMAGE_QUALITY = 80

SURE = 0.6
"""A picture read with this confidence on the average, most of whose lines lie, is not tried another way round."""

FAULTS = (PdfiumError, ValueError)
"""What is raised at a page that cannot be drawn: the latter where nothing of it lies in what it says to show."""

TURNS = (90, 270, 180)
MOST_LINES = 1_000
COLUMN_GAP, COLUMN_WIDTH = 0.015, 0.15
FEWEST_LINES_OF_COLUMN = 3
MOST_OVER_SHARE = 0.4


def read_pictures(
    file: BinaryIO, pages: Sequence[int], options: Mapping[str, Any], reader: TextReader, report: Report
) -> Content:
    """Read pages as pictures, at least one.

    Args:
        file: the PDF.
        pages: numbers, from 1.
        options: `password`, and `seconds` after which no further page is begun.
        reader: reads text in pictures.
        report: told how far it is.
    """
    content = Content(engine=f"{reader.name} {reader.version}")
    until = monotonic() + float(options.get("seconds", math.inf))
    with opened(file, options.get("password")) as pdf:
        for done, number in enumerate(pages):
            if done and monotonic() >= until:
                content.pages_skipped = len(pages) - done
                break
            report(100 * done / len(pages), f"reading page {number} as a picture")
            try:
                content.pages.append(_recognise(pdf, number, reader))
            except FAULTS as error:
                content.errors.append({"code": "page_failed", "step": "ocr", "page": number, "message": str(error)})
    return content


def draw_pages(file: BinaryIO, pages: Sequence[int], options: Mapping[str, Any], report: Report) -> Content:
    """Make an artefact `page_image` of each page: WebP, its longer side of 1000 pixels.

    Args:
        file: the PDF.
        pages: numbers, from 1.
        options: `password`.
        report: told how far it is.
    """
    content = Content(engine=ENGINE)
    with opened(file, options.get("password")) as pdf:
        for done, number in enumerate(pages):
            report(100 * done / len(pages), f"drawing page {number}")
            try:
                content.made.append(_drawn(pdf, number))
            except FAULTS as error:
                content.warnings.append(warning("no_page_image", f"The page cannot be drawn: {error}", page=number))
    return content


def _drawn(pdf: PdfDocument, number: int) -> dict[str, Any]:
    with closing(pdf[number - 1]) as page:
        picture: Any = cast("Any", page).render(scale=IMAGE_PIXELS / max(1.0, *page.get_size()))
        with closing(picture) as bitmap:
            image = bitmap.to_pil()
            stored = io.BytesIO()
            image.save(stored, "WEBP", quality=IMAGE_QUALITY, method=2)
    size = {"width": image.width, "height": image.height, "page": number}
    return packed("page_image", stored.getvalue(), "image/webp", **size)


def _recognise(pdf: PdfDocument, number: int, reader: TextReader) -> Page:
    with closing(pdf[number - 1]) as page:
        width, height = page.get_size()
        inches = (width / POINTS_PER_INCH) * (height / POINTS_PER_INCH)
        dpi = min(OCR_DPI, (MOST_PIXELS / max(inches, 0.01)) ** 0.5)
        if dpi < LEAST_DPI:
            raise PdfiumError(f"The page is {width:.0f} by {height:.0f} points, too large to be read as a picture.")
        picture: Any = cast("Any", page).render(scale=dpi / POINTS_PER_INCH)
        with closing(picture) as bitmap:
            turn, lines = read_upright(bitmap.to_numpy().copy(), reader)
        rotation = (90 * int(cast("Any", page).get_rotation() // 90) + turn) % 360
    texts = [line.text for line in in_columns(lines)]
    sure = round(_confidence(lines), 3) if lines else None
    return Page(
        number,
        "\n".join(texts),
        "ocr" if texts else "none",
        round(width, 2),
        round(height, 2),
        confidence=sure,
        markdown=paragraphs(texts),
        rotation=rotation,
    )


def read_upright(pixels: Any, reader: TextReader) -> tuple[int, list[TextLine]]:
    """Read a picture the way round that is read best.

    Args:
        pixels: height x width x 3 bytes (BGR).
        reader: reads text in pictures.

    Returns:
        By how many degrees the picture was turned clockwise, and its lines.
    """
    turned, best = 0, list(reader.read(pixels))
    for turn in TURNS:
        if not best or _is_upright(best, pixels, turned):
            break
        lines = list(reader.read(_turned(pixels, turn)))
        if _score(lines, pixels, turn) > _score(best, pixels, turned):
            turned, best = turn, lines
    letters = sum(len(line.text) for line in best)
    if sum(len(line.text) for line in best if line.upside_down) > letters / 2:
        return (turned + 180) % 360, [_upended(line) for line in reversed(best)]
    return turned, best


def in_columns(lines: Sequence[TextLine]) -> list[TextLine]:
    """Return lines in reading order: column after column where running text stands in columns.

    A line that goes over the gap between columns ends both; what stands in rows, such as a table's cells, stays so.
    """
    gap = _column_gap(lines) if len(lines) <= MOST_LINES else None
    if gap is None:
        return list(lines)
    ordered: list[TextLine] = []
    band: list[TextLine] = []
    for line in sorted(lines, key=lambda line: line.box[1]):
        if line.box[0] < gap < line.box[2]:
            ordered += [*_sides(band, lines, gap), line]
            band = []
        else:
            band.append(line)
    return ordered + _sides(band, lines, gap)


def _sides(band: Sequence[TextLine], lines: Sequence[TextLine], gap: float) -> list[TextLine]:
    """Return what stands left of a gap and then what stands right of it, each in its own reading order."""
    inside = {id(line) for line in band}
    left = [line for line in lines if id(line) in inside and line.box[2] <= gap]
    right = [line for line in lines if id(line) in inside and line.box[2] > gap]
    return in_columns(left) + in_columns(right)


def _column_gap(lines: Sequence[TextLine]) -> float | None:
    """Return where the gap between two columns of running text lies, if there is one, as a share of the width."""
    best: tuple[int, float] | None = None
    for edge in {line.box[2] for line in lines}:
        left = [line for line in lines if line.box[2] <= edge]
        right = [line for line in lines if line.box[0] >= edge + COLUMN_GAP]
        over = len(lines) - len(left) - len(right)
        if over <= MOST_OVER_SHARE * len(lines) and _is_column(left) and _is_column(right):
            best = min(best or (over, edge), (over, edge))
    return None if best is None else best[1] + COLUMN_GAP / 2


def _is_column(lines: Sequence[TextLine]) -> bool:
    return len(lines) >= FEWEST_LINES_OF_COLUMN and median(line.box[2] - line.box[0] for line in lines) >= COLUMN_WIDTH


def _is_upright(lines: Sequence[TextLine], pixels: Any, turned: int) -> bool:
    return _confidence(lines) >= SURE and _score(lines, pixels, turned) > sum(map(_weight, lines)) / 2


def _score(lines: Sequence[TextLine], pixels: Any, turned: int) -> float:
    """Return how much was read with which confidence, of lines that lie as lines do."""
    height, width = pixels.shape[:2] if turned % 180 == 0 else pixels.shape[1::-1]
    return sum(_weight(line) for line in lines if _is_wide(line.box, width, height))


def _weight(line: TextLine) -> float:
    return len(line.text) * line.confidence


def _is_wide(box: tuple[float, float, float, float], width: int, height: int) -> bool:
    return (box[2] - box[0]) * width >= (box[3] - box[1]) * height


def _confidence(lines: Sequence[TextLine]) -> float:
    return sum(line.confidence for line in lines) / len(lines)


def _turned(pixels: Any, turn: int) -> Any:
    """Return a picture turned clockwise by 90, 180 or 270 degrees."""
    return np.ascontiguousarray(np.rot90(pixels, -turn // 90))


def _upended(line: TextLine) -> TextLine:
    left, top, right, bottom = line.box
    return replace(line, box=(1 - right, 1 - bottom, 1 - left, 1 - top), upside_down=False)
