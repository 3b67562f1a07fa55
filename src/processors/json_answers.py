"""Answers as JSON by a schema: what a schema may be, and whether an answer fulfils it.

Callers write schemas, and models write answers as callers tell them: neither may keep a worker busy for long. Patterns
are matched by pydantic's engine, in a time that grows with the text alone.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urljoin

import pydantic_core
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import SchemaError, ValidationError
from pydantic_core import SchemaValidator, core_schema
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from processors.envelopes import clean

LONGEST_PROBLEM = 300
MOST_CHECKS = 500_000
"""For one answer, some 5 s at worst: a few references that refer to each other twice are millions of checks, and so
are a thousand keywords for each of a thousand items."""

MOST_DEPTH = 150
"""Of checks in checks, each some five calls: at Python's own limit a library in Rust ends in a panic, no error."""

ENUM_SHARE, PATTERN_SHARE, TEXT_SHARE = 2, 2, 10
"""Values of an enum, characters held against a pattern, and characters compared with others, in a check's time."""

MOST_PATTERNS = 100
"""To compile one takes up to 60 ms."""

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
    """Look at all schemas in a schema.

    Raises:
        ValueError: there is a keyword that is not taken, a pattern that the engine does not know, more patterns than
            can be compiled soon, a reference that leads to no schema, or an `$id` that is no address.
    """
    references, patterns, parts = list[tuple[str, str]](), set[str](), set[int]()
    left = [(_resource(schema), "")]
    while left:
        resource, address = left.pop()
        part: Mapping[str, Any] | bool = resource.contents
        if isinstance(part, bool):
            continue
        if "$schema" in part and part is not schema:
            raise ValueError("must have $schema at its top alone: its parts are read as of draft 2020-12 too")
        for keyword in NOT_TAKEN.keys() & part.keys():
            raise ValueError(f"must have no {keyword}: {NOT_TAKEN[keyword]}")
        if "pattern" in part and part["pattern"] not in patterns:
            patterns.add(part["pattern"])
            _check_pattern(part["pattern"])
        if len(patterns) > MOST_PATTERNS:
            raise ValueError(f"must have at most {MOST_PATTERNS} different patterns")
        parts.add(id(part))
        address = _address_of(part, address)
        references += [(address, part[name]) for name in ("$ref", "$dynamicRef") if name in part]
        left += [(one, address) for one in resource.subresources()]
    registry = _registry(schema)
    for address, reference in references:
        _check_reference(reference, registry.resolver(address), parts)


def _address_of(part: Mapping[str, Any], address: str) -> str:
    """Return what the references in a part begin at: one that has an `$id` is a schema of its own.

    Raises:
        ValueError: the `$id` is no address.
    """
    try:
        return urljoin(address, part.get("$id", "").rstrip("#"))
    except ValueError:
        shown = repr(part["$id"])[:LONGEST_PROBLEM]
        raise ValueError(f"has the $id {shown}, which is no address: must have a URI there") from None


def _resource(schema: Mapping[str, Any]) -> Any:
    return cast("Any", DRAFT202012).create_resource(schema)


def _registry(schema: Mapping[str, Any]) -> Any:
    """Return what looks up the references of a schema, and has read it: else each lookup would read all of it."""
    resource = _resource(schema)
    return cast("Any", Registry)().with_resource(resource.id() or "", resource).crawl()


def _check_pattern(pattern: str) -> None:
    try:
        _matcher(pattern)
    except pydantic_core.SchemaError:
        shown = repr(pattern)[:LONGEST_PROBLEM]
        raise ValueError(
            f"has the pattern {shown}: must be a smaller regular expression, or one without look-around"
        ) from None


def _check_reference(reference: str, resolver: Any, parts: Collection[int]) -> None:
    try:
        target = resolver.lookup(reference).contents
    except (Unresolvable, ValueError, LookupError, TypeError):
        target = None
    if not isinstance(target, bool) and id(target) not in parts:  # None among it; data is checked by nobody
        shown = repr(reference)[:LONGEST_PROBLEM]
        raise ValueError(f"refers to {shown}, which is no schema in it: must have all that it refers to in its $defs")


@lru_cache(maxsize=KEPT_PATTERNS)
def _matcher(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=pattern))


def _pattern(validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _matcher(pattern).isinstance_python(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _unique(validator: Any, wanted: bool, instance: Any, _schema: Any) -> Iterator[ValidationError]:  # noqa: FBT001 - jsonschema's form
    """Hold items against each other by what they are as texts: jsonschema compares each with each."""
    if wanted and validator.is_type(instance, "array") and len(set(map(_written, instance))) < len(instance):
        yield ValidationError(f"{instance!r} has non-unique elements")


def _written(value: Any) -> str:
    """Return a JSON value as a text, which is the same for equal ones alone."""
    if isinstance(value, dict):
        members = sorted((json.dumps(name), _written(one)) for name, one in cast("dict[str, Any]", value).items())
        return f"{{{','.join(map(':'.join, members))}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_written, cast('list[Any]', value)))}]"
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


def _validator(schema: Mapping[str, Any]) -> Any:
    """Return what holds one answer against a schema, and gives up where that goes on and on."""
    checks = depth = 0

    def bounded(name: str, keyword: Any) -> Any:
        def check(validator: Any, value: Any, instance: Any, part: Any) -> Iterator[ValidationError]:
            nonlocal checks, depth
            checks += _checks_for(name, value, instance)
            if checks > MOST_CHECKS or depth > MOST_DEPTH:
                raise RecursionError(f"that takes more than {MOST_CHECKS} checks, or {MOST_DEPTH} within each other")
            depth += 1
            try:
                yield from keyword(validator, value, instance, part) or ()
            finally:
                depth -= 1

        return check

    own = {"pattern": _pattern, "uniqueItems": _unique}
    keywords: dict[str, Any] = {**cast("Mapping[str, Any]", Draft202012Validator.VALIDATORS), **own}
    kind = cast("Any", validators).extend(
        Draft202012Validator, {name: bounded(name, keyword) for name, keyword in keywords.items()}
    )
    # A $schema would make jsonschema take its own keywords, without the bounds.
    schema = {name: value for name, value in schema.items() if name != "$schema"}
    return kind(schema, _resolver=_registry(schema).resolver(_resource(schema).id() or ""))


def _checks_for(keyword: str, value: Any, instance: Any) -> int:
    """Return how many checks of the simplest kind take as long as this one."""
    if keyword == "enum":
        return 1 + len(value) // ENUM_SHARE
    if keyword == "pattern" and isinstance(instance, str):
        return 1 + len(instance) // PATTERN_SHARE
    if keyword == "uniqueItems" and isinstance(instance, list):
        return 1 + len(json.dumps(instance)) // TEXT_SHARE
    return 1


def _unfenced(text: str) -> str:
    """Return what stands in a fence of Markdown, which some models put around JSON."""
    stripped = text.strip()
    if stripped.startswith(FENCE) and stripped.endswith(FENCE):
        return stripped.removesuffix(FENCE).partition("\n")[2]
    return stripped
