"""PDF: the text layer, page by page, with its layout, and what stands beside it."""

import importlib.metadata
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from ctypes import c_float
from typing import Any, BinaryIO, cast

import pypdfium2.raw as pdfium  # pyright: ignore[reportMissingTypeStubs] - it has none
from pypdfium2 import PdfDocument, PdfiumError  # pyright: ignore[reportMissingTypeStubs] - it has none

from processors.document_formats.content import Allowance, Content, Page
from processors.document_formats.layout import Layout, Lines, layout_of, markdown, running
from processors.document_formats.pdf_marks import open_forms, read_attached, read_marks, read_outline
from processors.document_formats.pdf_text import FoundLines, find_lines, plain, usable
from processors.errors import FileError
from processors.interfaces import Report

REPORT_EVERY = 25
MOST_OBJECTS = 20_000
STEPS = 8
"""How many of a page's objects are looked at before all are: a table has many lines one after another."""

LONGEST_STEP = 6
FEWEST_SEGMENTS = 12
MOST_SEGMENTS = 5_000
"""Of the lines of a table, in which a rectangle has five; a drawing has more."""

PICTURE_SHARE, TEXT_SHARE = 0.5, 0.25
"""A picture over this share of a page, beside lines that are no more than that share of its height, is read too."""

ENGINE = f"pypdfium2 {importlib.metadata.version('pypdfium2')}"


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read the text layer and what stands beside it; a page without usable text has the source `none`."""
    content = Content(engine=ENGINE)
    allowance = Allowance(options, content)
    wanted = bool(options.get("extract_text", True))
    found: dict[int, FoundLines] = {}
    with opened(file, options.get("password")) as pdf:
        if options["extract_metadata"]:
            content.metadata = _metadata(pdf)
        content.outline = read_outline(pdf)
        read_attached(pdf, content)
        open_forms(pdf, content)
        count = len(pdf)
        for index in range(count):
            if allowance.over() or not allowance.page():
                content.pages_skipped = count - index
                break
            if index % REPORT_EVERY == 0:
                report(90 * index / count, f"page {index + 1} of {count}")
            try:
                lines = _read_page(pdf, index, allowance, content)
            except PdfiumError as error:
                failure = {"code": "page_failed", "step": "text", "page": index + 1, "message": str(error)}
                content.errors.append(failure)
            else:
                if wanted and lines is not None:
                    found[index + 1] = lines
    _lay_out(content, {number: lines.placed() for number, lines in found.items()})
    return content


@contextmanager
def opened(file: BinaryIO, password: str | None) -> Generator[PdfDocument]:
    """Open a PDF.

    Raises:
        FileError: it is damaged, encrypted or empty.
    """
    try:
        pdf = PdfDocument(file.read(), password=password)
    except PdfiumError as error:
        raise _unreadable(str(error), password) from error
    with closing(pdf):
        if len(pdf) == 0:
            raise FileError("The PDF has no pages.", "corrupt")
        yield pdf


def page_lines(pdf: PdfDocument, number: int) -> Lines:
    """Return the lines of one page's text layer."""
    with closing(pdf[number - 1]) as page, closing(page.get_textpage()) as layer:
        return find_lines(layer.get_text_range(), layer.raw, page.raw).placed()


def _unreadable(message: str, password: str | None) -> FileError:
    if "password" not in message.lower():
        return FileError(f"The file begins like a PDF and cannot be read as one: {message}", "corrupt")
    if password is None:
        return FileError("The PDF is encrypted: give its password.", "encrypted")
    return FileError("The PDF is encrypted and the password is not the right one.", "password_wrong")


def _read_page(pdf: PdfDocument, index: int, allowance: Allowance, content: Content) -> FoundLines | None:
    """Add a page to the content; returns the lines of its text layer where that is usable."""
    number = index + 1
    with closing(pdf[index]) as page, closing(page.get_textpage()) as layer:
        width, height = page.get_size()
        text = layer.get_text_range()
        rotation = 90 * cast("int", pdfium.FPDFPage_GetRotation(page.raw))
        read_marks(pdf, page.raw, layer.raw, number, content)
        good = usable(text)
        kept = allowance.take(plain(text)) if good else ""
        source = "text_layer" if good else "none"
        content.pages.append(Page(number, kept, source, round(width, 2), round(height, 2), rotation=rotation))
        if not good:
            if text.strip():
                content.unusable.append(number)
            return None
        lines = None if allowance.over() else find_lines(text, layer.raw, page.raw)
        segments, covered = _drawn(page.raw)
    if lines is None:
        return None
    if FEWEST_SEGMENTS <= segments <= MOST_SEGMENTS:
        content.table_pages.append(number)
    if covered >= PICTURE_SHARE * width * height and sum(lines.placed().sizes) / 2 <= TEXT_SHARE * height:
        content.picture_pages.append(number)
    return lines


def _drawn(page: Any) -> tuple[int, float]:
    """Return how many segments the page's paths have, and the area of its largest picture, in square points."""
    count = min(MOST_OBJECTS, pdfium.FPDFPage_CountObjects(page))
    step = max(1, min(LONGEST_STEP, count // STEPS))
    get, kind = pdfium.FPDFPage_GetObject, pdfium.FPDFPageObj_GetType
    if all(kind(get(page, at)) == pdfium.FPDF_PAGEOBJ_TEXT for at in range(0, count, step)):
        return 0, 0.0
    segments, area = 0, 0.0
    for one in _objects(page, get, count):
        if kind(one) == pdfium.FPDF_PAGEOBJ_PATH:
            segments += max(0, pdfium.FPDFPath_CountSegments(one))
        elif kind(one) == pdfium.FPDF_PAGEOBJ_IMAGE:
            area = max(area, _area(one))
    return segments, area


def _objects(holder: Any, get: Any, count: int) -> Iterator[Any]:
    """Yield objects, and those inside of forms (ISO 32000-1 8.10), which some programs make of whole pages."""
    for at in range(min(MOST_OBJECTS, count)):
        one = get(holder, at)
        yield one
        if pdfium.FPDFPageObj_GetType(one) == pdfium.FPDF_PAGEOBJ_FORM and get is not pdfium.FPDFFormObj_GetObject:
            yield from _objects(one, pdfium.FPDFFormObj_GetObject, pdfium.FPDFFormObj_CountObjects(one))


def _area(one: Any) -> float:
    edges = [c_float() for _ in range(4)]
    if not pdfium.FPDFPageObj_GetBounds(one, *edges):
        return 0.0
    left, bottom, right, top = (edge.value for edge in edges)
    return max(0.0, right - left) * max(0.0, top - bottom)


def _lay_out(content: Content, read_lines: Mapping[int, Lines]) -> None:
    """Mark what runs along the pages, and write each page as Markdown."""
    layout = layout_of(list(read_lines.values()))
    content.layout = layout.as_json()
    for page in content.pages:
        lines = read_lines.get(page.n)
        if lines is not None:
            _lay_out_page(page, lines, layout)


def _lay_out_page(page: Page, lines: Lines, layout: Layout) -> None:
    head, foot = running(lines, layout)
    page.header = "\n".join(lines.texts[at] for at in head) or None
    page.footer = "\n".join(lines.texts[at] for at in foot) or None
    page.markdown = markdown(lines, layout, {*head, *foot})


def _metadata(pdf: PdfDocument) -> dict[str, Any]:
    found = {key.lower(): value for key, value in pdf.get_metadata_dict(skip_empty=True).items()}
    names = {"creationdate": "created", "moddate": "modified"}
    values = {names.get(key, key): _date(value) if key in names else value for key, value in found.items()}
    return values | {"pages": len(pdf), "pdf_version": pdf.get_version()}


def _date(value: str) -> str:
    """Return `D:20240131120000+01'00'` (ISO 32000-1 7.9.4) as ISO 8601; what is none stays as it is."""
    match = re.match(r"D:(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:([+-])(\d\d)'?(\d\d)|Z)?", value)
    if match is None:
        return value
    year, month, day, hour, minute, second, sign, hours, minutes = match.groups()
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}{sign + hours + ':' + minutes if sign else '+00:00'}"
