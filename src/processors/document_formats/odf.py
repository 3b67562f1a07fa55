"""OpenDocument: texts, spreadsheets and presentations (OASIS OpenDocument 1.3, part 3)."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from processors.document_formats.archives import check_archive
from processors.document_formats.blocks import Block, page_of, table_of
from processors.document_formats.content import Allowance, Content, Table
from processors.document_formats.xml_parts import local_name, members, part, whole_text
from processors.errors import FileError
from processors.interfaces import Report

URN = "urn:oasis:names:tc:opendocument:xmlns:"
OFFICE, TEXT, TABLE, DRAW, STYLE = (f"{{{URN}{name}:1.0}}" for name in ("office", "text", "table", "drawing", "style"))
FORM, PRESENTATION, MANIFEST, META = (f"{{{URN}{name}:1.0}}" for name in ("form", "presentation", "manifest", "meta"))
XLINK, DC = "{http://www.w3.org/1999/xlink}", "{http://purl.org/dc/elements/1.1/}"
HREF = f"{XLINK}href"

MOST_COLUMNS = 16_384
MOST_ROWS = 1_048_576
MOST_SPACES = 1_000
LONGEST_COUNT = 9
"""Digits of a count that are read: Python refuses thousands, and no count is as large."""
MOST_REPEATS_OF_CONTENT = 1_000
"""How often a row or a cell with content may repeat; empty ones only take their place."""

BESIDE = {f"{TEXT}tracked-changes", f"{OFFICE}annotation", f"{OFFICE}annotation-end", f"{OFFICE}forms", f"{TEXT}note"}
"""What stands in the text and is no part of it: deleted text, remarks, notes and descriptions of controls."""

PROPERTIES = {
    "title": f"{DC}title",
    "subject": f"{DC}subject",
    "description": f"{DC}description",
    "author": f"{META}initial-creator",
    "last_modified_by": f"{DC}creator",
    "created": f"{META}creation-date",
    "modified": f"{DC}date",
    "producer": f"{META}generator",
}
VALUES = {"date": f"{OFFICE}date-value", "boolean": f"{OFFICE}boolean-value"}
"""Cells whose value says more than what they show, and where it stands."""


@dataclass(slots=True)
class _Reading:
    """What is known of the document while it is read: notes are gathered until their page ends."""

    content: Content
    allowance: Allowance
    hidden_styles: frozenset[str]
    page: int = 1
    notes: list[Block] = field(default_factory=list[Block])


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read a text as one page, a spreadsheet sheet by sheet, a presentation slide by slide.

    Raises:
        FileError: it is damaged, or encrypted.
    """
    check_archive(file)
    content = Content(engine="lxml")
    with zipfile.ZipFile(file) as archive:
        _refuse_encrypted(archive)
        root = part(archive, "content.xml")
        styles = _part_beside(archive, "styles.xml", content)
        content.attached = members(archive, [name for name in archive.namelist() if name.startswith("Pictures/")])
        if options["extract_metadata"] and (described := _part_beside(archive, "meta.xml", content)) is not None:
            content.metadata = _metadata(described)
    report(30, "reading the text")
    body = root.find(f"{OFFICE}body")
    kinds: dict[str, Callable[[Any, _Reading, Report], None]] = {
        "text": _read_text,
        "spreadsheet": _read_sheets,
        "presentation": _read_slides,
    }
    inner = next((child for child in body if local_name(child) in kinds), None) if body is not None else None
    if inner is None:
        raise FileError("The document has no text, spreadsheet or presentation in it.", "corrupt")
    reading = _Reading(content, Allowance(options, content), _hidden_styles(root))
    kinds[local_name(inner)](inner, reading, report)
    if local_name(inner) == "text":
        _mark_heads(styles, reading)
    content.forms = [_form(control) for control in inner.iter() if _is_control(control)]
    _tell_changes(inner, content)
    return content


def _part_beside(archive: zipfile.ZipFile, name: str, content: Content) -> Any:
    """Return the root of a part that the text does not need, or None; a damaged one costs itself alone."""
    if name not in archive.namelist():
        return None
    try:
        return part(archive, name)
    except SyntaxError as error:  # lxml's are
        content.warnings.append({"code": "part_unreadable", "message": f"{name} is damaged and left out: {error}."})
        return None


def _refuse_encrypted(archive: zipfile.ZipFile) -> None:
    if "META-INF/manifest.xml" not in archive.namelist():
        return
    manifest = part(archive, "META-INF/manifest.xml")
    if next(manifest.iter(f"{MANIFEST}encryption-data"), None) is not None:
        raise FileError("The document is encrypted: save it without a password.", "encrypted")


def _read_text(body: Any, reading: _Reading, _report: Report) -> None:
    blocks = list(_blocks(body, reading))
    reading.content.pages.append(page_of(1, [*blocks, *reading.notes], reading.allowance))


def _read_sheets(body: Any, reading: _Reading, report: Report) -> None:
    content = reading.content
    sheets = body.findall(f"{TABLE}table")
    for number, sheet in enumerate(sheets, 1):
        if reading.allowance.over() or not reading.allowance.page():
            content.pages_skipped = len(sheets) - number + 1
            break
        report(30 + 60 * number / len(sheets), f"sheet {number}")
        reading.page = number
        title = sheet.get(f"{TABLE}name")
        if sheet.get(f"{TABLE}style-name") in reading.hidden_styles:
            content.warnings.append(_hidden("hidden_sheet", f"The sheet {title} is hidden.", number))
        page = page_of(number, [table_of(_rows(sheet, reading))], reading.allowance, title)
        content.tables.append(Table(number, [line.split("\t") for line in page.text.split("\n")], title))
        content.pages.append(page)


def _read_slides(body: Any, reading: _Reading, report: Report) -> None:
    content = reading.content
    slides = body.findall(f"{DRAW}page")
    for number, slide in enumerate(slides, 1):
        if reading.allowance.over() or not reading.allowance.page():
            content.pages_skipped = len(slides) - number + 1
            break
        report(30 + 60 * number / len(slides), f"slide {number}")
        reading.page = number
        if slide.get(f"{DRAW}style-name") in reading.hidden_styles:
            content.warnings.append(_hidden("hidden_slide", f"Slide {number} is hidden.", number))
        title = next((frame for frame in slide if frame.get(f"{PRESENTATION}class") == "title"), None)
        shown = whole_text(title) if title is not None else None
        if shown:
            content.outline.append({"title": shown, "level": 1, "page": number})
        content.pages.append(page_of(number, list(_blocks(slide, reading)), reading.allowance, shown))


def _hidden(code: str, message: str, number: int) -> dict[str, Any]:
    return {"code": code, "message": f"{message[:-1]}; its text is read.", "page": number}


def _blocks(parent: Any, reading: _Reading, depth: int = 0) -> Iterator[Block]:
    """Yield paragraphs, headings, items and tables in their order, wherever they are nested.

    Args:
        parent: the element whose content it is.
        reading: what is known.
        depth: how many lists it lies in.
    """
    for child in parent:
        name = child.tag
        if name == f"{TEXT}h":
            yield _heading(child, reading)
        elif name == f"{TEXT}p":
            yield Block("item" if depth else "paragraph", _text(child, reading), depth)
            yield from _boxes(child, reading)
        elif name == f"{TABLE}table":
            rows = _rows(child, reading)
            reading.content.tables.append(Table(reading.page, rows, child.get(f"{TABLE}name")))
            yield table_of(rows)
        elif name == f"{OFFICE}annotation":
            _annotate(child, reading)
        elif name not in BESIDE and isinstance(name, str):
            yield from _blocks(child, reading, depth + (name == f"{TEXT}list"))


def _boxes(paragraph: Any, reading: _Reading) -> Iterator[Block]:
    """Yield the blocks of text boxes that hang on a paragraph."""
    for box in paragraph.iter(f"{DRAW}text-box"):
        if next(box.iterancestors(f"{DRAW}text-box"), None) is None:
            yield from _blocks(box, reading)


def _heading(element: Any, reading: _Reading) -> Block:
    level = _count(element.get(f"{TEXT}outline-level"), 10)
    block = Block("heading", _text(element, reading), level)
    if block.text.strip():
        reading.content.outline.append({"title": block.text, "level": level, "page": reading.page})
    return block


def _text(element: Any, reading: _Reading) -> str:
    return "".join(_pieces(element, reading)).strip("\n")


def _pieces(element: Any, reading: _Reading) -> Iterator[str]:
    """Yield the text of a paragraph; what is nested in it as a block of its own is not part of it."""
    yield _one_space(element.text)
    for child in element:
        yield from _piece(child, reading)
        yield _one_space(child.tail)


def _piece(child: Any, reading: _Reading) -> Iterator[str]:
    name = child.tag
    if name == f"{TEXT}s":
        yield " " * min(MOST_SPACES, _count(child.get(f"{TEXT}c"), MOST_SPACES))
    elif name in {f"{TEXT}tab", f"{TEXT}line-break"}:
        yield "\t" if name == f"{TEXT}tab" else "\n"
    elif name == f"{TEXT}note":
        citation = child.findtext(f"{TEXT}note-citation") or "*"
        reading.notes += [
            Block("paragraph", f"[{citation}] {block.text}")
            for body in child.findall(f"{TEXT}note-body")
            for block in _blocks(body, reading)
        ]
        yield f"[{citation}]"
    elif name == f"{OFFICE}annotation":
        _annotate(child, reading)
    elif name == f"{TEXT}a":
        reading.content.links.append({"text": whole_text(child), "url": child.get(HREF), "page": reading.page})
        yield from _pieces(child, reading)
    elif name not in BESIDE and name != f"{DRAW}text-box" and isinstance(name, str):
        yield from _pieces(child, reading)


def _one_space(text: str | None) -> str:
    """Return text whose white space is one space each (part 3, 6.1.2); more of it is written as elements."""
    if not text:
        return ""
    inner = " ".join(text.split())
    return (" " if text[0].isspace() else "") + inner + (" " if inner and text[-1].isspace() else "")


def _annotate(element: Any, reading: _Reading) -> None:
    reading.content.annotations.append(
        {
            "type": "comment",
            "text": "\n".join(whole_text(line) for line in element.iter(f"{TEXT}p")),
            "author": element.findtext(f"{DC}creator"),
            "page": reading.page,
        }
    )


def _rows(table: Any, reading: _Reading) -> list[list[str]]:
    """Return a table's cells; empty rows and cells at an end are left out, however often they are repeated."""
    rows: list[list[str]] = []
    characters = waiting = 0
    for row in _own(table, f"{TABLE}table-row"):
        cells = _cells(row, reading)
        count = _count(row.get(f"{TABLE}number-rows-repeated"), MOST_ROWS)
        if not cells:
            waiting += count
            continue
        rows += [[]] * min(1, waiting if rows else 0)
        rows += [cells] * min(count, MOST_REPEATS_OF_CONTENT)
        waiting = 0
        characters += min(count, MOST_REPEATS_OF_CONTENT) * sum(map(len, cells))
        if len(rows) > MOST_ROWS or characters > reading.allowance.left:
            break
    return rows


def _own(table: Any, tag: str) -> Iterator[Any]:
    """Yield a table's own rows, or a row's own cells, not those of a table inside it."""
    for child in table:
        if child.tag == tag:
            yield child
        elif child.tag in {f"{TABLE}table-{group}" for group in ("header-rows", "rows", "row-group")}:
            yield from _own(child, tag)


def _cells(row: Any, reading: _Reading) -> list[str]:
    cells: list[str] = []
    empty = 0
    for cell in row:
        if cell.tag not in {f"{TABLE}table-cell", f"{TABLE}covered-table-cell"}:
            continue
        text = _cell(cell, reading)
        count = _count(cell.get(f"{TABLE}number-columns-repeated"), MOST_COLUMNS)
        if not text:
            empty += count
            continue
        cells += [""] * empty + [text] * min(count, MOST_REPEATS_OF_CONTENT)
        empty = 0
        if len(cells) >= MOST_COLUMNS:
            return cells[:MOST_COLUMNS]
    return cells


def _cell(cell: Any, reading: _Reading) -> str:
    shown = " ".join(" ".join(block.text.split()) for block in _blocks(cell, reading) if block.text)
    attribute = VALUES.get(cell.get(f"{OFFICE}value-type"))
    return str(cell.get(attribute, shown)) if attribute else shown


def _count(value: str | None, most: int) -> int:
    """Return a number that a document gives, from 1 to the most; what is no number is 1."""
    return max(1, min(most, int(value[:LONGEST_COUNT]))) if value and value.isdecimal() else 1


def _hidden_styles(root: Any) -> frozenset[str]:
    """Return the names of the styles that hide a sheet or a slide."""
    hidden: set[str] = set()
    for style in root.iter(f"{STYLE}style"):
        for properties in style:
            shows = properties.get(f"{TABLE}display") != "false"
            if not shows or properties.get(f"{PRESENTATION}visibility") == "hidden":
                hidden.add(style.get(f"{STYLE}name"))
    return frozenset(hidden)


def _mark_heads(styles: Any, reading: _Reading) -> None:
    """Give the pages what stands at their heads and feet, by the first master page that has it; it ends their text."""
    if styles is None:
        return
    header, footer = _head(styles, "header"), _head(styles, "footer")
    for page in reading.content.pages:
        page.header, page.footer = header, footer
        page.text += "".join(reading.allowance.take(f"\n{text}") for text in (header, footer) if text)


def _head(styles: Any, name: str) -> str | None:
    return next((text for one in styles.iter(f"{STYLE}{name}") if (text := whole_text(one))), None)


def _is_control(element: Any) -> bool:
    return isinstance(element.tag, str) and element.tag.startswith(FORM) and element.get(f"{FORM}name") is not None


def _form(control: Any) -> dict[str, Any]:
    values = (control.get(f"{FORM}{name}") for name in ("current-value", "current-state", "value", "state"))
    value = next((value for value in values if value is not None), None)
    secret = local_name(control) == "password"
    return {
        "name": control.get(f"{FORM}name"),
        "type": local_name(control),
        "value": None if secret else value,
        "page": None,
    }


def _tell_changes(body: Any, content: Content) -> None:
    inserted = sum(1 for _ in body.iter(f"{TEXT}insertion"))
    deleted = sum(1 for _ in body.iter(f"{TEXT}deletion"))
    if inserted or deleted:
        message = f"Changes are tracked: {inserted} insertions are part of the text, {deleted} deletions are not."
        content.warnings.append({"code": "tracked_changes", "message": message})


def _metadata(root: Any) -> dict[str, Any]:
    found = {name: next((whole_text(one) for one in root.iter(tag)), "") for name, tag in PROPERTIES.items()}
    found["keywords"] = ", ".join(whole_text(one) for one in root.iter(f"{META}keyword"))
    found["language"] = next((whole_text(one) for one in root.iter(f"{DC}language")), "")
    return {name: value for name, value in found.items() if value}
