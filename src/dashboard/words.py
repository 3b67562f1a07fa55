"""Values as people read them on a page."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

MOST_CHARACTERS = 50_000
"""Of one value on a page; the API has it whole."""

NOTHING = "\N{EN DASH}"
MINUTE = 60
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def utc(moment: str | datetime | None) -> str:
    """Return a moment to its second, in UTC."""
    if moment is None:
        return NOTHING
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(seconds: float | None) -> str:
    """Return how long something is, in its two largest units."""
    if seconds is None:
        return NOTHING
    left = max(0, round(seconds))
    words: list[str] = []
    for size, name in UNITS:
        if left >= size:
            words.append(f"{left // size} {name}")
            left %= size
    return " ".join([*words, f"{left} s"][:2])


def short_span(seconds: float | None) -> str:
    """Return how long something is, where it may be less than a second."""
    if seconds is None or seconds >= MINUTE:
        return span(seconds)
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def number(value: int | None) -> str:
    """Return a whole number, its thousands apart."""
    return NOTHING if value is None else f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def tasks(count: int, members: int = 0) -> str:
    """Return how many tasks something is about, and how many parts those have."""
    found = "1 task" if count == 1 else f"{number(count)} tasks"
    return f"{found} with {'1 part' if members == 1 else f'{number(members)} parts'}" if members else found


def rate(value: float | None) -> str:
    """Return how many a minute something is."""
    return NOTHING if value is None else f"{value:.1f}" if value < 100 else number(round(value))  # noqa: PLR2004 - figures enough


def size(count: int) -> str:
    """Return bytes in the unit in which they are a number of few figures."""
    for unit, length in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"


def amount(money: float) -> str:
    """Return a sum of money, with more figures where it is less than a cent."""
    return f"{money:,.2f}".replace(",", "\N{NARROW NO-BREAK SPACE}") if money >= 1 or not money else f"{money:.4g}"


def json_text(value: Any) -> str:
    """Return a JSON value over several lines; of a very long one the beginning."""
    return beginning(json.dumps(value, indent=2, ensure_ascii=False))


def json_line(value: Any) -> str:
    """Return a JSON value in one line; of a very long one the beginning."""
    return beginning(json.dumps(value, ensure_ascii=False))


def beginning(text: str) -> str:
    """Return a text, or of a very long one what it begins with."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}\n… ({number(len(text) - MOST_CHARACTERS)} characters more)"


def segment(text: str) -> str:
    """Return a text as one part of a path."""
    return quote(text, safe="")
