"""What a bulk may hold: the most items, the most bytes, and the list that they come in."""

from collections.abc import Sequence
from typing import Any, cast

from processors.errors import InvalidArgument

MAX_BULK = 1_000_000
MAX_BULK_BYTES = 256_000_000


def items_of(name: str, given: Any, kind: str, noun: str) -> Sequence[Any]:
    """Return the items of a bulk.

    Args:
        name: the argument's.
        given: a list or a tuple.
        kind: what each item is to be.
        noun: what they are called, many of them.

    Raises:
        InvalidArgument: it is no list, or an empty one, or too long.
    """
    if not isinstance(given, (list, tuple)) or not given:
        raise InvalidArgument(f"{name}: must be a list of at least one {kind}; got {kind_of(given)}.")
    items = cast("Sequence[Any]", given)
    if len(items) > MAX_BULK:
        raise InvalidArgument(f"{name}: at most {MAX_BULK} {noun} are accepted in one bulk; got {len(items)}.")
    return items


def kind_of(value: Any) -> str:
    """Return what a value is, for people."""
    return "an empty list" if value in ([], ()) else type(value).__name__
