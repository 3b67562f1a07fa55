"""What a mail says of its template, checked where it is submitted: a name, and JSON values."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator

from processors.results import storable

LONGEST_NAME = 200
DEEPEST_CONTEXT = 50
LARGEST_INTEGER = 2**63
NAME = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


def template_name(value: str) -> str:
    """Return the name of a template, without an ending.

    Raises:
        ValueError: it could lead anywhere else than to a file below the folder of templates.
    """
    if len(value) > LONGEST_NAME or not NAME.fullmatch(value):
        raise ValueError(
            f"must be a name such as welcome or orders/shipped, of at most {LONGEST_NAME} letters, digits, - and _, "
            f"without an ending; got {value[:80]!r}"
        )
    return value


def json_context(value: Any) -> dict[str, Any]:
    """Return a context as JSON values.

    Raises:
        ValueError: it is none, or is too deep.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a dict of JSON values; got {type(value).__name__}")  # noqa: TRY004 - pydantic's way
    return _json_dict(cast("Mapping[Any, Any]", value), "context", 0)


TemplateName = Annotated[str, AfterValidator(template_name)]
Context = Annotated[dict[str, Any], BeforeValidator(json_context)]


def _json(value: Any, place: str, depth: int) -> Any:
    if depth > DEEPEST_CONTEXT:
        raise ValueError(f"must be at most {DEEPEST_CONTEXT} deep; what has itself inside has no end")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, place)
    if isinstance(value, int | float):
        return _number(value, place)
    if isinstance(value, Mapping):
        return _json_dict(cast("Mapping[Any, Any]", value), place, depth)
    if isinstance(value, list | tuple):
        return [_json(one, f"{place}[{at}]", depth + 1) for at, one in enumerate(cast("list[Any]", value))]
    kind = type(value).__name__
    raise ValueError(f"{place} must be a JSON value: text, number, true, false, null, list or dict; it is a {kind}")


def _json_dict(values: Mapping[Any, Any], place: str, depth: int) -> dict[str, Any]:
    for key in values:
        if not isinstance(key, str):
            raise ValueError(f"{place} must have texts as keys; one is a {type(key).__name__}")  # noqa: TRY004 - as above
    return {_text(key, place): _json(value, f"{place}.{key:.40}", depth + 1) for key, value in values.items()}


def _number(value: float, place: str) -> float:
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise ValueError(f"{place} must have at most 64 bits")
    elif not math.isfinite(value):
        raise ValueError(f"{place} must be a finite number")
    return value


def _text(value: str, place: str) -> str:
    try:
        return storable(value)
    except ValueError as error:
        raise ValueError(f"{place} {error}") from error
