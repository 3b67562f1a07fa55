"""PDF: the text layer, page by page, and pictures of pages for OCR."""

import hashlib
import importlib.metadata
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any, BinaryIO, cast

from pypdfium2 import PdfDocument, PdfiumError  # pyright: ignore[reportMissingTypeStubs] - it has none

from processors.document_formats.content import Allowance, Content, Page
from processors.errors import FileError
from processors.interfaces import Report, TextReader

OCR_DPI = 200
LEAST_DPI = 72
MOST_PIXELS = 25_000_000
POINTS_PER_INCH = 72
UNUSABLE = re.compile("[\ufffd\ue000-\uf8ff\x00-\x08\x0e-\x1f]")
MOST_UNUSABLE_SHARE = 0.3
REPORT_EVERY = 25
SOFT_HYPHEN = "\ufffe"
"""How PDFium marks a word that is divided at a line's end, whose parts it joins."""

MOST_BOOKMARKS = 1_000
MOST_ATTACHMENTS = 100
ENGINE = f"pypdfium2 {importlib.metadata.version('pypdfium2')}"


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read the text layer and the metadata; a page without usable text has the source `none`."""
    content = Content(engine=ENGINE)
    allowance = Allowance(options, content)
    with _opened(file, options.get("password")) as pdf:
        if options["extract_metadata"]:
            content.metadata = _metadata(pdf)
        content.outline = _outline(pdf)
        content.attachments = _attachments(pdf)
        count = len(pdf)
        for index in range(count):
            if allowance.over() or not allowance.page():
                content.pages_skipped = count - index
                break
            if index % REPORT_EVERY == 0:
                report(90 * index / count, f"page {index + 1} of {count}")
            _read_page(pdf, index, allowance, content)
    return content


def read_pictures(
    file: BinaryIO, pages: Sequence[int], options: Mapping[str, Any], reader: TextReader, report: Report
) -> Content:
    """Read pages as pictures.

    Args:
        file: the PDF.
        pages: numbers, from 1.
        options: `password`.
        reader: reads text in pictures.
        report: told how far it is.
    """
    content = Content(engine=f"{reader.name} {reader.version}")
    with _opened(file, options.get("password")) as pdf:
        for done, number in enumerate(pages):
            report(100 * done / len(pages), f"reading page {number} as a picture")
            try:
                content.pages.append(_recognise(pdf, number, reader))
            except PdfiumError as error:
                content.errors.append({"code": "page_failed", "step": "ocr", "page": number, "message": str(error)})
    return content


def usable(text: str) -> bool:
    """Tell whether a text layer says anything: scans and broken fonts have none, or characters that mean nothing."""
    dense = "".join(text.split())
    return bool(dense) and len(UNUSABLE.findall(dense)) <= MOST_UNUSABLE_SHARE * len(dense)


@contextmanager
def _opened(file: BinaryIO, password: str | None) -> Generator[PdfDocument]:
    try:
        pdf = PdfDocument(file.read(), password=password)
    except PdfiumError as error:
        raise _unreadable(str(error), password) from error
    with closing(pdf):
        if len(pdf) == 0:
            raise FileError("The PDF has no pages.", "corrupt")
        yield pdf


def _unreadable(message: str, password: str | None) -> FileError:
    if "password" not in message.lower():
        return FileError(f"The file begins like a PDF and cannot be read as one: {message}", "corrupt")
    if password is None:
        return FileError("The PDF is encrypted: give its password.", "encrypted")
    return FileError("The PDF is encrypted and the password is not the right one.", "password_wrong")


def _read_page(pdf: PdfDocument, index: int, allowance: Allowance, content: Content) -> None:
    try:
        with closing(pdf[index]) as page:
            width, height = page.get_size()
            with closing(page.get_textpage()) as layer:
                text = layer.get_text_range().replace("\r\n", "\n").replace(SOFT_HYPHEN, "")
    except PdfiumError as error:
        content.errors.append({"code": "page_failed", "step": "text", "page": index + 1, "message": str(error)})
        return
    good = usable(text)
    kept = allowance.take(text) if good else ""
    content.pages.append(Page(index + 1, kept, "text_layer" if good else "none", round(width, 2), round(height, 2)))


def _recognise(pdf: PdfDocument, number: int, reader: TextReader) -> Page:
    with closing(pdf[number - 1]) as page:
        width, height = page.get_size()
        inches = (width / POINTS_PER_INCH) * (height / POINTS_PER_INCH)
        dpi = min(OCR_DPI, (MOST_PIXELS / max(inches, 0.01)) ** 0.5)
        if dpi < LEAST_DPI:
            raise PdfiumError(f"The page is {width:.0f} by {height:.0f} points, too large to be read as a picture.")
        picture: Any = cast("Any", page).render(scale=dpi / POINTS_PER_INCH)
        with closing(picture) as bitmap:
            lines = reader.read(bitmap.to_numpy().copy())
    text = "\n".join(line.text for line in lines)
    sure = sum(line.confidence for line in lines) / len(lines) if lines else None
    return Page(number, text, "ocr" if text else "none", round(width, 2), round(height, 2), None, sure)


def _outline(pdf: PdfDocument) -> list[dict[str, Any]]:
    """Return the bookmarks: title, level from 1, and the page where they lead to one."""
    found: list[dict[str, Any]] = []
    for bookmark in islice(cast("Any", pdf).get_toc(), MOST_BOOKMARKS):
        target = bookmark.get_dest()
        index = target.get_index() if target else None
        page = None if index is None else index + 1
        found.append({"title": bookmark.get_title(), "level": bookmark.level + 1, "page": page})
    return found


def _attachments(pdf: PdfDocument) -> list[dict[str, Any]]:
    return [_attachment(pdf, number) for number in range(min(MOST_ATTACHMENTS, pdf.count_attachments()))]


def _attachment(pdf: PdfDocument, number: int) -> dict[str, Any]:
    """Describe a file inside the PDF; one without readable data has no digest."""
    name = None
    try:
        attached: Any = cast("Any", pdf).get_attachment(number)
        name = attached.get_name()
        raw = bytes(attached.get_data())
    except PdfiumError:
        return {"name": name, "type": None, "bytes": 0, "sha256": None}
    return {
        "name": name,
        "type": None,
        "bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }


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
