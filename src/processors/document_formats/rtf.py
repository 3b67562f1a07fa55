"""Rich text (RTF 1.9.1): paragraphs, headings, lists, tables and links, then boxes, notes, heads and feet."""

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, cast

from striprtf import striprtf

from processors.document_formats.blocks import Block, page_of, table_of
from processors.document_formats.content import Allowance, Content, Table
from processors.document_formats.rtf_parts import END_CELL, END_ROW, MARK, OPEN_ROW, TIME_UNITS, Parts, taken_apart
from processors.interfaces import Report

ROW = re.compile(f"{OPEN_ROW}([^{END_ROW}]*){END_ROW}")
MARKS = re.compile(f"{MARK}([a-z])(\\d+){MARK}")
LINKED = re.compile(f"{MARK}s(\\d+){MARK}(.*?){MARK}e\\1{MARK}", re.DOTALL)
SEPARATOR = f"{{}}{MARK}c0{MARK}"
PROPERTIES = ("title", "author", "subject", "keywords", "comments", "last_modified_by")


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read rich text; pictures and embedded objects are left out.

    Raises:
        FileError: its groups are nested too deeply.
    """
    report(10, "taking the rich text apart")
    content = Content(engine=f"striprtf {importlib.metadata.version('striprtf')}")
    parts = taken_apart(file.read())
    if parts.cut:
        content.limits_hit.append("max_characters")
    report(50, "reading the text")
    blocks = list(_blocks(_text(parts, "".join(parts.body)), parts, content))
    aside = {name: [text for text in _aside(parts, name) if text] for name in parts.aside}
    blocks += [Block("paragraph", text) for name in ("box", "note") for text in aside.get(name, [])]
    heads = {name: "\n".join(dict.fromkeys(aside.get(name, []))) or None for name in ("header", "footer")}
    allowance = Allowance(options, content)
    page = page_of(1, blocks, allowance)
    page.header, page.footer = heads["header"], heads["footer"]
    page.text += "".join(allowance.take(f"\n{text}") for text in heads.values() if text)
    content.pages.append(page)
    content.annotations = _comments(parts)
    if options["extract_metadata"]:
        content.metadata = _metadata(parts, aside)
    return content


def body_text(raw: bytes) -> str:
    """Return what rich text says, without what stands beside it."""
    parts = taken_apart(raw)
    text = ROW.sub(
        lambda row: row[1].rstrip(END_CELL).replace(END_CELL, "\t") + "\n", _text(parts, "".join(parts.body))
    )
    return MARKS.sub("", text.replace(END_CELL, "\t"))


def _text(parts: Parts, rich: str) -> str:
    """Return rich text as text; characters beyond 16 bits are written in halves, which are put together."""
    text: str = cast("Any", striprtf).rtf_to_text(f"{parts.head()}{rich}}}", encoding=parts.encoding, errors="replace")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\xad", "")


def _blocks(text: str, parts: Parts, content: Content) -> Iterator[Block]:
    """Yield paragraphs, headings, items and tables; rows that follow each other are one table."""
    text = LINKED.sub(lambda link: _linked(link, parts, content), text)
    rows: list[list[str]] = []
    at = 0
    for row in [*ROW.finditer(text), None]:
        between = text[at : row.start() if row else len(text)]
        if rows and (between.strip() or row is None):
            content.tables.append(Table(1, rows))
            yield table_of(rows)
            rows = []
        if between.strip():
            yield from _paragraphs(between.replace(END_CELL, "\t"), content)
        if row:
            cells = MARKS.sub("", row[1]).split(END_CELL)
            rows.append([" ".join(cell.split()) for cell in (cells[:-1] or cells)])
            at = row.end()


def _linked(link: re.Match[str], parts: Parts, content: Content) -> str:
    shown = MARKS.sub("", link[2]).strip()
    content.links.append({"text": shown, "url": parts.links[int(link[1])], "page": 1})
    return link[2]


def _paragraphs(text: str, content: Content) -> Iterator[Block]:
    for line in text.strip("\n").split("\n"):
        marks = {name: int(number) for name, number in MARKS.findall(line)}
        said = MARKS.sub("", line).strip()
        if "h" in marks and said:
            content.outline.append({"title": said, "level": marks["h"] + 1, "page": 1})
            yield Block("heading", said, marks["h"] + 1)
        elif "i" in marks:
            yield Block("item", said, marks.get("l", 0) + 1)
        else:
            yield Block("paragraph", said)


def _aside(parts: Parts, name: str) -> list[str]:
    """Return the texts of all parts of a name, in their order."""
    rich = SEPARATOR.join("".join(part) for part in parts.aside.get(name, []))
    texts = _text(parts, rich).split(f"{MARK}c0{MARK}")
    return [MARKS.sub("", text).replace(END_CELL, "\t").strip(f"\n \t{OPEN_ROW}{END_ROW}") for text in texts]


def _comments(parts: Parts) -> list[dict[str, Any]]:
    """Return remarks; each follows the group that names its author."""
    if "comment" not in parts.aside:
        return []
    authors = _aside(parts, "commenter")
    return [
        {"type": "comment", "text": text, "author": authors[at] if at < len(authors) else None, "page": 1}
        for at, text in enumerate(_aside(parts, "comment"))
    ]


def _metadata(parts: Parts, aside: Mapping[str, list[str]]) -> dict[str, Any]:
    found: dict[str, Any] = {name: aside[name][0] for name in PROPERTIES if aside.get(name)}
    times = {name: _time(units) for name, units in parts.times.items()}
    return found | {name: time for name, time in times.items() if time} | {"encoding": parts.encoding}


def _time(units: Mapping[str, int]) -> str | None:
    try:
        year, month, day, hour, minute = (units.get(unit, 0) for unit in TIME_UNITS)
        return datetime(year, month, day, hour, minute).isoformat()  # noqa: DTZ001 - RTF has no zone
    except ValueError:
        return None
