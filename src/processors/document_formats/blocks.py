"""The pieces of a document in their order, from which its text and its Markdown are made."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from processors.document_formats.content import Allowance, Page

DEEPEST_HEADING = 6
DEEPEST_ITEM = 20
SPACES_PER_LEVEL = 2
MARKS = re.compile(r"([\\`*\[\]<])")
BLOCK_MARK = re.compile(r"^( {0,3})(#{1,6}(?=\s|$)|>|[-+=~](?=\s|$|[-=~])|\d{1,9}(?=[.)](?:\s|$)))")


@dataclass(slots=True)
class Block:
    """One piece of a document.

    Attributes:
        kind: what it is.
        text: what it says; that of a table follows from its rows.
        level: of a heading, from 1; of an item, how many lists it lies in, from 1.
        rows: the texts of a table's cells.
    """

    kind: Literal["paragraph", "heading", "item", "code", "table"]
    text: str = ""
    level: int = 0
    rows: list[list[str]] = field(default_factory=list[list[str]])


def table_of(rows: list[list[str]]) -> Block:
    """Return a table: a row is a line, its cells stand between tabs."""
    return Block("table", "\n".join("\t".join(row) for row in rows), rows=rows)


def page_of(number: int, blocks: Iterable[Block], allowance: Allowance, title: str | None = None) -> Page:
    """Return the page that blocks make, as far as its characters may be kept."""
    kept = list(_kept(blocks, allowance))
    return Page(number, "\n".join(block.text for block in kept), title=title, markdown=markdown_of(kept))


def markdown_of(blocks: Iterable[Block]) -> str:
    """Return blocks as Markdown (CommonMark 0.31, tables as in GitHub Flavored Markdown 4.10)."""
    parts: list[str] = []
    before = ""
    for block in blocks:
        if not (said := _said(block)):
            continue
        if parts:
            parts.append("\n" if before == block.kind == "item" else "\n\n")
        parts.append(said)
        before = block.kind
    return "".join(parts)


def escaped(text: str) -> str:
    """Return text of which no character is taken for Markdown."""
    return "\n".join(_escaped_line(line) for line in text.split("\n"))


def _kept(blocks: Iterable[Block], allowance: Allowance) -> Iterable[Block]:
    for block in blocks:
        if allowance.over():
            return
        kept = allowance.take(block.text)
        if len(kept) < len(block.text):
            rows = [line.split("\t") for line in kept.split("\n")] if block.rows else []
            yield Block(block.kind, kept, block.level, rows)
        else:
            yield block


def _said(block: Block) -> str:
    if block.kind == "table":
        return _table(block.rows)
    if not block.text.strip():
        return ""
    if block.kind == "code":
        return _fenced(block.text)
    if block.kind == "heading":
        return "#" * min(DEEPEST_HEADING, block.level) + " " + escaped(" ".join(block.text.split()))
    if block.kind == "item":
        indent = " " * SPACES_PER_LEVEL * (min(DEEPEST_ITEM, block.level) - 1)
        return f"{indent}- " + escaped(block.text).replace("\n", f"\n{indent}  ")
    return escaped(block.text)


def _fenced(text: str) -> str:
    """Return code between fences that do not occur in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def _escaped_line(line: str) -> str:
    marked = MARKS.sub(r"\\\1", line.strip())
    match = BLOCK_MARK.match(marked)
    if match is None:
        return marked
    if match[2].isdecimal():
        return marked[: match.end()] + "\\" + marked[match.end() :]
    return match[1] + "\\" + marked[match.end(1) :]


def _table(rows: list[list[str]]) -> str:
    """Return a table whose first row is its head, as wide as the widest; the others need not be (GFM 4.10).

    One long row among many short ones would otherwise be a page of a thousand times its size.
    """
    width = max(map(len, rows), default=0)
    if not width:
        return ""
    head = rows[0] + [""] * (width - len(rows[0]))
    return "\n".join([_row(head), "|" + " --- |" * width, *map(_row, rows[1:])])


def _row(row: list[str]) -> str:
    cells = [MARKS.sub(r"\\\1", " ".join(cell.split())).replace("|", "\\|") for cell in row]
    return "| " + " | ".join(cells) + " |"
