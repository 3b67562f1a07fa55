"""JSON as text, by an encoder that is made once."""

import json
import json.encoder
from collections.abc import Callable
from typing import Any

_make: Callable[..., Callable[[Any, int], tuple[str, ...]]] | None = getattr(json.encoder, "c_make_encoder", None)


class JsonText(str):
    """A value that is written as JSON already."""

    __slots__ = ()


def writing(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """Return what writes a value as ASCII text without indentation, as this encoder does.

    `json` makes another one in C for each value, which takes as long as a small value itself. What it finds by looking
    at each value, that one contains itself, is a `RecursionError` here instead of a `ValueError`.
    """
    if _make is None:  # Python without its parts in C
        return encoder.encode
    write = _make(
        None,
        encoder.default,
        json.encoder.encode_basestring_ascii,
        None,
        encoder.key_separator,
        encoder.item_separator,
        encoder.sort_keys,
        encoder.skipkeys,
        encoder.allow_nan,
    )
    return lambda value: "".join(write(value, 0))
