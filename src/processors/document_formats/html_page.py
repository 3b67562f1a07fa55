"""HTML: what a page shows; nothing it refers to is fetched."""

import importlib.metadata
import re
import warnings
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, BinaryIO, Literal, NamedTuple, cast

from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning, NavigableString, Tag, XMLParsedAsHTMLWarning
from bs4.dammit import EncodingDetector

from processors.document_formats.blocks import Block, markdown_of, table_of
from processors.document_formats.content import Allowance, Content, Page, Table
from processors.document_formats.text import decode, decode_as
from processors.errors import FileError
from processors.interfaces import Report

HIDDEN_TAGS = ["script", "style", "noscript", "template"]
CELLS = ["td", "th"]
BLOCKS = {
    *("address", "article", "aside", "blockquote", "caption", "dd", "div", "dl", "dt", "fieldset", "figcaption"),
    *("figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol"),
    *("option", "p", "pre", "section", "table", "title", "tr", "ul"),
}
LISTS = {"ul", "ol", "menu"}
HEADING = re.compile("^h[1-6]$")
LINE_END, CELL_END = "\x1e", "\x1f"
BEFORE = {"br": LINE_END, "td": CELL_END, "th": CELL_END}
DESCRIBING = {"author", "description", "keywords"}
FIELDS = ["input", "select", "textarea"]
NO_VALUES = {"button", "hidden", "image", "reset", "submit"}
WIDEST_SPAN, LONGEST_SPAN = 64, 9
MOST_HEADINGS = 1_001
"""One more than a result shows, so that it says so; a title may be as long as the page."""


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read the text, the headings, the tables, the links, the fields and what the page says about itself."""
    report(10, "reading the page")
    content = Content(engine=f"beautifulsoup4 {importlib.metadata.version('beautifulsoup4')}")
    soup = read_page(file.read(), 1, Allowance(options, content), content)
    if options["extract_metadata"]:
        content.metadata = _metadata(soup)
    return content


def read_page(raw: bytes, number: int, allowance: Allowance, content: Content) -> BeautifulSoup:
    """Read one page into a document's content: its text, and what it has beside it."""
    soup = parsed(raw)
    for heading in soup.find_all(HEADING, limit=MOST_HEADINGS):
        content.outline.append({"title": _plain(heading), "level": int(heading.name[1]), "page": number})
    content.tables += [Table(number, _rows(table)) for table in _innermost_tables(soup)]
    content.links += [
        {"text": _plain(link), "url": str(link["href"]), "page": number} for link in soup.find_all("a", href=True)
    ]
    content.forms += [_form(one, number) for one in soup.find_all(FIELDS) if one.get("type") not in NO_VALUES]
    title = _plain(soup.title) if soup.title is not None else None
    text = shown(soup)
    kept = allowance.take(text)
    whole = markdown_of(_blocks(soup.body or soup)) if kept == text else None
    content.pages.append(Page(number, kept, title=title, markdown=whole))
    return soup


def parsed(raw: bytes, encoding: str | None = None) -> BeautifulSoup:
    """Return a page's tree; XHTML, and text without any tag, are pages like others.

    Args:
        raw: the page.
        encoding: what was said of it outside; wins over what the page says, unless the page is not in it.
    """
    known = _known_text(raw, encoding)
    text, encoding = known or ("", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
        if known is None:
            return BeautifulSoup(raw, "lxml")
        soup: Any = BeautifulSoup(text.encode("utf-8", "replace"), "lxml", from_encoding="utf-8")
    soup.original_encoding = encoding
    return soup


def _known_text(raw: bytes, encoding: str | None) -> tuple[str, str] | None:
    """Return a page's text and its encoding: as was said outside or in it, else found; None: it is no text in any.

    The parser has other names for encodings, and drops a page that is not in the one it is given.
    """
    declared: str | None = cast("Any", EncodingDetector).find_declared_encoding(raw, is_html=True)
    if declared and declared.startswith(("utf-16", "utf-32")):
        declared = None  # the name could not be read if that were so
    for named in filter(None, (encoding, declared)):
        if known := decode_as(raw, named):
            return known
    with suppress(FileError):  # no text in any encoding: the parser makes of it what it can
        text, found = decode(raw)
        return text, found.removesuffix("-sig")
    return None


def shown(soup: BeautifulSoup) -> str:
    """Return the text that a page shows, a line per block, cells of a row between tabs; changes the tree."""
    for hidden in soup.find_all(HIDDEN_TAGS):
        hidden.decompose()
    return "\n".join(filter(None, map(_line, "".join(_pieces(soup.body or soup)).split(LINE_END))))


def _pieces(root: Tag) -> Iterator[str]:
    """Yield texts, with a line's end wherever the nearest block is another one: one pass, however deep the tree is."""
    current = id(root)
    block_of = {current: current}
    for node in root.descendants:
        if isinstance(node, Tag):
            block_of[id(node)] = id(node) if node.name in BLOCKS else block_of[id(node.parent)]
            yield BEFORE.get(node.name, "")
        elif type(node) is NavigableString:  # its subclasses are comments and the like
            if block_of[id(node.parent)] != current:
                current = block_of[id(node.parent)]
                yield LINE_END
            yield node


class _Place(NamedTuple):
    """Where a text stands: its nearest block, what that is, and in how many lists it lies."""

    block: int
    kind: Literal["paragraph", "heading", "item", "code", "table"]
    level: int
    lists: int


def _innermost_tables(root: Tag) -> list[Tag]:
    """Return the tables without a table inside; one pass: a search in each takes longer the deeper the tree."""
    nearest: dict[int, Tag | None] = {id(root): None}
    tables: list[Tag] = []
    outer: set[int] = set()
    for node in root.descendants:
        if not isinstance(node, Tag):
            continue
        around = nearest[id(node.parent)]
        nearest[id(node)] = node if node.name == "table" else around
        if node.name == "table":
            tables.append(node)
            outer.add(id(around))
    return [table for table in tables if id(table) not in outer]


def _blocks(root: Tag) -> Iterator[Block]:
    """Yield the blocks of a page that has lost its hidden tags: one pass, however deep the tree is."""
    innermost = {id(table) for table in _innermost_tables(root)}
    places = {id(root): _Place(id(root), "paragraph", 0, 0)}
    current, pieces = places[id(root)], list[str]()
    for node in root.descendants:
        place = places[id(node.parent)]
        if isinstance(node, Tag):
            places[id(node)] = inner = _place(node, place, innermost)
            if inner.kind == "table" != place.kind:
                yield _block(current, pieces)
                yield table_of(_rows(node))
                pieces = []
            elif node.name == "br":
                pieces.append(LINE_END)
        elif type(node) is NavigableString and place.kind != "table":
            if place.block != current.block and node.strip():
                yield _block(current, pieces)
                current, pieces = place, []
            pieces.append(node)
    yield _block(current, pieces)


def _place(tag: Tag, around: _Place, tables: AbstractSet[int]) -> _Place:
    """Return the place of the texts in a tag; those of one of the `tables` are read as its cells."""
    name, block, lists = tag.name, id(tag), around.lists + (tag.name in LISTS)
    if around.kind == "table" or block in tables:
        return _Place(around.block, "table", 0, lists)
    if HEADING.match(name):
        return _Place(block, "heading", int(name[1]), lists)
    if name == "pre":
        return _Place(block, "code", 0, lists)
    if name in {"li", "dt", "dd"}:
        return _Place(block, "item", max(1, lists), lists)
    if name in BLOCKS:
        return _Place(block, around.kind if around.kind == "item" else "paragraph", around.level, lists)
    return around._replace(lists=lists)


def _block(place: _Place, pieces: list[str]) -> Block:
    whole = "".join(pieces)
    if place.kind == "code":
        return Block("code", whole.replace(LINE_END, "\n").strip("\n"))
    lines = (" ".join(line.split()) for line in whole.split(LINE_END))
    return Block(place.kind, "\n".join(filter(None, lines)), place.level)


def _line(line: str) -> str:
    return "\t".join(" ".join(cell.split()) for cell in line.split(CELL_END)).strip("\t")


def _plain(tag: Tag) -> str:
    return " ".join(tag.get_text().split())


def _rows(table: Tag) -> list[list[str]]:
    """Return the texts of a table's cells; one over several columns is followed by empty ones."""
    return [_cells(row) for row in table.find_all("tr")]


def _cells(row: Tag) -> list[str]:
    cells: list[str] = []
    for cell in row.find_all(CELLS):
        span = str(cell.get("colspan") or "1")[:LONGEST_SPAN]
        cells += [_plain(cell), *[""] * (min(WIDEST_SPAN, int(span) if span.isdecimal() else 1) - 1)]
    return cells


def _form(field: Tag, number: int) -> dict[str, Any]:
    """Describe a field; what stands in one for a password is not told."""
    kind = str(field.get("type") or "text").lower() if field.name == "input" else field.name
    return {"name": field.get("name"), "type": kind, "value": _value(field, kind), "page": number}


def _value(field: Tag, kind: str) -> Any:
    if kind == "password":
        return None
    if kind in {"checkbox", "radio"}:
        return field.has_attr("checked")
    if kind == "select":
        return next((_plain(option) for option in field.find_all("option", selected=True)), None)
    return _plain(field) if kind == "textarea" else field.get("value")


def _metadata(soup: BeautifulSoup) -> dict[str, Any]:
    found: dict[str, Any] = {"encoding": soup.original_encoding}
    if soup.title is not None:
        found["title"] = _plain(soup.title)
    for tag in soup.find_all("meta", attrs={"name": True, "content": True}):
        if str(tag["name"]).lower() in DESCRIBING:
            found[str(tag["name"]).lower()] = str(tag["content"])
    return {name: value for name, value in found.items() if value}
