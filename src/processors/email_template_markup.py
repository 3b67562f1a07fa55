"""HTML and MJML, looked at as far as templates need it: what is text, what a value, and what is inside what.

It is strict where a browser would mend: what is mended is moved, and the tags of a template must stay where they are.
"""

import re
from dataclasses import dataclass
from typing import Literal

DEEPEST = 200
"""Elements inside each other; the libraries for MJML and CSS end the process at some thousands."""

BEGINNING = re.compile(r"<(?=[A-Za-z/!?])")
COMMENT_END = re.compile(r"--!?>")
DECLARATION_END = re.compile(r">")
ATTRIBUTE = r"""\s++[^\s"'<>/=]++(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s"'=<>`]++))?+"""
TAG = re.compile(rf"""<(/?)([A-Za-z][^\s"'<>/=]*+)((?:{ATTRIBUTE})*+)\s*+(/?)>""")
QUOTED = re.compile(r""""[^"]*+"|'[^']*+'""")
FOREIGN = frozenset({"svg", "math"})
VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
MAY_STAY_OPEN = frozenset(
    {"body", "dd", "dt", "head", "html", "li", "p", "tbody", "td", "tfoot", "th", "thead", "tr", "option", "colgroup"}
)
"""HTML 13.1.2.4."""

STYLES = frozenset({"style", "mj-style", "script"})
TEXT_ALONE = frozenset({"title", "textarea", "mj-title", "mj-preview"})
REFUSED = frozenset({"iframe", "noembed", "noframes", "plaintext", "template", "xmp"})
"""What is inside them is no page to some readers; no mail program shows them."""

Kind = Literal["text", "value", "comment", "title", "style", "tag"]


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a page.

    Attributes:
        kind: text between tags; the value of an attribute; a whole comment; what is in an element of text alone; a
            style or script; or what else a tag has.
        parent: the number of the element that it is in.
    """

    kind: Kind
    start: int
    end: int
    parent: int


class Malformed(Exception):
    """A page that would be mended; `offset` tells where."""

    def __init__(self, why: str, offset: int) -> None:
        super().__init__(why)
        self.offset = offset


def regions_of(page: str, *, mjml: bool = False) -> list[Region]:
    """Return the parts of a page, in their order.

    Raises:
        Malformed: an element has no end, or no beginning, or is too deep inside others.
    """
    reader = _Reader(page, mjml=mjml)
    reader.read()
    return reader.regions


class _Reader:
    def __init__(self, page: str, *, mjml: bool) -> None:
        self.regions: list[Region] = []
        self._page, self._mjml = page, mjml
        self._opened: list[tuple[str, int, int]] = []  # names, numbers, offsets
        self._elements = 0

    def read(self) -> None:
        at = 0
        while found := BEGINNING.search(self._page, at):
            self._keep("text", at, found.start())
            at = found.start()
            if self._page.startswith("<!--", at):
                at = self._until("comment", at, COMMENT_END.search(self._page, at + 2))
            elif self._page.startswith(("<!", "<?"), at):
                at = self._until("tag", at, DECLARATION_END.search(self._page, at))
            else:
                at = self._tag(at)
        self._keep("text", at, len(self._page))
        self._close(0)

    def _keep(self, kind: Kind, start: int, end: int) -> None:
        if end > start:
            self.regions.append(Region(kind, start, end, self._opened[-1][1] if self._opened else 0))

    def _until(self, kind: Kind, start: int, ended: re.Match[str] | None) -> int:
        if ended is None:
            raise Malformed("what begins here has no end", start)
        self._keep(kind, start, ended.end())
        return ended.end()

    def _tag(self, start: int) -> int:
        tag = TAG.match(self._page, start)
        if tag is None:
            raise Malformed(
                "this is no whole tag: write &lt; for a < in a text, and a template's own tags between elements or "
                "in the quotes of an attribute",
                start,
            )
        name, at = tag[2].lower(), start
        for quoted in QUOTED.finditer(self._page, *tag.span(3)):
            self._keep("tag", at, quoted.start())
            self._keep("value", *quoted.span())
            at = quoted.end()
        self._keep("tag", at, tag.end())
        if tag[1]:
            self._end(name, start)
            return tag.end()
        if name in REFUSED:
            raise Malformed(f"no mail shows <{name}>", start)
        closed = tag[4] and (self._mjml or any(one[0] in FOREIGN for one in self._opened))
        if name in VOID or closed:
            return tag.end()
        return self._begin(name, start, tag.end())

    def _begin(self, name: str, start: int, end: int) -> int:
        self._elements += 1
        self._opened.append((name, self._elements, start))
        if len(self._opened) > DEEPEST:
            raise Malformed(f"elements are at most {DEEPEST} deep in each other; close what is open", start)
        if name not in STYLES | TEXT_ALONE:
            return end
        ended = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(self._page, end)
        if ended is None or (name == "script" and "<!--" in self._page[end : ended.start()]):
            raise Malformed(f"<{name}> has no end", start)
        self._keep("style" if name in STYLES else "title", end, ended.start())
        return ended.start()

    def _end(self, name: str, start: int) -> None:
        depth = next((at for at in range(len(self._opened) - 1, -1, -1) if self._opened[at][0] == name), None)
        if depth is None:
            raise Malformed(f"</{name}> ends what has not begun", start)
        self._close(depth + 1)
        self._opened.pop()

    def _close(self, depth: int) -> None:
        """End what stands open above a depth, where that may be left out."""
        for name, _, offset in self._opened[depth:]:
            if self._mjml or name not in MAY_STAY_OPEN:
                raise Malformed(f"<{name}> has no end", offset)
        del self._opened[depth:]
