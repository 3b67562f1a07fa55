"""Files at https:// addresses, which anybody may have chosen: read from the internet, and from nowhere behind it.

A host's addresses are asked for once and checked, and the connection goes to a checked address.
"""

import ssl
import time
from collections.abc import Collection, Generator
from contextlib import closing, contextmanager
from http import HTTPStatus
from typing import IO
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from adapters.deadline import ended_at
from adapters.network_guard import Resolve, checked_addresses, system_resolver
from adapters.pinned_https import (
    FAULTS,
    HTTPS_PORT,
    Unreachable,
    Untrusted,
    cause_of,
    connected,
    name_of,
)
from adapters.pouring import CHUNK_BYTES, Bounds, pour
from adapters.retry_after import retry_after
from processors.errors import FileError, TransientError
from processors.interfaces import Report

READ_SECONDS = 20.0
MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
FOR_NOW = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class WebFiles:
    """Fulfils `processors.interfaces.FileSource` for https:// addresses.

    Neither the environment's proxies nor its logins are used, and nothing is decompressed.

    Args:
        bounds: of size and time; the time is that of all redirects together.
        hosts: the only names that files may be read from, also where another one redirects; empty: any.
        resolve: how a host's addresses are found.
        context: the TLS context; by default the system's certificate authorities.
    """

    def __init__(
        self,
        bounds: Bounds,
        hosts: Collection[str] = (),
        resolve: Resolve = system_resolver,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._bounds = bounds
        self._hosts = frozenset(map(str.lower, hosts))
        self._resolve = resolve
        self._context = context or ssl.create_default_context()

    def fetch(self, address: str, into: IO[bytes], report: Report) -> None:
        """Write the bytes of the file at `address` into `into`, over at most 5 redirects, each checked like the first.

        Raises:
            FileError: `network_forbidden`, `not_found` or `too_large`; `corrupt` where nobody can tell where it ends.
            TransientError: it cannot be had now; with `retry_after` where the server said so.
            Cancelled: as raised by `report`.
        """
        began = time.monotonic()
        for _ in range(MOST_REDIRECTS + 1):
            url = self._allowed(address)
            report(0, f"asking {url.host} for the file")
            with self._answered(url, began) as response:
                location = response.headers.get("Location")
                if response.status not in REDIRECTS or location is None:
                    self._take(url, response, into, began, report)
                    return
            address = urljoin(url.url, _as_meant(location))
        raise FileError(f"The file's address still leads on after {MOST_REDIRECTS} redirects.", "not_found")

    def _allowed(self, address: str) -> Url:
        """Return an address, taken apart, that may be asked.

        Raises:
            FileError: it is none, or none that may be asked.
        """
        try:
            url = parse_url(address)
        except LocationParseError:
            raise FileError("The file's address is damaged: it has no host, or a bad port.", "not_found") from None
        if url.scheme != "https" or not url.host:
            raise FileError(f"{_shown(url)} is no https:// address with a host.", "network_forbidden")
        if url.auth is not None:
            raise FileError(f"{_shown(url)} was given with a user's name or password.", "network_forbidden")
        if self._hosts and name_of(url) not in self._hosts:
            raise FileError(f"Files are not read from {url.host}: it is not in FILE_HOSTS.", "network_forbidden")
        return url

    @contextmanager
    def _answered(self, url: Url, began: float) -> Generator[BaseHTTPResponse]:
        """Ask for a file and give the answer whose body is still to be read."""
        connection = self._connected(url, began)
        try:
            with ended_at(connection, began + self._bounds.seconds):
                headers = {"Host": url.netloc or "", "User-Agent": "csai", "Accept-Encoding": "identity"}
                connection.request("GET", url.request_uri, headers=headers, preload_content=False, decode_content=False)
                with closing(connection.getresponse()) as response:
                    yield response
        except FAULTS as error:
            self._bounds.check_time(_shown(url), began)
            raise TransientError(f"{_shown(url)} cannot be read now: {cause_of(error)}.") from error
        finally:
            connection.close()

    def _connected(self, url: Url, began: float) -> HTTPSConnection:
        """Return a connection to the first of a host's checked addresses that can be reached."""
        name, port = name_of(url), url.port or HTTPS_PORT
        addresses = checked_addresses(name, port, self._resolve)
        try:
            connection = connected(name, port, addresses, until=began + self._bounds.seconds, context=self._context)
        except Untrusted as error:
            raise FileError(f"The certificate of {name} is not trusted: {error}.", "network_forbidden") from error
        except Unreachable as error:
            self._bounds.check_time(_shown(url), began)
            raise TransientError(f"{name} cannot be reached now: {error}.") from error
        connection.timeout = READ_SECONDS
        return connection

    def _take(self, url: Url, response: BaseHTTPResponse, into: IO[bytes], began: float, report: Report) -> None:
        """Take the file out of an answer, if it is in there."""
        if response.status != HTTPStatus.OK:
            raise _refusal(url, response)
        chunks = iter(lambda: response.read1(CHUNK_BYTES, decode_content=False), b"")
        size = _size(url, response)
        pour(chunks, into, shown=_shown(url), size=size, bounds=self._bounds, began=began, report=report)


def _refusal(url: Url, response: BaseHTTPResponse) -> FileError | TransientError:
    """Return the error for an answer that is no file."""
    status = response.status
    said = f"{_shown(url)} is answered with {status} {response.reason or ''}".rstrip()
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in FOR_NOW:
        return TransientError(f"{said}.", retry_after(response.headers))
    if status in GONE:
        return FileError(f"There is no file at {_shown(url)} ({status}).", "not_found")
    return FileError(f"{said}: its server does not hand it out.", "not_found")


def _size(url: Url, response: BaseHTTPResponse) -> int | None:
    """Return how many bytes are announced, or None where each chunk announces its own.

    Raises:
        FileError: the end of the connection would be the end of the file, and could not be told from a cut one (RFC
            9112, 8).
    """
    if "chunked" in response.headers.get("Transfer-Encoding", "").lower():
        return None
    length = response.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdecimal()):
        raise FileError(f"The server of {_shown(url)} does not say how long the file is.", "corrupt")
    return int(length)


def _as_meant(location: str) -> str:
    """Return the value of a Location header; letters beyond ASCII in it are UTF-8 if they can be."""
    try:
        return location.encode("latin-1").decode()  # http.client reads all headers as Latin-1
    except UnicodeError:
        return location


def _shown(url: Url) -> str:
    """Return an address without what may be secret in it: the user, and the query with its signature."""
    return url._replace(auth=None, query=None, fragment=None).url
