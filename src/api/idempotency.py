"""The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): which requests take it, and its refusal."""

from typing import Annotated, Any

from fastapi import Header, Request
from fastapi.routing import APIRoute

from processors.errors import InvalidArgument
from services.submit_options import MAX_KEY_CHARACTERS, checked_key

HEADER = "Idempotency-Key"


def _parameter(description: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARACTERS}
    one = {"name": HEADER, "in": "header", "required": False, "description": description, "schema": schema}
    return {"parameters": [one]}


SAME_TASK = _parameter("The same key with the same method and arguments gives the same id for 7 days.")
"""What the document says of a submit, which reads the header itself."""

TWICE_IS_ONCE = _parameter("Taken, and not needed: the same request twice comes to the same as once.")
"""What marks a route that changes nothing more when it is asked again."""

OnceWith = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=MAX_KEY_CHARACTERS,
        description="The same key gives the same task, as long as that one's record is there.",
    ),
]
"""The key of a route that makes the id of its task from it."""


def takes_key(route: APIRoute) -> bool:
    """Tell whether a route says that it takes the header."""
    told = (route.openapi_extra or {}).get("parameters", ())
    return any(one["name"] == HEADER for one in told) or any(
        one.alias == HEADER for one in route.dependant.header_params
    )


def check_key(request: Request, *, taken: bool) -> None:
    """Refuse a key where it would mean nothing: who sends one asks again, and trusts that it is done once.

    Raises:
        InvalidArgument: it does, or the key is none.
    """
    keys = request.headers.getlist(HEADER)
    if not keys:
        return
    if not taken:
        raise InvalidArgument(
            f"{HEADER}: this cannot be done once for a key, so that none is taken; send it without the header, and "
            "look what came of it before you send it again."
        )
    if len(keys) > 1:
        raise InvalidArgument(f"{HEADER}: give one of them; got {len(keys)}.")
    checked_key(keys[0])
