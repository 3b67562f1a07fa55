"""Pages without usable text, read as pictures: in groups, some of them side by side, whatever goes wrong with one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any

from processors.envelopes import part_of, warning
from processors.errors import FileError
from processors.interfaces import Answer, FileSandbox, Report, SideBySide

PICTURES_AT_ONCE = 20
"""Pages that are read as pictures in one opening of the file: what goes wrong costs these and no more."""

PICTURES_SIDE_BY_SIDE = 5
"""The same where groups are read side by side, so that all end at about the same time."""


class OneByOne:
    """Fulfils `processors.interfaces.SideBySide` in the calling thread: one piece of work after another."""

    at_once = 1

    def run(self, works: Sequence[Callable[[Report], Answer]], report: Report) -> list[Answer]:
        """Do every piece of work."""
        return [
            work(part_of(report, 100 * at / len(works), 100 * (at + 1) / len(works))) for at, work in enumerate(works)
        ]


@dataclass(frozen=True, slots=True)
class Pictures:
    """What reading pages of a document as pictures needs.

    Attributes:
        sandbox: opens the file.
        path: where the file lies on this machine.
        password: of the document.
        side_by_side: reads groups of pages.
        began: the monotonic second at which the work on the document began.
        seconds: no further page is begun this long after that, so that what was read is kept.
    """

    sandbox: FileSandbox
    path: Path
    password: str | None
    side_by_side: SideBySide
    began: float
    seconds: float


def fill_in(pictures: Pictures, missing: list[int], content: dict[str, Any], report: Report) -> list[dict[str, Any]]:
    """Read pages as pictures and put what they say into the content; returns what the sandbox answered.

    Raises:
        FileError: nothing could be read, and the document has no other text.
    """
    reads = _read(pictures, missing, content, report)
    by_number = {page["n"]: page for read in reads for page in read["content"]["pages"]}
    content["pages"] = [_filled(page, by_number.get(page["n"])) for page in content["pages"]]
    silent = [page["n"] for page in content["pages"] if page["source"] == "none" and page["n"] in by_number]
    content["warnings"] += [warning("no_text", "No text was found in the picture of the page.", page=n) for n in silent]
    return reads


def leave_out(missing: list[int], content: dict[str, Any], why: str) -> None:
    """Say of each page that it is not read as a picture."""
    content["warnings"] += [_unfilled(n, content, why) for n in missing]


def failure(step: str, pages: list[int], what: str, error: FileError) -> dict[str, Any]:
    """Return the entry for `errors` of a step that some pages went without: they were not `what`."""
    named = f"Page {pages[0]} was" if len(pages) == 1 else f"Pages {pages[0]} to {pages[-1]} were"
    message = f"{named} not {what}: {error}"
    return {"code": error.code, "step": step, "page": pages[0], "pages": pages, "message": message}


def _read(pictures: Pictures, missing: list[int], content: dict[str, Any], report: Report) -> list[dict[str, Any]]:
    """Read groups of pages; what cannot be read is an error beside the rest."""
    groups = _groups(missing, pictures.side_by_side.at_once)
    until = pictures.began + pictures.seconds
    works = [partial(_read_group, pictures, pages, until) for pages in groups]
    outcomes = pictures.side_by_side.run(works, report)
    each = list(zip(groups, outcomes, strict=True))
    late = [n for pages, outcome in each for n in _late(pages, outcome)]
    failed = [(pages, outcome) for pages, outcome in each if isinstance(outcome, FileError)]
    reads = [outcome for outcome in outcomes if isinstance(outcome, dict)]
    content["errors"] += [_unread(pages, error) for pages, error in failed]
    if late:
        content["limits_hit"].append("ocr_seconds")
        error = FileError("the time for the document was over by then: see CELERY_TASK_SOFT_TIME_LIMIT.", "timeout")
        content["errors"].append(_unread(late, error))
    content["errors"] += [error for read in reads for error in read["content"]["errors"]]
    if failed and not reads and not any(page["text"] for page in content["pages"]):
        raise failed[0][1]
    return reads


def _groups(pages: list[int], at_once: int) -> list[list[int]]:
    """Return pages in groups: large ones, or where they are read side by side small ones, at least one for each."""
    size = PICTURES_AT_ONCE if at_once == 1 else min(PICTURES_SIDE_BY_SIDE, ceil(len(pages) / at_once))
    return [pages[at : at + size] for at in range(0, len(pages), size)]


def _read_group(
    pictures: Pictures, pages: list[int], until: float, report: Report
) -> dict[str, Any] | FileError | None:
    """Return what was read, or why nothing was, or None where it is too late to begin."""
    seconds = until - monotonic()
    if seconds <= 0:
        return None
    options = {"pages": pages, "seconds": seconds, "password": pictures.password}
    try:
        return pictures.sandbox.run("pictures", pictures.path, options, report)
    except FileError as error:
        return error


def _late(pages: list[int], outcome: dict[str, Any] | FileError | None) -> list[int]:
    """Return the pages of a group that were not begun in time."""
    if outcome is None:
        return pages
    skipped = outcome["content"]["pages_skipped"] if isinstance(outcome, dict) else 0
    return pages[len(pages) - skipped :]


def _unread(pages: list[int], error: FileError) -> dict[str, Any]:
    return failure("ocr", pages, "read as pictures", error)


def _unfilled(n: int, content: dict[str, Any], why: str) -> dict[str, Any]:
    if n in content["picture_pages"]:
        return warning("picture_unread", f"The picture that fills most of the page is not read: {why}.", page=n)
    if n in content["unusable"]:
        return warning("no_text_layer", f"The page's text layer means nothing and is left out, and {why}.", page=n)
    return warning("no_text_layer", f"The page has no usable text, and {why}.", page=n)


def _filled(page: dict[str, Any], picture: dict[str, Any] | None) -> dict[str, Any]:
    """Return a page with what its picture says: that alone, or what its text layer does not say."""
    if picture is None:
        return page
    if page["source"] == "none":
        return picture
    known = _dense(page["text"])
    new = [line for line in picture["text"].splitlines() if (dense := _dense(line)) and dense not in known]
    if not new:
        return page
    markdown = page["text"] if page["markdown"] is None else page["markdown"]
    return page | {
        "text": "\n".join([page["text"], *new]),
        "markdown": "\n\n".join([markdown, import_module("processors.document_formats.layout").paragraphs(new)]),
        "source": "mixed",
        "confidence": picture["confidence"],
    }


def _dense(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()
