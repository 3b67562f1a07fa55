"""Answers as JSON by a schema: what a schema may be, and whether an answer fulfils it.

Callers write schemas, and models write answers as callers tell them: neither may keep a worker busy for long. Patterns
are matched by pydantic's engine, in a time that grows with the text alone.
"""

import json
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import count
from typing import Any, cast

import pydantic_core
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import SchemaError, ValidationError
from pydantic_core import SchemaValidator, core_schema
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from processors.envelopes import clean

LONGEST_PROBLEM = 300
MOST_REFERENCES = 100_000
"""That are followed for one answer; a few that refer to each other twice are millions."""

KEPT_PATTERNS = 16
"""A compiled one may have 10 MB."""

NOT_TAKEN = {
    "patternProperties": "name the properties",
    "unevaluatedProperties": "put additionalProperties beside the properties",
    "unevaluatedItems": "put items beside prefixItems",
}
"""Keywords that take a time beyond all bounds: of patterns for names, or doubled by each level of a schema."""

FENCE = "```"
LONGEST_NUMBER = 50


def checked_schema(value: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema (draft 2020-12) as it was given.

    Raises:
        ValueError: it is none, or has what no answer can be held against in a bounded time, or refers to what
            is not in it: nothing is fetched.
    """
    try:
        if clean(value) != value:
            raise ValueError("must have no NUL, lone surrogates, and numbers that JSON has not")
        Draft202012Validator.check_schema(value)
    except SchemaError as error:
        raise ValueError(f"must be a JSON schema: {error.message[:LONGEST_PROBLEM]}") from None
    except RecursionError:
        raise ValueError("must be a JSON schema that is not nested so deeply") from None
    _check_parts(value)
    return value


def parsed(text: str, schema: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Return the JSON value that an answer is, and what is wrong with it; None where it fulfils the schema."""
    try:
        value = clean(json.loads(_unfenced(text), parse_float=_finite, parse_constant=_finite))
    except ValueError as error:
        return None, f"it is no JSON: {error}"
    except RecursionError:
        return None, "it is nested too deeply"
    try:
        _validator(schema).validate(value)
    except ValidationError as error:
        return value, f"at {error.json_path}: {error.message}"[:LONGEST_PROBLEM]
    except (RecursionError, OverflowError, Unresolvable) as error:
        return value, f"it cannot be held against the schema: {error}"[:LONGEST_PROBLEM]
    return value, None


def _finite(number: str) -> float:
    """Return a number; JSON has none that is infinite or not a number."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:LONGEST_NUMBER]} is no number that it has")
    return value


def _check_parts(schema: Mapping[str, Any]) -> None:
    """Look at all that stands in a schema, as data too: a reference may lead there.

    Raises:
        ValueError: there is a keyword that is not taken, a pattern that the engine does not know, a reference that
            leads to no schema, or an `$id` that is no address.
    """
    root = cast("Any", Registry)().resolver_with_root(cast("Any", DRAFT202012).create_resource(schema))
    left: list[tuple[Any, Any]] = [(schema, root)]
    while left:
        one, resolver = left.pop()
        if isinstance(one, list):
            left += [(part, resolver) for part in cast("list[Any]", one)]
        elif isinstance(one, dict):
            found = cast("dict[str, Any]", one)
            if found is not schema:
                resolver = _resolver_in(found, resolver)
            for keyword in NOT_TAKEN.keys() & found.keys():
                raise ValueError(f"must have no {keyword}: {NOT_TAKEN[keyword]}")
            if isinstance(pattern := found.get("pattern"), str):
                _check_pattern(pattern)
            for reference in (found.get("$ref"), found.get("$dynamicRef")):
                if isinstance(reference, str):
                    _check_reference(reference, resolver)
            left += [(part, resolver) for part in found.values()]


def _resolver_in(part: Mapping[str, Any], resolver: Any) -> Any:
    """Return what looks up the references in a part: one that has an `$id` is a schema of its own.

    Raises:
        ValueError: the `$id` is no address.
    """
    if not isinstance(part.get("$id"), str):
        return resolver
    try:
        return resolver.in_subresource(cast("Any", DRAFT202012).create_resource(part))
    except ValueError:
        shown = repr(part["$id"])[:LONGEST_PROBLEM]
        raise ValueError(f"has the $id {shown}, which is no address: must have a URI there") from None


def _check_pattern(pattern: str) -> None:
    try:
        _matcher(pattern)
    except pydantic_core.SchemaError:
        shown = repr(pattern)[:LONGEST_PROBLEM]
        raise ValueError(
            f"has the pattern {shown}: must be a smaller regular expression, or one without look-around"
        ) from None


def _check_reference(reference: str, resolver: Any) -> None:
    try:
        is_schema = isinstance(resolver.lookup(reference).contents, dict | bool)
    except (Unresolvable, ValueError, LookupError, TypeError):
        is_schema = False
    if not is_schema:
        shown = repr(reference)[:LONGEST_PROBLEM]
        raise ValueError(f"refers to {shown}, which is no schema in it: must have all that it refers to in itself")


@lru_cache(maxsize=KEPT_PATTERNS)
def _matcher(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=pattern))


def _pattern(validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _matcher(pattern).isinstance_python(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _validator(schema: Mapping[str, Any]) -> Any:
    """Return what holds one answer against a schema, and gives up where references lead on and on."""
    followed = count(1)

    def bounded(keyword: Any) -> Any:
        def follow(*given: Any) -> Iterator[ValidationError]:
            if next(followed) > MOST_REFERENCES:
                raise RecursionError(f"its schema refers to itself more than {MOST_REFERENCES} times")
            yield from keyword(*given) or ()

        return follow

    keywords = cast("Mapping[str, Any]", Draft202012Validator.VALIDATORS)
    references = {name: bounded(keywords[name]) for name in ("$ref", "$dynamicRef")}
    kind = cast("Any", validators).extend(Draft202012Validator, references | {"pattern": _pattern})
    return kind(schema, registry=cast("Any", Registry)())


def _unfenced(text: str) -> str:
    """Return what stands in a fence of Markdown, which some models put around JSON."""
    stripped = text.strip()
    if stripped.startswith(FENCE) and stripped.endswith(FENCE):
        return stripped.removesuffix(FENCE).partition("\n")[2]
    return stripped
