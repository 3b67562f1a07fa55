"""What a reader of a document returns, whatever the kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, Protocol

from processors.interfaces import Report

Source = Literal["text_layer", "ocr", "mixed", "none"]


@dataclass(slots=True)
class Page:
    """One page, slide or sheet: its text and where that came from; the size is in points where there is one.

    Attributes:
        n: its number, from 1.
        text: all of its text, what runs along its head and foot too.
        source: where the text came from; `mixed` is a text layer and a picture.
        width: in points.
        height: in points.
        title: a slide's or a sheet's.
        confidence: 0..1, of what was read in a picture.
        markdown: the page as Markdown, without its header and footer; None where the plain text serves.
        header: the line that runs along the head of most pages.
        footer: the line that runs along the foot of most pages.
        rotation: degrees clockwise by which the page is turned to be read.
    """

    n: int
    text: str
    source: Source = "text_layer"
    width: float | None = None
    height: float | None = None
    title: str | None = None
    confidence: float | None = None
    markdown: str | None = None
    header: str | None = None
    footer: str | None = None
    rotation: int = 0


@dataclass(slots=True)
class Table:
    """One table: the page it stands on, its rows of texts, and its box [x0, y0, x1, y1] on the page, 0..1.

    `merged` are the ranges of a sheet's cells that are one, such as `A1:C1`.
    """

    page: int
    rows: list[list[str]]
    title: str | None = None
    bbox: list[float] | None = None
    merged: list[str] | None = None


@dataclass(slots=True)
class Attached:
    """A file inside a document; `raw` is None where its bytes cannot be had."""

    name: str | None
    raw: bytes | None
    type: str | None = None


@dataclass(slots=True)
class Content:
    """Everything that was read; `warnings` and `errors` have a `code`, a `message` and often a `page`.

    Attributes:
        pages: in their order.
        tables: in their order.
        metadata: what the document says about itself.
        outline: headings or bookmarks: `title`, `level` from 1, `page`.
        links: `text`, `url` and `page`; a link inside the document has the url `#page=N`.
        forms: fields: `name`, `type`, `value`, `page`.
        annotations: `type`, `text`, `author`, `page`.
        attached: files inside, as a reader hands them over: they are described, kept and read after it.
        attachments: files inside, described: `name`, `type`, `bytes`, `sha256`, and `result` where one was read.
        unusable: pages whose text layer means nothing.
        table_pages: pages on which tables are looked for apart.
        picture_pages: pages of which a picture is read beside their text.
        layout: what reading these pages again needs to know about all of them.
        made: artefacts, each as `processors.file_results.packed` returns it.
        warnings: what a reader of the result should know.
        errors: what was lost.
        limits_hit: names of limits.
        pages_skipped: pages left out for a limit.
        engine: the library and its version.
    """

    pages: list[Page] = field(default_factory=list[Page])
    tables: list[Table] = field(default_factory=list[Table])
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    outline: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    links: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    forms: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    annotations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    attached: list[Attached] = field(default_factory=list[Attached])
    attachments: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    unusable: list[int] = field(default_factory=list[int])
    table_pages: list[int] = field(default_factory=list[int])
    picture_pages: list[int] = field(default_factory=list[int])
    layout: dict[str, Any] = field(default_factory=dict[str, Any])
    made: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    warnings: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    errors: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    limits_hit: list[str] = field(default_factory=list[str])
    pages_skipped: int = 0
    engine: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, without the bytes of the files inside."""
        values = _values(self)
        del values["attached"]
        return values | {"pages": list(map(_values, self.pages)), "tables": list(map(_values, self.tables))}


def _values(one: Page | Table | Content) -> dict[str, Any]:
    """Return an object's values by their names; unlike `asdict`, without a copy of what is in them."""
    return {name: getattr(one, name) for name in one.__slots__}


class Allowance:
    """Counts pages and characters, so that a reader stops in time.

    Args:
        options: `max_pages` and `max_characters`.
        content: is told which limit was hit.
    """

    def __init__(self, options: Mapping[str, Any], content: Content) -> None:
        self._pages = int(options["max_pages"])
        self._characters = int(options["max_characters"])
        self._content = content

    def page(self) -> bool:
        """Take one page; False when there are no more to be had."""
        self._pages -= 1
        return self._still(self._pages >= 0, "max_pages")

    def take(self, text: str) -> str:
        """Return as much of a text as may still be kept."""
        kept = text[: max(0, self._characters)]
        self._characters -= len(text)
        self._still(self._characters >= 0, "max_characters")
        return kept

    @property
    def left(self) -> int:
        """How many characters may still be kept."""
        return max(0, self._characters)

    def over(self) -> bool:
        """Tell whether no more text is wanted."""
        return self._characters < 0

    def _still(self, good: bool, limit: str) -> bool:  # noqa: FBT001 - one private word
        if not good and limit not in self._content.limits_hit:
            self._content.limits_hit.append(limit)
        return good


class Reader(Protocol):
    """Reads one kind of document."""

    def __call__(self, file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
        """Read an open file from its start.

        Args:
            file: seekable, read-only.
            options: `max_pages`, `max_characters`, `extract_text`, `extract_metadata`, `password`.
            report: told how far it is.

        Raises:
            FileError: it cannot be read; `code` says why.
        """
        ...
