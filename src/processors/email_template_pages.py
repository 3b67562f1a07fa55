"""The page of a mail template, made once: MJML compiled, styles moved into elements, tags left where they stood.

Each tag becomes a mark that MJML and CSS pass through, is looked for afterwards, and put back. Imported when the first
template is rendered, never before: it loads both libraries.
"""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape, unescape
from itertools import accumulate

import css_inline
import mrml

from processors.email_template_markup import Malformed, Region, regions_of
from processors.email_template_sources import Piece, check_size, fault
from processors.email_template_styles import TooManyStyles, check_styles
from processors.errors import PermanentError
from processors.messages import text_of

COMMENTS = re.compile(r"<!--.*?--!?>", re.DOTALL)
LEFT_OVER = re.compile(r"<(mj-[\w-]+)")
DOCTYPE = re.compile(r"\s*<!doctype[^>]*>", re.IGNORECASE)
HEAD = re.compile(r"<(html|head)[\s>]", re.IGNORECASE)
BODY = re.compile(r"<body[\s>]", re.IGNORECASE)
POSITION = re.compile(r"at position (\d+)")
ENDS = re.compile(r"end\w+")
MIDDLES = frozenset({"elif", "else"})
INLINER = css_inline.CSSInliner(
    keep_style_tags=True, keep_at_rules=True, keep_link_tags=True, load_remote_stylesheets=False
)
STYLE_SHEET = re.compile(r"<link\s[^>]*?\brel\s*=[\"'\s]*[^\"'>]*?\bstylesheet", re.IGNORECASE)
ATTRIBUTES = re.compile(
    r"""<(mj-attributes)[\s>].*?</mj-attributes|<(mj-(?:accordion|carousel|navbar|social))\s(?:"[^"]*"|'[^']*'|[^"'>])*""",
    re.IGNORECASE | re.DOTALL,
)
"""Of many elements: MJML writes them into each."""

INLINE_STYLE = re.compile(r"""(<mj-style(?:\s[^<>]*?)?)\sinline\s*=\s*(?:"[^"]*"|'[^']*')""", re.IGNORECASE)
BEGUN = re.compile(r"<([A-Za-z][^\s/>]*)")
IMPLIED = frozenset({"html", "head", "body", "colgroup", "tbody", "tr"})
OUTSIDE = frozenset({0, 1})
"""The document and its <html>, as elements are numbered."""

LARGEST_PAGE = 2_000_000
MOST_ATTRIBUTES = 5_000_000
"""Characters of attributes times the elements that they may be for."""

PLACES = "a tag stands between elements or in the quotes of an attribute"


@dataclass(frozen=True, slots=True)
class Unit:
    """What one mark stands for: a tag between elements, or all tags in one value with what is between them."""

    pieces: tuple[Piece, ...]
    alone: bool

    @property
    def is_statement(self) -> bool:
        """Whether it is a statement between elements, which rules what comes after it."""
        return self.alone and self.pieces[0].kind == "statement"


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the text that is readable in it, as pieces."""

    html: list[Piece]
    text: list[Piece]


def made(pieces: Sequence[Piece], file: str, *, mjml: bool) -> Page:
    """Return what the pieces of a page in a file are made into.

    Raises:
        PermanentError: it is no MJML or HTML that can be read without mending, or a tag would not stay where it is.
    """
    first = _settings_before(pieces)
    document = _Document(pieces[len(first) :], file)
    page = document.made(mjml=mjml)
    html = [*first, *document.put_back(page)]
    check_size(html)  # MJML writes some values several times
    text = [*(piece for piece in first if not piece.blank), *document.put_back_in_text(page)]
    return Page(html, text)


def _settings_before(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the `set x = …` before the page: no place for a mark."""
    end = 0
    for at, piece in enumerate(pieces):
        if piece.sets:
            end = at + 1
        elif not piece.blank:
            break
    return list(pieces[:end])


class _Document:
    """A page whose tags are marks.

    Args:
        pieces: of the page, without what is set before it.
        file: where it is.
    """

    def __init__(self, pieces: Sequence[Piece], file: str) -> None:
        self._file = file
        self._pieces = [piece for piece in pieces if piece.text] or [Piece("static", "", file, 1)]
        statics = "".join(piece.text for piece in self._pieces if piece.kind == "static").lower()
        self._mark = "zqjs"
        while self._mark in statics:
            self._mark += "q"
        self._marks = re.compile(rf"<!--{self._mark}(\d+)z-->|{self._mark}(\d+)w")
        self._units: list[Unit] = []

    def made(self, *, mjml: bool) -> str:
        """Return the page with its marks where they were."""
        page = self._marked(mjml=mjml)
        page = self._compiled(page) if mjml else self._whole(page)
        page = _with_bodies_of_tables(page, self._marks)
        self._check_length(page, "MJML makes")
        try:
            regions = regions_of(page)  # which bounds the depth, too, before CSS's library
            before = list(_told(page, regions))
            check_styles(page, regions)
            page = INLINER.inline(page)
            self._check_length(page, "its styles make")
            regions = regions_of(page)
            self._check_told(before, list(_told(page, regions)))
            self._check(page, regions)
        except TooManyStyles as error:
            raise PermanentError(f"{self._file}: {error}.") from error
        except css_inline.InlineError as error:
            raise PermanentError(f"{self._file}: its CSS cannot be read: {error}.") from error
        except Malformed as error:
            raise PermanentError(f"{self._file}: the page that is made of it cannot be read: {error}.") from error
        return page

    def put_back(self, page: str) -> Iterator[Piece]:
        """Return a page's pieces, with tags in place of their marks."""
        at = 0
        for mark in self._marks.finditer(page):
            yield Piece("static", page[at : mark.start()])
            yield from self._units[int(mark[1] or mark[2])].pieces
            at = mark.end()
        yield Piece("static", page[at:])

    def put_back_in_text(self, page: str) -> Iterator[Piece]:
        """Return the pieces of the text that is readable in a page, escaped as the page's values are."""
        words = re.compile(rf"{self._mark}(\d+)[wz]")
        text = text_of(re.sub(rf"<!--({self._mark}\d+z)-->", r"\1", page))
        found = {int(word[1]) for word in words.finditer(text)}
        for number, unit in enumerate(self._units):
            if number not in found and unit.alone and unit.pieces[0].sets:
                yield unit.pieces[0]  # it stood in the head
        at = 0
        for word in words.finditer(text):
            yield Piece("static", escape(text[at : word.start()]))
            yield from self._units[int(word[1])].pieces
            at = word.end()
        yield Piece("static", escape(text[at:]))

    # --- Marks in ------------------------------------------------------------------------------------------------

    def _marked(self, *, mjml: bool) -> str:
        """Return the page with a mark for each tag, or for all tags of one value."""
        parts = [piece.text if piece.kind == "static" else f"{self._mark}{n}z" for n, piece in enumerate(self._pieces)]
        self._starts = [0, *accumulate(map(len, parts))][: len(parts)]
        page = "".join(parts)
        try:
            regions = regions_of(page, mjml=mjml)
        except Malformed as error:
            raise fault(self._piece_at(error.offset), str(error)) from error
        linked = STYLE_SHEET.search(page)
        if linked:
            raise fault(
                self._piece_at(linked.start()),
                "mail programs load no style sheet: put what is in it between <style> and </style>, not behind <link>",
            )
        places: dict[int, int | None] = {}
        marked = "".join(self._marked_region(page, number, region, places) for number, region in enumerate(regions))
        self._check_groups(places)
        return marked

    def _marked_region(self, page: str, number: int, region: Region, places: dict[int, int | None]) -> str:
        """Return a region with marks; `places` is told in which region each tag stands, or None: between elements."""
        text = page[region.start : region.end]
        within = range(bisect_left(self._starts, region.start), bisect_left(self._starts, region.end))
        inside = [at for at in within if self._pieces[at].kind != "static"]
        if not inside:
            return text
        if region.kind in {"tag", "style"}:
            where = "a style or script" if region.kind == "style" else "this place of an element's tag"
            raise fault(self._pieces[inside[0]], f"a template's tag cannot stand in {where}: {PLACES}")
        if region.kind == "text":
            places.update(dict.fromkeys(inside, None))
            return re.sub(rf"{self._mark}(\d+)z", lambda mark: self._new_mark((int(mark[1]),), alone=True), text)
        places.update(dict.fromkeys(inside, number))
        begins = self._starts[inside[0]] - region.start
        ends = self._starts[inside[-1]] - region.start + len(f"{self._mark}{inside[-1]}z")
        mark = self._new_mark(range(inside[0], inside[-1] + 1), alone=False)
        if region.kind != "comment":
            self._units[-1] = Unit(tuple(map(_quotable, self._units[-1].pieces)), alone=False)
        return text[:begins] + mark + text[ends:]

    def _new_mark(self, at: Sequence[int], *, alone: bool) -> str:
        self._units.append(Unit(tuple(self._pieces[one] for one in at), alone))
        mark = f"{self._mark}{len(self._units) - 1}"
        return f"<!--{mark}z-->" if alone else f"{mark}w"

    def _check_groups(self, places: dict[int, int | None]) -> None:
        """Look that a statement ends in the value in which it begins."""
        for group in _groups(self._pieces):
            for at in group[1:]:
                if places[at] != places[group[0]]:
                    raise _torn(self._pieces[group[0]], self._pieces[at])

    def _piece_at(self, offset: int) -> Piece:
        at = max(0, bisect_right(self._starts, offset) - 1)
        piece = self._pieces[at]
        lines = piece.text[: offset - self._starts[at]].count("\n") if piece.kind == "static" else 0
        return replace(piece, line=piece.line + lines)

    # --- Through MJML and CSS ------------------------------------------------------------------------------------

    def _compiled(self, page: str) -> str:
        """Return what MJML makes of a page."""
        attributes = list(ATTRIBUTES.finditer(page))
        if sum(len(found[0]) for found in attributes) * page.lower().count("<mj-") > MOST_ATTRIBUTES:
            raise self._at_first(
                f"<{attributes[0][1] or attributes[0][2]}",
                f"attributes that many elements have from elsewhere (<mj-attributes>, <mj-social>, …) could make more "
                f"than {MOST_ATTRIBUTES} characters; give them to those elements that need them",
            )
        page = INLINE_STYLE.sub(r"\1", page)  # they are moved afterwards, as all are
        try:
            options = mrml.ParserOptions(include_loader=mrml.noop_loader())
            found = mrml.to_html(page, options, mrml.RenderOptions(fonts={}))
        except OSError as error:  # all that mrml raises
            raise self._no_mjml(page, str(error)) from error
        left = LEFT_OVER.search(COMMENTS.sub("", found.content))
        if left:
            raise self._at_first(f"<{left[1]}", f"MJML has no <{left[1]}> here")
        return found.content

    def _whole(self, page: str) -> str:
        """Return a page with a body; what stands before a body would be moved."""
        if BODY.search(page):
            return page
        if HEAD.search(page):
            raise PermanentError(f"{self._file}: a page that has <html> or <head> has a <body>, too; write it.")
        doctype = DOCTYPE.match(page)
        end = doctype.end() if doctype else 0
        return f"{page[:end]}<html><head></head><body>{page[end:]}</body></html>"

    def _no_mjml(self, page: str, why: str) -> PermanentError:
        if "included template" in why:
            return self._at_first("<mj-include", "mj-include is not for templates: use {% include %}")
        position = POSITION.search(why)
        before = page.encode()[: int(position[1])].decode(errors="ignore") if position else ""
        at = len(self._marks.sub("", before))
        why = why.replace(" in root template", "").partition(" at position")[0]
        return fault(self._piece_after(at) if position else self._pieces[0], f"this is no MJML: {why}")

    def _piece_after(self, characters: int) -> Piece:
        """Return the piece that so many characters of text stand before, with the line of that place."""
        for piece in self._pieces:
            if piece.kind == "static":
                if characters <= len(piece.text):
                    line = piece.line + piece.text[:characters].count("\n")
                    return replace(piece, line=line)
                characters -= len(piece.text)
        return self._pieces[-1]

    def _at_first(self, text: str, why: str) -> PermanentError:
        for piece in self._pieces:
            if piece.kind == "static" and text in piece.text:
                lines = piece.text.partition(text)[0].count("\n")
                return fault(replace(piece, line=piece.line + lines), why)
        return fault(self._pieces[0], why)

    def _check_length(self, page: str, what: str) -> None:
        if len(page) > LARGEST_PAGE:
            raise PermanentError(f"{self._file}: {what} more than {LARGEST_PAGE} characters of it; make it smaller.")

    # --- Marks out -----------------------------------------------------------------------------------------------

    def _check_told(self, before: Sequence[str], after: Sequence[str]) -> None:
        """Look that a page tells the same in the same order: what an HTML parser mends, it moves."""
        if before == after:
            return
        pairs = enumerate(zip(before, after, strict=False))
        first = next((at for at, (one, other) in pairs if one != other), min(len(before), len(after)))
        moved = (after[first:] or before[first:])[0]
        until = before.index(moved, first) if moved in before[first:] else first
        marks = [mark for one in before[:until] for mark in self._marks.finditer(one)]
        raise fault(
            self._units[int(marks[-1][1] or marks[-1][2])].pieces[-1] if marks else self._pieces[0],
            f"near this line, {self._marks.sub('a tag', moved)[:40]!r} would be moved or left out: in a table, all but "
            "rows stands in cells, and nothing comes after </body>",
        )

    def _check(self, page: str, regions: Sequence[Region]) -> None:
        """Look that marks are where tags stood: statements in their order, values between the same statements."""
        found = list(self._found(page, regions))
        self._check_statements([number for number, _ in found if self._units[number].is_statement])
        self._check_values([number for number, _ in found])
        parents = dict(found)
        for number, parent in found:
            if self._units[number].alone and not self._units[number].is_statement and parent in OUTSIDE:
                raise fault(
                    self._units[number].pieces[0], "a value stands in <head> or <body>, not before, between or after"
                )
        tags = [number for number, unit in enumerate(self._units) if unit.is_statement]
        for group in _groups([self._units[number].pieces[0] for number in tags]):
            numbers = [tags[at] for at in group]
            for number in numbers[1:]:
                if parents[number] != parents[numbers[0]]:
                    raise _torn(self._units[numbers[0]].pieces[0], self._units[number].pieces[0])

    def _found(self, page: str, regions: Sequence[Region]) -> Iterator[tuple[int, int]]:
        """Return the marks that are in a page, each with the element that it is in."""
        for region in regions:
            text = page[region.start : region.end]
            for mark in self._marks.finditer(text):
                number = int(mark[1] or mark[2])
                unit = self._units[number]
                whole = region.kind == "comment" and mark[1] is not None and mark[0] == text
                if unit.alone != whole or region.kind in {"tag", "style"}:
                    raise fault(unit.pieces[0], f"a template's tag cannot stand here: {PLACES}")
                yield number, region.parent

    def _check_statements(self, found: Sequence[int]) -> None:
        expected = [number for number, unit in enumerate(self._units) if unit.is_statement]
        if list(found) != expected:
            counted = Counter(found)
            odd = next((number for number in expected if counted[number] != 1), None)
            moved = next((one for one, other in zip(expected, found, strict=False) if one != other), expected[0])
            what = "is moved" if odd is None else "is left out" if counted[odd] == 0 else "is repeated"
            raise fault(self._units[moved if odd is None else odd].pieces[0], self._not_here(what))

    def _check_values(self, found: Sequence[int]) -> None:
        asked = _between_statements(self._units, range(len(self._units)))
        seen: dict[int, set[int]] = {}
        for number, place in _between_statements(self._units, found):
            seen.setdefault(number, set()).add(place)
        for number, place in asked:
            places = seen.get(number, set())
            if not self._units[number].is_statement and places != {place}:
                what = "is moved" if places else "is left out"
                raise fault(self._units[number].pieces[0], self._not_here(what))

    def _not_here(self, what: str) -> str:
        return (
            f"a template's tag that stands here {what} when the page is made: MJML reckons with some values (width, "
            "padding), leaves out what it does not know or is before <mj-body>, and moves what is in <mj-attributes>"
        )


def _between_statements(units: Sequence[Unit], numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Return each unit with the number of statements before it."""
    before = 0
    for number in numbers:
        before += units[number].is_statement
        yield number, before


def _groups(pieces: Sequence[Piece]) -> Iterator[list[int]]:
    """Return the statements that belong together, from the first to its end, by their places; the parser has looked."""
    opened: list[list[int]] = []
    for at, piece in enumerate(pieces):
        if piece.kind != "statement" or piece.sets:
            continue
        if piece.word in MIDDLES or ENDS.fullmatch(piece.word):
            if opened:
                opened[-1].append(at)
                if piece.word not in MIDDLES:
                    yield opened.pop()
        else:
            opened.append([at])


def _torn(first: Piece, other: Piece) -> PermanentError:
    return fault(
        other,
        f"{{% {other.word} %}} stands in another element or value than {{% {first.word} %}} in {first.file} line "
        f"{first.line}; close what was opened between them (in a table, write <tbody>)",
    )


def _quotable(piece: Piece) -> Piece:
    """Return a part of an attribute's value as it may stand in double quotes; MJML puts titles into attributes, too."""
    if piece.kind != "static":
        return piece
    return replace(piece, text=piece.text.replace('"', "&quot;").replace("<", "&lt;"))


def _told(page: str, regions: Sequence[Region]) -> Iterator[str]:
    """Return what a page tells, in its order: texts, comments, and elements but for those that may be implied."""
    for region in regions:
        text = page[region.start : region.end]
        if region.kind in {"text", "comment", "title"}:
            words = "".join(unescape(text).split())
            if words:
                yield words
        elif region.kind == "tag" and (begun := BEGUN.match(text)) and begun[1].lower() not in IMPLIED:
            yield f"<{begun[1].lower()}>"


def _with_bodies_of_tables(page: str, marks: re.Pattern[str]) -> str:
    """Return a page with `<tbody>` where rows follow statements: it would be put behind them."""
    return re.sub(
        rf"((?:<table(?=[\s>])[^>]*>|</(?:thead|colgroup|caption)>)\s*)((?:(?:{marks.pattern})\s*)+)(?=<tr[\s>])",
        lambda found: f"{found[1]}<tbody>{found[2]}",
        page,
    )
