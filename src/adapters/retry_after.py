"""How long an answer asks to wait before the next try."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait, or None where it does not say, or not so that it is understood.

    Source: RFC 9110, 10.2.3: Retry-After is a number of seconds, or a date. `retry-after-ms` is OpenAI's own: the same
    in milliseconds, and more exact.

    Args:
        headers: of the answer, found whatever the case of their names.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    given = headers.get("retry-after")
    seconds = _number(given)
    return _until(given) if seconds is None else seconds


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _until(date: str | None) -> float | None:
    if date is None:
        return None
    try:
        return max(0.0, (parsedate_to_datetime(date).astimezone(UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):  # no date, or one of a year that Python does not know
        return None
