"""What is given at a terminal: JSON as it is, from a file named `@path`, or from the standard input as `-`."""

import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from processors.errors import InvalidArgument
from processors.moments import moment

JSON_FORMS = "JSON, @file or -"
"""What help says that an option takes; `-` is the standard input."""

AGO = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*([smhdw])")
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
SHOWN_CHARACTERS = 80


def json_of(name: str, value: str) -> Any:
    """Return the JSON value that is given.

    Raises:
        InvalidArgument: it is none, or its file cannot be read.
    """
    text = contents_of(name, value)
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(
            f"{name}: must be JSON (or @file with JSON, or - for the standard input); "
            f"got {text[:SHOWN_CHARACTERS]!r}: {error}."
        ) from error


def object_of(name: str, value: str | None) -> dict[str, Any] | None:
    """Return the JSON object that is given; None where none is."""
    return _of_kind(name, value, dict, "an object")


def list_of(name: str, value: str | None) -> list[Any] | None:
    """Return the JSON list that is given; None where none is."""
    return _of_kind(name, value, list, "a list")


def contents_of(name: str, value: str) -> str:
    """Return a text that is given as it is, in a file, or on the standard input.

    Raises:
        InvalidArgument: it cannot be read.
    """
    if value != "-" and not value.startswith("@"):
        return value
    place = "standard input" if value == "-" else f"file {value[1:]}"
    try:
        raw = sys.stdin.buffer.read() if value == "-" else Path(value[1:]).read_bytes()
        return raw.decode()
    except (OSError, ValueError) as error:  # UnicodeDecodeError, and a path with a NUL
        raise InvalidArgument(f"{name}: the {place} cannot be read: {error}.") from error


def pairs_of(name: str, given: Sequence[str] | None) -> dict[str, Any] | None:
    """Return what is given as `name=JSON`, each by its name; what is no JSON is a text.

    Raises:
        InvalidArgument: one has no `=`, a name is given twice, or a file cannot be read.
    """
    if not given:
        return None
    pairs: dict[str, Any] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key or key in pairs:
            raise InvalidArgument(
                f"{name}: must be name=JSON, each name once; got {one[:SHOWN_CHARACTERS]!r}, as in --set "
                f"'channels=[\"email\"]'."
            )
        pairs[key] = json_or_text(key, value)
    return pairs


def json_or_text(name: str, value: str) -> Any:
    """Return the JSON value that is given, or the text where it is none.

    Raises:
        InvalidArgument: its file cannot be read.
    """
    text = contents_of(name, value)
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def seconds_ago(name: str, value: str) -> float:
    """Return how long ago a moment was that is given as for `moment_of`.

    Raises:
        InvalidArgument: it is none, or has not come yet.
    """
    ago = _ago(value)
    seconds = (datetime.now(UTC) - moment_of(name, value)).total_seconds() if ago is None else ago
    if seconds < 0:
        raise InvalidArgument(f"{name}: must have passed; got {value!r}.")
    return seconds


def moment_of(name: str, value: str) -> datetime:
    """Return a moment that is given as how long ago it was (`90s`, `15m`, `2h`, `7d`), or as an ISO 8601 text.

    Raises:
        InvalidArgument: it is neither.
    """
    try:
        ago = _ago(value)
        return moment(value, name=name) if ago is None else datetime.now(UTC) - timedelta(seconds=ago)
    except OverflowError as error:
        raise InvalidArgument(f"{name}: is before the first day that there is; got {value!r}.") from error
    except InvalidArgument as error:
        raise InvalidArgument(f"{error} Or how long ago: 90s, 15m, 2h, 7d.") from error


def _ago(value: str) -> float | None:
    ago = AGO.fullmatch(value.strip())
    return float(ago[1]) * SECONDS[ago[2]] if ago else None


def _of_kind(name: str, value: str | None, kind: type[Any], called: str) -> Any:
    found = None if value is None else json_of(name, value)
    if value is not None and not isinstance(found, kind):
        raise InvalidArgument(f"{name}: must be {called} in JSON; got {json.dumps(found)[:SHOWN_CHARACTERS]}.")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
