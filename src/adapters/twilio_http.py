"""What the SDK of Twilio sends its requests through: each over a connection of its own, until a moment.

The SDK's own client has no end, takes proxies and logins from the environment, logs whole numbers, and raises the same
error whether a request went out or not. A new connection for each request is never one that the other side is just
closing, and none is shared by two processes after a fork.
"""

import logging
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlencode, urlsplit

from twilio.http import HttpClient  # pyright: ignore[reportMissingTypeStubs] - it has none
from twilio.http.response import Response  # pyright: ignore[reportMissingTypeStubs] - it has none
from urllib3.connection import HTTPConnection
from urllib3.util import Url

from adapters.deadline import ended_at
from adapters.network_guard import system_resolver
from adapters.own_thread import TookTooLong, in_own_thread
from adapters.pinned_https import FAULTS, HTTPS_PORT, Unreachable, Untrusted, cause_of, connected, name_of

HTTP_PORT = 80
ANSWER_BYTES = 8 * 1024 * 1024
"""How much of an answer is read, which leaves a larger one unreadable: a page of 1000 calls has some 2 MB."""

_logger = logging.getLogger(__name__)


class NotSent(Exception):
    """Nothing went out; the text says why."""


class Unanswered(Exception):
    """It went out, or a part of it, and no whole answer came; the text says why."""


class TwilioHttp(HttpClient):
    """Sends what one method asks.

    Args:
        base: where all requests go, whatever host the SDK names; `http` for this machine alone.
        until: the monotonic second by which the last of them has ended.
        context: the TLS context.

    Attributes:
        asked: whether something may have gone out.
        answer: the last one.
    """

    def __init__(self, base: Url, until: float, context: ssl.SSLContext) -> None:
        super().__init__(_logger, is_async=False)
        self._base, self._until, self._context = base, until, context
        self.asked = False
        self.answer: Response | None = None

    def request(
        self,
        method: str,
        uri: str,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - `until` is for all
        allow_redirects: bool = False,  # noqa: ARG002, FBT001, FBT002 - never followed
    ) -> Response:
        """Send one request, once.

        Raises:
            NotSent: nothing went out.
            Unanswered: something may have, and no whole answer came.
        """
        body = urlencode(data or {}, doseq=True).encode()
        target = urlsplit(uri)
        query = "&".join(filter(None, (target.query, urlencode(params or {}, doseq=True))))
        asked = {**(headers or {}), "Host": self._base.netloc or "", "Accept-Encoding": "identity"}
        if auth is not None:
            asked["Authorization"] = f"Basic {b64encode(':'.join(auth).encode()).decode()}"
        connection = self._connected()
        with closing(connection), ended_at(connection, self._until):
            self.asked, self.answer = True, None
            try:
                self.answer = _answer(connection, method, f"{target.path}?{query}".rstrip("?"), body, asked)
            except FAULTS as error:
                raise Unanswered(cause_of(error)) from error
        return self.answer

    def _connected(self) -> HTTPConnection:
        """Return a connection over which something can still be sent in time."""
        try:
            connection = self._plain() if self._base.scheme == "http" else self._secured()
        except Untrusted as error:
            raise NotSent(f"its certificate is not trusted: {error}") from error
        except TookTooLong:
            raise NotSent("looking for its address took too long") from None
        except (Unreachable, *FAULTS) as error:
            raise NotSent(cause_of(error)) from error
        if time.monotonic() >= self._until:
            connection.close()
            raise NotSent("connecting took too long")
        connection.timeout = self._until - time.monotonic()
        return connection

    def _plain(self) -> HTTPConnection:
        left = max(0.001, self._until - time.monotonic())
        connection = HTTPConnection(name_of(self._base), self._base.port or HTTP_PORT, timeout=left)
        connection.connect()
        return connection

    def _secured(self) -> HTTPConnection:
        name, port = name_of(self._base), self._base.port or HTTPS_PORT
        addresses = in_own_thread(lambda: system_resolver(name, port), lambda: None, self._until, "resolving")
        return connected(name, port, addresses, until=self._until, context=self._context)


def _answer(connection: HTTPConnection, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Response:
    sent: dict[str, Any] = {"body": body or None, "headers": headers, "preload_content": False, "decode_content": False}
    connection.request(method, target, **sent)
    with closing(connection.getresponse()) as response:
        came = response.read(ANSWER_BYTES, decode_content=False)
        return Response(response.status, came.decode("utf-8", "replace"), response.headers)
