"""What the OpenAPI document says beside the routes' own types: who may, what is refused, and examples."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from api import bodies
from api.errors import ERROR_TABLE, MEDIA_TYPE
from api.guards import GuardedRoute

DESCRIPTION = """Submit work, see what becomes of it, and steer it.

Every request but those that say otherwise brings a key as `Authorization: Bearer <key>`; `x-scope` names what it must
be good for. Errors are problem details (RFC 9457): `type` is for programs, `detail` for people. Any request may be a
421, where its `Host` is none of this service's, and a 403, where its `Origin` is another site."""

SECURITY = "key"
REFERENCE = "#/components/schemas/"
WHY = "One sentence that says what was wrong and how to cure it."
FIRST_PART = re.compile(r"(.+?)(?:[;:]\s|\.(?:\s|$))", re.DOTALL)
"""Of a description: what stands before the first semicolon, colon or full stop."""

TOO_LARGE = HTTPStatus(bodies.TOO_LARGE)
COMMON_PROBLEMS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
"""Of whatever wants a key; who has it stands in the database."""

SIGNED_PROBLEMS = (HTTPStatus.FORBIDDEN, TOO_LARGE, HTTPStatus.SERVICE_UNAVAILABLE)
"""Of what takes a body whose signature is its key."""


class Accepted(BaseModel):
    """A task that was submitted."""

    task_id: str = Field(
        description="The task's id, for every other request about it.",
        examples=["0f8fad5b-d9cb-469f-a165-70867728950e"],
    )


class AcceptedMany(BaseModel):
    """Tasks that were submitted at once."""

    task_ids: list[str] = Field(
        description="The tasks' ids, in the order of their arguments.",
        examples=[["0f8fad5b-d9cb-469f-a165-70867728950e"]],
    )


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(
        description="The stable name that programs look at, such as `urn:csai:invalid-argument`.",
        examples=["urn:csai:invalid-argument"],
    )
    title: str = Field(description="The status in words.", examples=["Unprocessable Entity"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(
        description="One sentence for people: what was wrong, what was given and how to cure it.",
        examples=["limit: must be between 1 and 1000; got 0."],
    )


def problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return what a route says of the errors that it answers."""
    return {one.value: {"description": one.phrase, "content": {MEDIA_TYPE: _problem(one)}} for one in statuses}


def _problem(status: HTTPStatus) -> dict[str, Any]:
    """Return what an answer of this status says: the first error of the table that has it, or the status itself."""
    kinds = (kind for found, kind in ERROR_TABLE.values() if found is status)
    kind = next(kinds, status.phrase.lower().replace(" ", "-"))
    example = {"type": f"urn:csai:{kind}", "title": status.phrase, "status": status.value, "detail": WHY}
    return {"schema": {"$ref": REFERENCE + "Problem"}, "example": example}


def document_of(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an application: each of its routes with its scope and its problems."""
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
    components["schemas"].pop("HTTPValidationError", None)
    components["schemas"].pop("ValidationError", None)
    components["securitySchemes"] = {SECURITY: {"type": "http", "scheme": "bearer"}}
    for route in app.routes:
        if isinstance(route, GuardedRoute):
            for method in route.methods or () if route.include_in_schema else ():
                _describe(document["paths"][route.path_format][method.lower()], route)
    for content in _contents(document):
        with suppress(LookupError):  # a test tells where one lacks
            content.setdefault("example", example_of(content.get("schema", {}), components["schemas"]))
    return document


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """Return an example of what a schema allows: its own, or one that is put together from those of its parts.

    Args:
        schema: of the document.
        schemas: its components, by name.

    Raises:
        LookupError: a part has none.
    """
    named: Mapping[str, Any] = schemas[schema["$ref"].removeprefix(REFERENCE)] if "$ref" in schema else {}
    whole: dict[str, Any] = {**named, **schema}
    for own in ("examples", "enum"):
        if own in whole:
            return whole[own][0]
    if "anyOf" in whole:
        return example_of(next(one for one in whole["anyOf"] if one.get("type") != "null"), schemas)
    if "properties" in whole:
        return {name: example_of(one, schemas) for name, one in whole["properties"].items()}
    if "items" in whole:
        return [example_of(whole["items"], schemas)]
    for only in ("const", "default"):
        if only in whole:
            return whole[only]
    raise LookupError(f"{whole} has no example; give its field one, or the class that it is a field of.")


def _contents(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return all that is sent and answered."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for one in (operation.get("requestBody", {}), *operation["responses"].values()):
                yield from one.get("content", {}).values()


def _describe(operation: dict[str, Any], route: GuardedRoute) -> None:
    """Say of an operation who may use it, and what it answers where it refuses."""
    responses: dict[str, Any] = operation["responses"]
    if route.summary is None:
        operation["summary"] = _first_part(operation["description"])
    scope = route.guard().scope
    if scope is not None or "422" in responses or "requestBody" in operation or "parameters" in operation:
        responses.pop("422", None)  # FastAPI's own is no problem of ours
        _add(responses, HTTPStatus.UNPROCESSABLE_ENTITY)
    if "requestBody" in operation:
        _add(responses, TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT)
    if "{" in route.path:
        _add(responses, HTTPStatus.NOT_FOUND)
    if route.body_field is not None:
        _add(responses, HTTPStatus.BAD_REQUEST)  # it cannot be read as text
    if scope is None:
        return
    operation["security"] = [{SECURITY: []}]
    operation["x-scope"] = scope
    _add(responses, *COMMON_PROBLEMS)


def _first_part(description: str) -> str:
    found = FIRST_PART.match(" ".join(description.split()))
    return f"{found[1] if found else description}."


def _add(responses: dict[str, Any], *statuses: HTTPStatus) -> None:
    """Say that these are answered as problems, too, whatever else is answered with the same status."""
    for status, told in problems(*statuses).items():
        content = responses.setdefault(str(status), told).setdefault("content", {})
        content.update(told["content"])
