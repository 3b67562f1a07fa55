"""Dates as they are written: 2026-12-24, 24.12.2026, 12/24/2026, 24 December 2026, December 24, 2026.

Years have four digits: two may be of any century. Names of months are English, German, French and Spanish.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from functools import partial

from processors.entity_results import Entity

NAMES = (
    "january jan januar jänner janvier janv enero ene",
    "february feb februar février fevrier févr febrero",
    "march mar märz mär mars marzo",
    "april apr avril avr abril abr",
    "may mai mayo",
    "june jun juni juin junio",
    "july jul juli juillet juil julio",
    "august aug août aout agosto ago",
    "september sept sep septembre septiembre setiembre",
    "october oct oktober okt octobre octubre",
    "november nov novembre noviembre",
    "december dec dezember dez décembre decembre déc diciembre dic",
)
MONTHS = {name: number for number, names in enumerate(NAMES, 1) for name in names.split()}
MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))

ISO = re.compile(r"(?<![\w.-])([0-9]{4})-([0-9]{2})-([0-9]{2})(?![0-9-]|\.[0-9])")
DOTTED = re.compile(r"(?<![\w.])([0-9]{1,2})\.\s?([0-9]{1,2})\.\s?([0-9]{4})(?!\w|\.[0-9])")
SLASHED = re.compile(r"(?<![\w./-])([0-9]{1,2})([/-])([0-9]{1,2})\2([0-9]{4})(?![\w/-])")
DAY_FIRST = re.compile(
    r"(?<![\w.])([0-9]{1,2})(?:\.|st|nd|rd|th|er)?\s{1,2}(?:(?:of|de)\s{1,2})?"
    rf"({MONTH})\b[.,]?\s{{1,2}}(?:del?\s{{1,2}})?([0-9]{{4}})(?!\w)",
    re.IGNORECASE,
)
MONTH_FIRST = re.compile(
    rf"(?<!\w)({MONTH})\b\.?\s{{1,2}}([0-9]{{1,2}})(?:st|nd|rd|th)?,?\s{{1,2}}([0-9]{{4}})(?!\w)", re.IGNORECASE
)


def _dates(
    pattern: re.Pattern[str], readings: Callable[[re.Match[str]], Iterable[tuple[str, int, str]]], text: str
) -> Iterator[Entity]:
    """Yield the dates of one form in a text; `readings` are year, month and day of each that it may mean."""
    for match in pattern.finditer(text):
        possible = sorted({day for reading in readings(match) if (day := _iso(*reading))})
        if possible:
            yield Entity(
                kind="date",
                text=match[0],
                value=possible[0] if len(possible) == 1 else None,
                range=match.span(),
                possible=possible if len(possible) > 1 else [],
            )


def _iso(year: str, month: int, day: str) -> str | None:
    """Return YYYY-MM-DD, or None where the calendar has no such day."""
    try:
        return date(int(year), month, int(day)).isoformat()
    except ValueError:
        return None


def _named(name: str) -> int:
    """Return the number of a month; 0 where a letter only passed for one of its, as Turkish i without a dot."""
    return MONTHS.get(name.casefold(), 0)


FORMS: tuple[Callable[[str], Iterator[Entity]], ...] = (
    partial(_dates, ISO, lambda match: [(match[1], int(match[2]), match[3])]),
    partial(_dates, DOTTED, lambda match: [(match[3], int(match[2]), match[1])]),
    partial(_dates, DAY_FIRST, lambda match: [(match[3], _named(match[2]), match[1])]),
    partial(_dates, MONTH_FIRST, lambda match: [(match[3], _named(match[1]), match[2])]),
    partial(_dates, SLASHED, lambda match: [(match[4], int(match[1]), match[3]), (match[4], int(match[3]), match[1])]),
)
"""Finds the dates of one form each, from a text's beginning to its end. With slashes, half of the world writes the
month first and half the day: both are possible where the calendar has both."""
