"""Forms: read up to a bound, and known to be of our own pages by a token."""

import hmac
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import parse_qsl
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.requests import Request

from processors.errors import InvalidArgument
from web.origins import is_our_page

MEDIA_TYPE = "application/x-www-form-urlencoded"
MOST_FIELDS = 100
MOST_ARGUMENT_BYTES = 4_000_000
"""Of a form with arguments: each sign may take three bytes in it."""

TOO_LARGE = 413
TOKEN = "token"  # noqa: S105 - a field's name
ONCE = "once"
"""The field of a form's word of its own, by which what it makes is made once, however often it is sent."""


def token_of(secret: str) -> str:
    """Return what each form brings that was made for who holds this secret; the secret cannot be told from it."""
    return hmac.digest(secret.encode(), b"a form of the dashboard", "sha256").hex()


async def form_of(request: Request, secret: str, most: int) -> Mapping[str, str]:
    """Return the fields of a form that one of our own pages sent.

    Args:
        request: a POST.
        secret: what the page's token was made of.
        most: bytes that it may have.

    Raises:
        HTTPException: it is of another site, has no token of this browser's, is too large or no form.
    """
    if not is_our_page(request):
        raise HTTPException(HTTPStatus.FORBIDDEN, "Forms of other sites are refused.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"A form is {MEDIA_TYPE}.")
    fields = await _fields(request, most)
    if not hmac.compare_digest(fields.get(TOKEN, "").encode("utf-8", "replace"), token_of(secret).encode()):
        raise HTTPException(HTTPStatus.FORBIDDEN, "This form is too old, or not of this browser: load its page again.")
    return fields


def new_once() -> str:
    """Return a word that no other form has."""
    return str(uuid4())


def once_in(form: Mapping[str, str]) -> str | None:
    """Return a form's word of its own; None where it has none."""
    return form.get(ONCE) or None


def json_object(text: str) -> dict[str, Any]:
    """Return the arguments that somebody wrote into a form.

    Raises:
        InvalidArgument: that is no JSON object.
    """
    try:
        given: Any = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"arguments: must be a JSON object; {error}.") from error
    if not isinstance(given, dict):
        raise InvalidArgument("arguments: must be a JSON object, with each argument by its name.")
    return cast("dict[str, Any]", given)


async def _fields(request: Request, most: int) -> dict[str, str]:
    taken = bytearray()
    async for piece in request.stream():
        taken += piece
        if len(taken) > most:
            raise HTTPException(TOO_LARGE, f"The form must have at most {most} bytes.")
    try:
        return dict(parse_qsl(taken.decode("ascii", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"The form must have at most {MOST_FIELDS} fields.") from error
