"""XLSX: every sheet as a table of values (ISO/IEC 29500-1, 18)."""

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import date, datetime, time
from itertools import islice
from typing import Any, BinaryIO

import openpyxl

from processors.document_formats.archives import check_archive
from processors.document_formats.blocks import markdown_of, table_of
from processors.document_formats.content import Allowance, Content, Page, Table
from processors.document_formats.office import engine, loaded, properties
from processors.document_formats.xlsx_beside import Beside, beside, inside
from processors.interfaces import Report

MOST_ROWS = 1_048_576
MIDNIGHT = time()
REPORT_EVERY_ROWS = 5_000
NOT_CALCULATED = re.compile(rb"</f>\s*(?:<v\s*/>|<v></v>|</c>)")
CHUNK, OVERLAP = 1024**2, 32


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read the values that were last calculated; of several empty rows one is kept."""
    check_archive(file)
    content = Content(engine=engine("openpyxl"))
    allowance = Allowance(options, content)
    with closing(loaded(_open, file)) as book:
        for number, sheet in enumerate(book.worksheets, 1):
            if allowance.over() or not allowance.page():
                content.pages_skipped = len(book.worksheets) - number + 1
                break
            rows = list(_rows(sheet, allowance, report))
            table = table_of(rows)
            content.tables.append(Table(number, rows, sheet.title))
            content.pages.append(Page(number, table.text, title=sheet.title, markdown=markdown_of([table])))
            if sheet.sheet_state != "visible":
                message = f"The sheet {sheet.title} is hidden; its values are read."
                content.warnings.append({"code": "hidden_sheet", "message": message, "page": number})
        content.metadata = properties(book.properties, options)
    _add_beside(file, content)
    if _has_uncalculated(file):
        message = "The workbook has formulas without a stored value, shown as empty: open and save it in a spreadsheet."
        content.warnings.append({"code": "formulas_not_calculated", "message": message})
    return content


def _add_beside(file: BinaryIO, content: Content) -> None:
    sheets = beside(file)
    for table in content.tables:
        found = sheets.get(table.title or "", Beside())
        table.merged = found.merged
        content.links += [one | {"page": table.page} for one in found.links]
        content.annotations += [one | {"page": table.page} for one in found.annotations]
    content.attached = inside(file)


def _open(file: BinaryIO) -> Any:
    return openpyxl.load_workbook(file, read_only=True, data_only=True)


def _rows(sheet: Any, allowance: Allowance, report: Report) -> Iterator[list[str]]:
    sheet.reset_dimensions()  # what the sheet says of its own size is often a whole empty grid
    pending = began = False
    every: Iterator[tuple[Any, ...]] = islice(sheet.iter_rows(values_only=True), MOST_ROWS)
    for index, values in enumerate(every):
        if index % REPORT_EVERY_ROWS == 0:
            report(50, f"sheet {sheet.title}, row {index + 1}")
        cells = _cells(values)
        if not cells:
            pending = began
            continue
        kept = allowance.take("\t".join(cells))
        if pending:
            yield []
        yield kept.split("\t") if len(kept) < len("\t".join(cells)) else cells
        if allowance.over():
            return
        pending, began = False, True


def _cells(values: tuple[Any, ...]) -> list[str]:
    """Return a row's texts without the empty ones at its end."""
    last = next((at for at in range(len(values) - 1, -1, -1) if values[at] not in {None, ""}), -1)
    return [_cell(value) for value in values[: last + 1]]


def _cell(value: Any) -> str:
    """Return a cell's text; dates and times as ISO 8601, a day without a time where the time is midnight."""
    if value is None:
        return ""
    if isinstance(value, datetime) and value.time() == MIDNIGHT:
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _has_uncalculated(file: BinaryIO) -> bool:
    """Tell whether a formula has no stored value, as in files that no spreadsheet has saved."""
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/") and name.endswith(".xml")]
        return any(_has(archive, name) for name in sheets)


def _has(archive: zipfile.ZipFile, name: str) -> bool:
    tail = b""
    with archive.open(name) as stream:
        while chunk := stream.read(CHUNK):
            if NOT_CALCULATED.search(tail + chunk):
                return True
            tail = chunk[-OVERLAP:]
    return False
