"""JSON as text, with less ado than `json`."""

import json
import json.encoder
from collections.abc import Callable, Iterable
from typing import Any, cast

MOST_LEVELS = 800
"""Levels of arguments; Python reads and writes less than 1 000, less those of the functions that it is in just then."""

MOST_HEADER_LEVELS = 300
"""Levels of headers: a worker pickles them for its child, which takes two of Python's for each."""

_make: Callable[..., Callable[[Any, int], tuple[str, ...]]] | None = getattr(json.encoder, "c_make_encoder", None)


class JsonText(str):
    """A value that is written as JSON already."""

    __slots__ = ()


def writing(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """Return what writes a value as ASCII text without indentation, as this encoder does.

    `json` makes a function in Python for each value, beside its encoder in C, which takes longer than a small value.
    """
    if _make is None:  # Python without its parts in C
        return encoder.encode
    make, default, text = _make, encoder.default, json.encoder.encode_basestring_ascii
    spelling = encoder.key_separator, encoder.item_separator, encoder.sort_keys, encoder.skipkeys, encoder.allow_nan

    def write(value: Any) -> str:
        # An encoder of its own for each value notes what it is in: a value that contains itself ends there.
        return "".join(make({}, default, text, None, *spelling)(value, 0))

    return write


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same JSON, in which 0 is not false and 1 not 1.0, as they are in Python."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def is_deeper(value: Any, text: str | bytes, levels: int) -> bool:
    """Tell whether a value is nested deeper than so many levels.

    Args:
        value: of dicts, lists and tuples.
        text: the same as JSON, which tells of most values at once that they are not.
        levels: how many may be; looked at one after the other, since calls within calls would end there.
    """
    opened = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    return opened > levels and goes_deeper(value, levels)


def goes_deeper(value: Any, levels: int) -> bool:
    """Tell what `is_deeper` does where there is no text."""
    level: list[Any] = [value]
    for _ in range(levels):
        members = [cast("Iterable[Any]", one.values() if isinstance(one, dict) else one) for one in level]
        level = [member for some in members for member in some if isinstance(member, (dict, list, tuple))]
        if not level:
            return False
    return True
