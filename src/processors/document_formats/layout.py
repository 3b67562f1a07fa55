"""From lines with their places to Markdown (CommonMark 0.31): headings, lists, paragraphs, what runs along pages."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import pairwise
from operator import sub
from typing import Any

HEAD_ZONE, FOOT_ZONE = 0.12, 0.88
"""Shares of a page's height: what runs along pages stands before the one or after the other."""

MOST_RUNNING = 6
FEWEST_PAGES = 3
RUNNING_SHARE = 0.4
"""On this share of all pages stands what runs along them: left and right pages may have lines of their own."""

PLACES = 50
HEADING_RATIO = 1.12
MOST_HEADINGS_SHARE = 0.25
LONGEST_HEADING = 200
DEEPEST_HEADING = 6
PARAGRAPH_GAP = 1.35
FULL_LINE = 0.6
NUMBER = re.compile(r"\d+")
SHORT_LINE = 0.75
SENTENCE_ENDS = frozenset('.!?:…。\uff01\uff1f\u201d"')
FIRST_WITHOUT_SPACES = "\u2e80"
"""From here on stand the scripts of East Asia, whose words have no spaces between them."""

TOLERANCE = 3.0
HYPHENS = frozenset("-\u2010\u00ad")
DIVIDED = "\ufffe"
"""How PDFium marks a word that is divided at a line's end."""

BULLETS = "•‣◦▪▫■●○\u2013*-·\uf0b7\uf0a7\uf0d8\uf0fc"
ITEM_BEGINS = frozenset(BULLETS + "0123456789(")
ITEM = re.compile(rf"(?:([{re.escape(BULLETS)}])|\(?(\d{{1,3}})[.)])\s+(?=\S)")
SPECIAL = "\\`*_<[]"
SPECIAL_CHARACTER = re.compile(rf"[{re.escape(SPECIAL)}]")
BEGINS_BLOCK = re.compile(r"(?m)^(#{1,6}(?=\s|$)|>|[+-](?=\s|$)|=+\s*$|-+\s*$|~~~)")


@dataclass(slots=True)
class Lines:
    """The lines of one page in reading order; the lists have one entry for each line.

    Attributes:
        texts: without spaces around them; one that ends in U+FFFE is continued in the next.
        tops: distances from the page's top edge, in points.
        lefts: distances from its left edge, in points.
        sizes: heights of the letters, in half points.
        height: of the page, in points.
        marks: of the lines near its head and foot, by their index.
    """

    height: float
    texts: list[str] = field(default_factory=list[str])
    tops: list[float] = field(default_factory=list[float])
    lefts: list[float] = field(default_factory=list[float])
    sizes: list[int] = field(default_factory=list[int])
    marks: dict[int, tuple[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        """Mark the lines near the page's head and foot: the same line of other pages has the same mark.

        A mark is a line's text without its numbers, and its place on the page.
        """
        head, foot = HEAD_ZONE * self.height, FOOT_ZONE * self.height
        near = [at for at, top in enumerate(self.tops) if top < head or top > foot][:MOST_RUNNING]
        scale = PLACES / self.height
        self.marks = {at: (NUMBER.sub("#", self.texts[at]), round(scale * self.tops[at])) for at in near}


@dataclass(frozen=True, slots=True)
class Block:
    """Markdown that takes the place of lines: a table, by its box [x0, y0, x1, y1] in points from the top left."""

    box: tuple[float, float, float, float]
    markdown: str


@dataclass(slots=True)
class Layout:
    """What holds for all pages of a document.

    Attributes:
        levels: the level of each height that headings have.
        running: the marks of lines that run along pages.
    """

    levels: dict[int, int] = field(default_factory=dict[int, int])
    running: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"levels": list(self.levels.items()), "running": list(self.running)}

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> "Layout":
        """Return what `as_json` returned as a layout again."""
        return cls(dict(values["levels"]), {(text, place) for text, place in values["running"]})


def layout_of(pages: Sequence[Lines]) -> Layout:
    """Find out what the pages have in common."""
    sizes: Counter[int] = Counter()
    marks: Counter[tuple[str, int]] = Counter()
    for page in pages:
        sizes.update(page.sizes)
        marks.update(set(page.marks.values()))
    if not sizes:
        return Layout()
    body = sizes.most_common(1)[0][0]
    larger = sorted((size for size in sizes if size >= HEADING_RATIO * body), reverse=True)
    if sum(sizes[size] for size in larger) > MOST_HEADINGS_SHARE * sizes.total():
        larger = larger[:1] if sizes[larger[0]] <= MOST_HEADINGS_SHARE * sizes.total() else []
    levels = {size: min(level, DEEPEST_HEADING) for level, size in enumerate(larger, start=1)}
    most = max(FEWEST_PAGES, RUNNING_SHARE * len(pages))
    return Layout(levels, {mark for mark, count in marks.items() if count >= most})


def running(page: Lines, layout: Layout) -> tuple[list[int], list[int]]:
    """Return which lines run along the page's head and which along its foot; none where nothing else would be left."""
    if not layout.running:
        return [], []
    found = [at for at, mark in page.marks.items() if mark in layout.running]
    if len(found) == len(page.texts):
        return [], []
    middle = page.height / 2
    return [at for at in found if page.tops[at] < middle], [at for at in found if page.tops[at] >= middle]


def markdown(page: Lines, layout: Layout, left_out: AbstractSet[int], blocks: Sequence[Block] = ()) -> str:
    """Return a page as Markdown.

    Args:
        page: its lines.
        layout: of the document.
        left_out: which lines are not shown: those that `running` tells.
        blocks: take the place of the lines inside their boxes.
    """
    owners = {at: block for block in blocks for at in range(len(page.texts)) if _lies_in(page, at, block)}
    longest = max(map(len, page.texts), default=0)
    parts: list[str] = []
    placed: list[Block] = []
    for group in _groups(page, left_out, owners, longest):
        block = owners.get(group[0])
        if block is None:
            parts.append(_part(page, group, layout, longest))
        elif block not in placed:
            placed.append(block)
            parts.append(block.markdown)
    parts += [block.markdown for block in blocks if block not in placed]
    return "\n\n".join(filter(None, parts))


def pipe_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table of the GitHub kind (GFM 4.10), the first one as its head."""
    width = max(map(len, rows), default=0)
    if not width:
        return ""
    lines = ["| " + " | ".join([*map(_cell, row), *[""] * (width - len(row))]) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])


def escaped(text: str) -> str:
    """Return plain text as Markdown that shows it (CommonMark 2.4)."""
    if any(character in text for character in SPECIAL):
        text = SPECIAL_CHARACTER.sub(r"\\\g<0>", text)
    return BEGINS_BLOCK.sub(r"\\\1", text) if "\n" in text or BEGINS_BLOCK.match(text) else text


def paragraphs(texts: Sequence[str]) -> str:
    """Return lines without places as Markdown: joined where they are full, mended where a word is divided."""
    return escaped(_joined(texts, max(map(len, texts), default=0)))


def _lies_in(page: Lines, at: int, block: Block) -> bool:
    left, top, right, bottom = block.box
    middle = page.tops[at] + page.sizes[at] / 4
    return top <= middle <= bottom and left - TOLERANCE <= page.lefts[at] <= right


def _groups(page: Lines, left_out: AbstractSet[int], owners: Mapping[int, Block], longest: int) -> Iterator[list[int]]:
    """Yield the lines of each heading, list item, paragraph and block.

    A paragraph ends before letters of another size, before a wider gap, and with a short line that ends a sentence; a
    new column goes on with it where the last line ends no sentence and the first one begins small.
    """
    tops, sizes, texts = page.tops, page.sizes, page.texts
    pitch = _pitch(tops)
    limit, short = PARAGRAPH_GAP * pitch, SHORT_LINE * longest
    group: list[int] = []
    for at, text in enumerate(texts):
        if not text or at in left_out:
            continue
        if group:
            last = group[-1]
            gap = tops[at] - tops[last]
            if (
                sizes[at] != sizes[last]
                or (gap > limit and gap > PARAGRAPH_GAP * sizes[at] / 2)
                or (text[0] in ITEM_BEGINS and ITEM.match(text))
                or (owners and owners.get(at) != owners.get(last))
                or (gap < -pitch and (texts[last][-1] in SENTENCE_ENDS or not text[0].islower()))
                or (len(texts[last]) < short and texts[last][-1] in SENTENCE_ENDS)
            ):
                yield group
                group = []
        group.append(at)
    if group:
        yield group


def _pitch(tops: Sequence[float]) -> float:
    """Return the usual distance from a line to the next below it: two thirds of all are no smaller."""
    gaps = [gap for gap in sorted(map(sub, tops[1:], tops)) if gap >= 1]
    return gaps[len(gaps) // 3] if gaps else 0.0


def _part(page: Lines, group: list[int], layout: Layout, longest: int) -> str:
    texts = [page.texts[at] for at in group]
    level = layout.levels.get(page.sizes[group[0]])
    if level is not None:
        heading = " ".join(_joined(texts, 0).split())
        if len(heading) <= LONGEST_HEADING and any(map(str.isalnum, heading)):
            return f"{'#' * level} {escaped(heading)}"
    item = ITEM.match(texts[0]) if texts[0][0] in ITEM_BEGINS else None
    if item is None:
        return escaped(_joined(texts, longest))
    texts[0] = texts[0][item.end() :]
    mark = f"{item[2]}." if item[2] else "-"
    return f"{mark} {escaped(_joined(texts, 0))}"


def _joined(texts: Sequence[str], longest: int) -> str:
    """Join lines: the parts of a divided word, full lines by a space; a short line keeps its end."""
    if texts and min(map(len, texts[:-1]), default=0) >= FULL_LINE * longest and _ends_plainly(texts):
        return " ".join(texts)
    pieces: list[str] = []
    for text, following in pairwise(texts):
        if text[-1] == DIVIDED or (text[-1] in HYPHENS and following[0].islower()):
            pieces.append(text[:-1])
        elif text[-1] >= FIRST_WITHOUT_SPACES:
            pieces.append(text)
        else:
            pieces += (text, " " if len(text) >= FULL_LINE * longest else "\n")
    return "".join([*pieces, texts[-1].rstrip(DIVIDED)]) if texts else ""


def _ends_plainly(texts: Sequence[str]) -> bool:
    """Tell that no line divides a word or is of a script without spaces, which most lines do not."""
    ends = {text[-1] for text in texts}
    return ends.isdisjoint(HYPHENS) and max(ends) < FIRST_WITHOUT_SPACES


def _cell(text: str) -> str:
    return " ".join(escaped(text).split()).replace("|", "\\|")
