"""JSON that others send, read with the doubt that belongs to it."""

import json
from typing import Any, NoReturn

UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading raises where there is no JSON, or one that is nested too deeply or has other values than it should."""


def read_json(body: bytes) -> Any:
    """Return the value of JSON text.

    Raises:
        ValueError: it is none, or has a number that JSON has not.
        RecursionError: it is nested too deeply.
    """
    return json.loads(body, parse_constant=_refuse)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
