"""How much a page grows when its styles are moved into its elements, told before it is done.

It is a bound and no forecast: each rule is taken to match all elements that its last part could be (none, where another
part is nowhere), and each of these to keep the longest that is said of each property: an element has a property once.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from html import unescape

from processors.email_template_markup import Region

MOST_STYLES = 2_000_000
"""Characters that styles may add to a page."""

MOST_MATCHES = 3_000_000
"""Declarations times the elements that they may be for: each replaces the one before."""

MOST_PROPERTIES = 300
"""Different ones in the styles of a page: each is looked for among all that an element has."""

DEEPEST_RULES = 20
"""Blocks inside each other: all around a rule are looked at."""

ELEMENT = re.compile(r"<([A-Za-z][^\s/>]*)")
NAMES = re.compile(r"""\s(?:class|id)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
IMPLIED = {"html": (), "head": (), "body": (), "colgroup": ("col",), "tbody": ("tr", "td", "th"), "tr": ("td", "th")}
"""Elements that a page need not write, and what they are there for."""

COMMENT_OR_STRING = re.compile(r"""/\*.*?(?:\*/|\Z)|<!--|-->|"[^"\n]*"|'[^'\n]*'""", re.DOTALL)
BRACKET_OR_END = re.compile(r"[()\[\];]")
COMBINATORS = re.compile(r"[\s>+~]+")
COMPOUND = re.compile(r"([A-Za-z][\w-]*)?((?:[.#][\w-]+)*)(?:::?[A-Za-z-]+)*")
NAME = re.compile(r"[.#]([\w-]+)")


class TooManyStyles(Exception):
    """Moving the styles of a page into its elements would take too much; the message says what."""


def check_styles(page: str, regions: Sequence[Region]) -> None:
    """Look that a page's styles can be moved into its elements in little time and memory.

    Raises:
        TooManyStyles: they cannot.
    """
    sheets = list(_sheets(page, regions))
    if not sheets:
        return
    elements = _Elements(page)
    growth, matches, longest, properties = 0, 0, dict[tuple[str, str], int](), set[str]()
    for sheet in sheets:
        for selectors, text in _rules(sheet):
            properties.update(one.partition(":")[0].strip().lower() for one in text.split(";") if ":" in one)
            if len(properties) > MOST_PROPERTIES:
                raise TooManyStyles(
                    f"its styles set more than {MOST_PROPERTIES} different properties; leave out what it does not use"
                )
            declarations = _declarations(text)
            for selector in selectors.split(","):
                number, last = elements.matched(selector), COMBINATORS.split(selector.strip())[-1]
                matches += number * (text.count(";") + 1)
                for name, length in declarations if number and matches <= MOST_MATCHES else ():
                    known = longest.get((last, name), 0)
                    growth += number * max(0, length - known)
                    longest[last, name] = max(length, known)
                if growth > MOST_STYLES or matches > MOST_MATCHES:
                    what = f"make more than {MOST_STYLES} characters of it" if growth > MOST_STYLES else "take too long"
                    raise TooManyStyles(
                        f"its styles, moved into their elements, could {what}, with those for {selectors[:40]!r}; give "
                        "rules for many elements fewer declarations"
                    )


class _Elements:
    """The elements of a page, counted by their names, classes and ids."""

    def __init__(self, page: str) -> None:
        self._tags = Counter(name.lower() for name in ELEMENT.findall(page))
        self._names = Counter(
            name.lower() for found in NAMES.finditer(page) for name in unescape(found[found.lastindex or 0]).split()
        )
        self._all = sum(map(self._tagged, self._tags.keys() | IMPLIED.keys()))

    def _tagged(self, tag: str) -> int:
        implied = 1 + sum(self._tags[one] for one in IMPLIED[tag]) if tag in IMPLIED else 0
        return self._tags[tag] + implied

    def matched(self, selector: str) -> int:
        """Return how many elements a selector matches at most: none, where one of its parts is nowhere in the page."""
        counts = [self._like(part) for part in COMBINATORS.split(selector.strip())]
        return counts[-1] if all(counts) else 0

    def _like(self, part: str) -> int:
        named = COMPOUND.fullmatch(part)
        if named is None or not (named[1] or named[2]):
            return self._all
        counts = [self._names[name.lower()] for name in NAME.findall(named[2])]
        return min([*counts, self._tagged(named[1].lower())] if named[1] else counts)


def _sheets(page: str, regions: Sequence[Region]) -> Iterator[str]:
    """Return what is in the `<style>` elements of a page."""
    element = ""
    for region in regions:
        if region.kind == "tag" and (begun := ELEMENT.match(page, region.start, region.end)):
            element = begun[1].lower()
        elif region.kind == "style" and element == "style":
            yield page[region.start : region.end]


def _rules(sheet: str) -> Iterator[tuple[str, str]]:
    """Return selectors and declarations of the rules that are moved: not those inside @media and its like."""
    around, text = list[str](), ""
    for part in re.split(r"([{}])", COMMENT_OR_STRING.sub(_tame, sheet)):
        if len(around) > DEEPEST_RULES:
            raise TooManyStyles(
                f"blocks of its styles are at most {DEEPEST_RULES} deep in each other; close what is open"
            )
        if part == "{":
            around.append(text.rpartition(";")[2].strip())
            text = ""
        elif part == "}" and around:
            selectors = around.pop()
            if all(one.lower().startswith("@layer") for one in around) and not selectors.startswith("@"):
                yield selectors, text
            text = ""
        else:
            text = part
        if "\\" in part or any(not one.startswith("@") for one in around[:-1]):
            yield "*", sheet  # what is escaped, or inside a rule, may be anything
            return
    if around:
        yield around[-1], text


def _declarations(text: str) -> list[tuple[str, int]]:
    """Return the properties of a rule and the length of each; all as one, where a bracket may hide where they end."""
    depth = 0
    for sign in BRACKET_OR_END.findall(text):
        depth += (sign in "([") - (sign in ")]")
        if depth < 0 or (sign == ";" and depth):
            return [(text, len(text))]
    return [(one.partition(":")[0].strip(), len(one) + 1) for one in text.split(";")]


def _tame(found: re.Match[str]) -> str:
    """Return a string of CSS without what would be taken for its structure; nothing for a comment."""
    return re.sub(r"[{};,:@()\[\]]", "_", found[0]) if found[0][0] in "\"'" else ""
