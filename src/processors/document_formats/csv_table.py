"""Tables of values between commas, semicolons, tabs or bars."""

import csv
import io
from collections.abc import Mapping
from typing import Any, BinaryIO

from processors.document_formats import text
from processors.document_formats.content import Content, Table
from processors.interfaces import Report

SAMPLE_CHARACTERS = 64 * 1024
LONGEST_FIELD = 2**31 - 1
csv.field_size_limit(LONGEST_FIELD)


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read a table (RFC 4180); one that cannot be cut into rows is still text, with a warning."""
    content = text.read(file, options, report)
    whole = content.pages[0].text
    dialect = _dialect(whole)
    try:
        rows = list(csv.reader(io.StringIO(whole, newline=""), dialect))
    except csv.Error as error:
        message = f"The text cannot be cut into rows: {error}."
        content.warnings.append({"code": "table_unreadable", "message": message})
        return content
    content.tables.append(Table(1, rows))
    content.metadata |= {"rows": len(rows), "delimiter": dialect.delimiter} if options["extract_metadata"] else {}
    return content


def _dialect(whole: str) -> Any:
    try:
        return csv.Sniffer().sniff(whole[:SAMPLE_CHARACTERS], ",;\t|")
    except csv.Error:
        return csv.excel
