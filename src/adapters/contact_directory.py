"""A directory elsewhere that knows how people are reached: a URL that is asked for one person at a time."""

import ssl
import time
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, cast
from urllib.parse import quote, urlsplit

from pydantic import ValidationError
from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from adapters.deadline import ended_at
from adapters.retry_after import retry_after
from adapters.strict_json import UNREADABLE, read_json
from processors.contacts import Contact
from processors.errors import PermanentError, TransientError
from processors.results import sentence_of

PLACE = "{user_id}"
READ_SECONDS = 5.0
DEADLINE_SECONDS = 10.0
MOST_BYTES = 256 * 1024
GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
FAULTS = (HTTPError, HTTPException, OSError)


class HttpContactDirectory:
    """Fulfils `processors.contacts.ContactDirectory`.

    Redirects are not followed, neither the environment's proxies nor its logins are used, and nothing is decompressed.

    Args:
        url: with `{user_id}` where the person's id stands, percent-encoded.
        token: sent as `Authorization: Bearer`, or None.
        context: the TLS context; by default the system's certificate authorities.
    """

    def __init__(self, url: str, token: str | None = None, context: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._token = token
        self._context = context

    def find(self, user_id: str) -> Contact | None:
        """Return what the directory knows of a person; None where it answers 404 or 410.

        Raises:
            TransientError: it does not answer now, or refuses the token; with `retry_after` where it said so.
            PermanentError: its answer is no contact.
        """
        parts = urlsplit(self._url.replace(PLACE, quote(user_id, safe="")))
        connection = self._connection(str(parts.hostname), parts.port, parts.scheme)
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        try:
            with ended_at(connection, time.monotonic() + DEADLINE_SECONDS):
                connection.request("GET", target, headers=self._headers(), preload_content=False, decode_content=False)
                with closing(connection.getresponse()) as response:
                    body = response.read(MOST_BYTES + 1, decode_content=False)
        except FAULTS as error:
            raise TransientError(
                f"The contact directory at {parts.netloc} does not answer now: {_cause(error)}; check "
                "CONTACT_DIRECTORY_URL."
            ) from error
        finally:
            connection.close()
        return _contact(response, body, parts.netloc)

    def _connection(self, host: str, port: int | None, scheme: str) -> HTTPConnection:
        if scheme == "http":
            return HTTPConnection(host, port, timeout=READ_SECONDS)
        context = self._context or ssl.create_default_context()
        return HTTPSConnection(host, port, timeout=READ_SECONDS, ssl_context=context, cert_reqs="CERT_REQUIRED")

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "csai"}
        return headers | ({"Authorization": f"Bearer {self._token}"} if self._token else {})


def _contact(response: BaseHTTPResponse, body: bytes, shown: str) -> Contact | None:
    """Read an answer; keys that no contact has are the directory's own."""
    if response.status in GONE:
        return None
    if response.status in REFUSED:
        raise TransientError(
            f"The contact directory at {shown} refuses the token ({response.status}): set CONTACT_DIRECTORY_TOKEN."
        )
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise TransientError(
            f"The contact directory at {shown} answers {response.status} now.", retry_after(response.headers)
        )
    if response.status != HTTPStatus.OK or len(body) > MOST_BYTES:
        what = f"{response.status}" if response.status != HTTPStatus.OK else f"over {MOST_BYTES} bytes"
        raise PermanentError(
            f"The contact directory at {shown} answers {what} instead of a contact: CONTACT_DIRECTORY_URL must lead to "
            "one without a redirect."
        )
    try:
        given: Any = read_json(body)
    except UNREADABLE as error:
        raise PermanentError(f"The contact directory at {shown} answers no JSON: {error}.") from error
    if not isinstance(given, dict):
        raise PermanentError(f"The contact directory at {shown} answers {type(given).__name__} instead of an object.")
    known = {name: value for name, value in cast("dict[str, Any]", given).items() if name in Contact.model_fields}
    try:
        return Contact.model_validate(known)
    except ValidationError as error:
        raise PermanentError(f"The contact directory at {shown} answers no contact: {sentence_of(error)}.") from error


def _cause(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
