"""Tables of values between commas, semicolons, tabs or bars."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, BinaryIO

from processors.document_formats import text
from processors.document_formats.blocks import markdown_of, table_of
from processors.document_formats.content import Content, Table
from processors.interfaces import Report

SAMPLE_CHARACTERS, SAMPLE_ROWS = 64 * 1024, 500
DELIMITERS = "\t;|,"
"""The most telling first: commas also stand in numbers and sentences."""

LONGEST_FIELD = 2**31 - 1
csv.field_size_limit(LONGEST_FIELD)


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read a table (RFC 4180); one that cannot be cut into rows is still text, with a warning."""
    content = text.read(file, options, report)
    whole = content.pages[0].text
    delimiter = _delimiter(whole)
    try:
        rows = list(_rows(whole, delimiter))
    except csv.Error as error:
        message = f"The text cannot be cut into rows: {error}."
        content.warnings.append({"code": "table_unreadable", "message": message})
        return content
    content.tables.append(Table(1, rows))
    content.pages[0].markdown = markdown_of([table_of(rows)])
    content.metadata |= {"rows": len(rows), "delimiter": delimiter} if options["extract_metadata"] else {}
    return content


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    quoted_after_space = f'{delimiter} "' in text
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=quoted_after_space)


def _delimiter(whole: str) -> str:
    """Return the delimiter that cuts most rows into the same number of cells; one cell is none."""
    shares = {delimiter: _even_share(whole[:SAMPLE_CHARACTERS], delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda delimiter: shares[delimiter])
    return best if shares[best] else ","


def _even_share(sample: str, delimiter: str) -> float:
    try:
        widths = Counter(len(row) for row in islice(_rows(sample, delimiter), SAMPLE_ROWS) if row)
    except csv.Error:
        return 0.0
    width, rows = widths.most_common(1)[0] if widths else (0, 0)
    return rows / widths.total() if width > 1 else 0.0
