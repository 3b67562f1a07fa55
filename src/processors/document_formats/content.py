"""What a reader of a document returns, whatever the kind."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Literal, Protocol

from processors.interfaces import Report

Source = Literal["text_layer", "ocr", "none"]


@dataclass(slots=True)
class Page:
    """One page, slide or sheet: its text and where that came from; the size is in points where there is one."""

    n: int
    text: str
    source: Source = "text_layer"
    width: float | None = None
    height: float | None = None
    title: str | None = None
    confidence: float | None = None


@dataclass(slots=True)
class Table:
    """One table: the page it stands on and its rows of texts."""

    page: int
    rows: list[list[str]]
    title: str | None = None


@dataclass(slots=True)
class Content:
    """Everything that was read; `warnings` and `errors` have a `code`, a `message` and often a `page`."""

    pages: list[Page] = field(default_factory=list[Page])
    tables: list[Table] = field(default_factory=list[Table])
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    outline: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    attachments: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    warnings: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    errors: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    limits_hit: list[str] = field(default_factory=list[str])
    pages_skipped: int = 0
    engine: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


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
