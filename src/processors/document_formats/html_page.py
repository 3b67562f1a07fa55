"""HTML: what a page shows; nothing it refers to is fetched."""

import importlib.metadata
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning, NavigableString, Tag, XMLParsedAsHTMLWarning

from processors.document_formats.content import Allowance, Content, Page, Table
from processors.interfaces import Report

HIDDEN_TAGS = ["script", "style", "noscript", "template"]
CELLS = ["td", "th"]
BLOCKS = {
    *("address", "article", "aside", "blockquote", "caption", "dd", "div", "dl", "dt", "fieldset", "figcaption"),
    *("figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol"),
    *("option", "p", "pre", "section", "table", "title", "tr", "ul"),
}
HEADING = re.compile("^h[1-6]$")
LINE_END, CELL_END = "\x1e", "\x1f"
BEFORE = {"br": LINE_END, "td": CELL_END, "th": CELL_END}
DESCRIBING = {"author", "description", "keywords"}


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read the text, the headings, the tables and what the page says about itself."""
    report(10, "reading the page")
    content = Content(engine=f"beautifulsoup4 {importlib.metadata.version('beautifulsoup4')}")
    soup = parsed(file.read())
    if options["extract_metadata"]:
        content.metadata = _metadata(soup)
    for heading in soup.find_all(HEADING):
        content.outline.append({"title": _plain(heading), "level": int(heading.name[1]), "page": 1})
    content.tables = [Table(1, _rows(table)) for table in soup.find_all("table") if table.find("table") is None]
    content.pages.append(Page(1, Allowance(options, content).take(shown(soup))))
    return content


def parsed(raw: bytes, encoding: str | None = None) -> BeautifulSoup:
    """Return a page's tree; XHTML, and text without any tag, are pages like others.

    Args:
        raw: the page.
        encoding: what was said of it outside; wins over what the page says.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
        return BeautifulSoup(raw, "lxml", from_encoding=encoding)


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


def _line(line: str) -> str:
    return "\t".join(" ".join(cell.split()) for cell in line.split(CELL_END)).strip("\t")


def _plain(tag: Tag) -> str:
    return " ".join(tag.get_text().split())


def _rows(table: Tag) -> list[list[str]]:
    return [[_plain(cell) for cell in row.find_all(CELLS)] for row in table.find_all("tr")]


def _metadata(soup: BeautifulSoup) -> dict[str, Any]:
    found: dict[str, Any] = {"encoding": soup.original_encoding}
    if soup.title is not None:
        found["title"] = _plain(soup.title)
    for tag in soup.find_all("meta", attrs={"name": True, "content": True}):
        if str(tag["name"]).lower() in DESCRIBING:
            found[str(tag["name"]).lower()] = str(tag["content"])
    return {name: value for name, value in found.items() if value}
