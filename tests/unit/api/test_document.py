"""The OpenAPI document says of every operation what it takes and answers, in types and by an example that is true."""

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api import bodies, routes
from api.app import create_app
from api.documents import example_of
from config.settings import ensure_folders, settings

JSON = ("application/json", "application/problem+json")
TYPES = {"$ref", "anyOf", "properties", "additionalProperties", "items"}
"""What a schema has that says more than that it is JSON."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    ensure_folders(settings)
    return create_app(settings).openapi()


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def contents(operation: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What is sent and answered, each with its name and its media type."""
    answers = [(status, one) for status, one in operation["responses"].items()]
    for what, one in [("body", operation.get("requestBody", {})), *answers]:
        for media_type, content in one.get("content", {}).items():
            yield what, media_type, content


def test_every_operation_has_a_name_and_a_summary_of_its_own(document):
    told = dict(operations(document))
    assert [name for name, one in told.items() if not one.get("operationId")] == []
    assert len({one["operationId"] for one in told.values()}) == len(told)
    summaries = {name: one["summary"] for name, one in told.items()}
    assert [name for name, summary in summaries.items() if len(summary.split()) < 2] == []
    assert [name for name, summary in summaries.items() if len(summary) > 120] == []


def test_every_operation_is_of_a_noun_and_every_parameter_is_described(document):
    told = dict(operations(document))
    assert [name for name, one in told.items() if not one.get("tags")] == []
    silent = [
        (name, one["name"])
        for name, operation in told.items()
        for one in operation.get("parameters", [])
        if not one.get("description")
    ]
    assert silent == []


def test_every_answer_in_json_has_a_schema(document):
    untyped = [
        (name, status)
        for name, operation in operations(document)
        for status, media_type, content in contents(operation)
        if media_type in JSON and not TYPES & set(content.get("schema", {}))
    ]
    assert untyped == []


def test_every_success_is_said_to_have_a_body_or_none(document):
    silent = [
        (name, status)
        for name, operation in operations(document)
        for status, answer in operation["responses"].items()
        if status.startswith("2") and status != "204" and not answer.get("content") and not name.startswith("HEAD ")
    ]
    assert silent == []


def test_every_body_and_every_answer_has_an_example(document):
    without = [
        (name, what, media_type)
        for name, operation in operations(document)
        for what, media_type, content in contents(operation)
        if "example" not in content
    ]
    assert without == []


def test_every_example_is_what_its_schema_says(document):
    wrong = list[tuple[str, str, str]]()
    for name, operation in operations(document):
        for what, media_type, content in contents(operation):
            if media_type in JSON and "example" in content:
                check = Draft202012Validator({**content["schema"], "components": document["components"]})
                wrong += [(name, what, one.message) for one in check.iter_errors(content["example"])]
    assert wrong == []


def test_every_operation_that_reads_a_body_says_what_it_takes(document):
    modules = [import_module(f"api.routes.{one.name}") for one in pkgutil.iter_modules(routes.__path__)]
    reading = [
        (method, route.path_format)
        for route in [route for module in modules for route in module.router.routes]
        for method in route.methods
        if any(one.call.__module__ == bodies.__name__ for one in route.dependant.dependencies)
    ]
    assert len(reading) > 30
    silent = [one for one in reading if not document["paths"][one[1]][one[0].lower()].get("requestBody")]
    assert silent == []


def test_every_field_of_an_answer_is_described(document):
    schemas = document["components"]["schemas"]
    silent = [
        (name, field)
        for name, schema in schemas.items()
        for field, told in schema.get("properties", {}).items()
        if not told.get("description")
    ]
    assert silent == []


def test_an_example_is_put_together_from_those_of_the_parts():
    parts = {"Part": {"type": "object", "properties": {"n": {"examples": [3]}, "kind": {"enum": ["a", "b"]}}}}
    schema = {
        "type": "object",
        "properties": {
            "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
            "next": {"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/Part"}]},
            "limit": {"type": "integer", "default": 5},
        },
    }
    part = {"n": 3, "kind": "a"}
    assert example_of(schema, parts) == {"parts": [part], "next": part, "limit": 5}
    with pytest.raises(LookupError):
        example_of({"type": "object", "properties": {"name": {"type": "string"}}}, parts)
