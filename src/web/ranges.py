"""Parts of a body: conditional and range requests, by RFC 9110 13 and 14."""

import re
from dataclasses import dataclass

UNIT = "bytes"
ENTITY_TAGS = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
ONE_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
MOST_DIGITS = 18
"""Of a position; whatever has more is behind every body's end."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a body: its first byte and how many it has, one at least."""

    first: int
    count: int

    def content_range(self, size: int) -> str:
        """Return what `Content-Range` says of it."""
        return f"{UNIT} {self.first}-{self.first + self.count - 1}/{size}"


class Unsatisfiable(Exception):
    """The part that is asked for has no byte of the body."""


def matches(if_none_match: str | None, tag: str) -> bool:
    """Tell whether who asks has the body already: `If-None-Match` by weak comparison (13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in ENTITY_TAGS.findall(if_none_match)


def part_of(wanted: str | None, if_range: str | None, tag: str, size: int) -> Part | None:
    """Return the part of a body that is asked for, or None for all of it.

    Several ranges, another unit, and what is no range are all of it: a server may ignore `Range` (14.2). So is a part
    of what is another body now (`If-Range`, by strong comparison: 13.1.5); a date there names none of ours.

    Args:
        wanted: the header `Range`.
        if_range: the header `If-Range`.
        tag: the body's entity tag, without its quotes.
        size: the body's bytes.

    Raises:
        Unsatisfiable: it has none of them.
    """
    if wanted is None or (if_range is not None and if_range.strip() != f'"{tag}"'):
        return None
    unit, _, ranges = wanted.partition("=")
    found = ONE_RANGE.fullmatch(ranges.strip(" \t"))
    if unit.strip(" \t").lower() != UNIT or found is None or found.groups() == ("", ""):
        return None
    first, last = (_position(text, size) for text in found.groups())
    if first is None:
        return _suffix(last or 0, size)
    if last is not None and _is_before(found[2], found[1]):
        return None  # no range at all (14.1.1)
    if first >= size:
        raise Unsatisfiable
    return Part(first, (size if last is None else min(last + 1, size)) - first)


def _suffix(count: int, size: int) -> Part | None:
    if count == 0:
        raise Unsatisfiable
    return Part(max(0, size - count), min(count, size)) if size else None  # no Content-Range could say it


def _position(digits: str, size: int) -> int | None:
    """Return the number, or where it has very many digits one that is behind the body's end."""
    if not digits:
        return None
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= MOST_DIGITS else max(size, 10**MOST_DIGITS)


def _is_before(digits: str, others: str) -> bool:
    digits, others = digits.lstrip("0"), others.lstrip("0")
    return (len(digits), digits) < (len(others), others)
