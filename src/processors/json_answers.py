"""Answers as JSON by a schema: what a schema may be, and whether an answer fulfils it."""

import json
from collections.abc import Mapping
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

LONGEST_PROBLEM = 300
FENCE = "```"


def checked_schema(value: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema (draft 2020-12) as it was given.

    Raises:
        ValueError: it is none.
    """
    try:
        Draft202012Validator.check_schema(value)
    except SchemaError as error:
        raise ValueError(f"must be a JSON schema: {error.message[:LONGEST_PROBLEM]}") from None
    return value


def parsed(text: str, schema: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Return the JSON value that an answer is, and what is wrong with it; None where it fulfils the schema.

    A schema that refers to others elsewhere is not fulfilled: nothing is fetched.
    """
    try:
        value = json.loads(_unfenced(text))
    except ValueError as error:
        return None, f"it is no JSON: {error}"
    try:
        cast("Any", Draft202012Validator(schema, registry=Registry())).validate(value)
    except ValidationError as error:
        return value, f"at {error.json_path}: {error.message}"[:LONGEST_PROBLEM]
    except Unresolvable as error:
        return value, f"the schema refers to what is not in it: {error}"[:LONGEST_PROBLEM]
    return value, None


def _unfenced(text: str) -> str:
    """Return what stands in a fence of Markdown, which some models put around JSON."""
    stripped = text.strip()
    if stripped.startswith(FENCE) and stripped.endswith(FENCE):
        return stripped.removesuffix(FENCE).partition("\n")[2]
    return stripped
