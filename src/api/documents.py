"""What the OpenAPI document says beside the routes' own types."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from starlette.routing import BaseRoute

from api import bodies
from api.errors import MEDIA_TYPE
from api.guards import GuardedRoute

DESCRIPTION = """Submit work, see what becomes of it, and steer it.

Every request but those that say otherwise brings a key as `Authorization: Bearer <key>`; `x-scope` names what it must
be good for. Errors are problem details (RFC 9457): `type` is for programs, `detail` for people. Any request may be a
421, where its `Host` is none of this service's, and a 403, where its `Origin` is another site."""

SECURITY = "key"
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

    task_id: str = Field(description="The task's id, for every other request about it.")


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="The stable name that programs look at, such as `urn:csai:invalid-argument`.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="One sentence for people: what was wrong, what was given and how to cure it.")


def problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return what a route says of the errors that it answers."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {one.value: {"description": one.phrase, "content": content} for one in statuses}


def document_of(app: FastAPI, routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """Return the OpenAPI document of an application: each of these routes of its with its scope and its problems."""
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
    components["schemas"].pop("HTTPValidationError", None)
    components["schemas"].pop("ValidationError", None)
    components["securitySchemes"] = {SECURITY: {"type": "http", "scheme": "bearer"}}
    for route in routes:
        if isinstance(route, GuardedRoute):
            for method in route.methods or () if route.include_in_schema else ():
                _describe(document["paths"][route.path_format][method.lower()], route)
    return document


def _describe(operation: dict[str, Any], route: GuardedRoute) -> None:
    """Say of an operation who may use it, and what it answers where it refuses."""
    responses: dict[str, Any] = operation["responses"]
    if "422" in responses or "requestBody" in operation or "parameters" in operation:
        responses.pop("422", None)  # FastAPI's own is no problem of ours
        _add(responses, HTTPStatus.UNPROCESSABLE_ENTITY)
    if "requestBody" in operation:
        _add(responses, TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT)
    if "{" in route.path:
        _add(responses, HTTPStatus.NOT_FOUND)
    if route.body_field is not None:
        _add(responses, HTTPStatus.BAD_REQUEST)  # it cannot be read as text
    scope = route.guard().scope
    if scope is None:
        return
    operation["security"] = [{SECURITY: []}]
    operation["x-scope"] = scope
    _add(responses, *COMMON_PROBLEMS)


def _add(responses: dict[str, Any], *statuses: HTTPStatus) -> None:
    """Say that these are answered as problems, too, whatever else is answered with the same status."""
    for status, told in problems(*statuses).items():
        content = responses.setdefault(str(status), told).setdefault("content", {})
        content.update(told["content"])
