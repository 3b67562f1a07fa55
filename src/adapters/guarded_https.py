"""One HTTPS request to a host that somebody else may have named, and whether it went out where no answer comes.

Nothing behind the internet is asked, no redirect is followed, and the whole call ends by a given moment. What was not
sent is a `TransientError`; what went out and was not answered is `AnswerLost`.
"""

import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import responses

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from adapters.deadline import ended_at
from adapters.network_guard import Resolve, checked_addresses, is_global, system_resolver
from adapters.own_thread import TookTooLong, in_own_thread
from adapters.pinned_https import FAULTS, HTTPS_PORT, Unreachable, Untrusted, cause_of, connected, name_of
from processors.carriers import AnswerLost
from processors.envelopes import clean
from processors.errors import FileError, PermanentError, TransientError
from processors.redaction import MASK

ANSWER_BYTES = 64 * 1024
LONGEST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered.

    Attributes:
        status: of HTTP.
        headers: found whatever the case of their names.
        body: its first 64 KiB, as far as they came.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def words(self, secrets: Iterable[str] = ()) -> str:
        """Return status and body in one short line, without these secrets."""
        said = self.body.decode("utf-8", "replace")
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            said = said.replace(secret, MASK)  # before the cut, which might leave a part of one
        said = " ".join(str(clean(said)).split()) or responses.get(self.status, "")
        return f"{self.status} {said[:LONGEST_WORDS]}".rstrip(" .")


class GuardedHttps:
    """Asks hosts of the internet.

    Args:
        resolve: how a host's addresses are found.
        context: the TLS context; by default the system's certificate authorities.
        loopback: whether this machine itself may be asked, as tests need it.
    """

    def __init__(
        self, resolve: Resolve = system_resolver, context: ssl.SSLContext | None = None, *, loopback: bool = False
    ) -> None:
        self._resolve = resolve
        self._context = context or ssl.create_default_context()
        self._loopback = loopback

    def checked(self, address: str) -> Url:
        """Return an https:// address, taken apart, if it may be asked as far as can be told without asking anybody.

        Raises:
            ValueError: it may not; nothing but its host is told.
        """
        try:
            url = parse_url(address)
        except LocationParseError:
            raise ValueError("the address is damaged: it has no host, or a bad port") from None
        if url.scheme != "https" or not url.host:
            raise ValueError(f"only https:// addresses with a host are asked, and {url.host or 'this'} is none")
        if url.auth is not None:
            raise ValueError(f"the address at {url.host} has a user's name or password in it")
        if _is_address(name_of(url)):
            try:
                checked_addresses(name_of(url), HTTPS_PORT, lambda name, _port: [name], loopback=self._loopback)
            except FileError as error:
                raise ValueError(str(error).removesuffix(".")) from None
        return url

    def ask(self, method: str, address: str, *, headers: Mapping[str, str], body: bytes | None, until: float) -> Answer:
        """Send one request, and return its answer whatever its status.

        Args:
            method: of HTTP.
            address: an https:// URL.
            headers: all but `Host` and `Content-Length`.
            body: what is sent.
            until: the monotonic second by which it has ended.

        Raises:
            PermanentError: such an address is not asked.
            TransientError: nothing was sent.
            AnswerLost: it was sent, or a part of it, and the answer did not come.
        """
        try:
            url = self.checked(address)
        except ValueError as error:
            raise PermanentError(f"Nothing was sent: {error}.") from None
        name = name_of(url)
        if damaged := next((key for key, value in headers.items() if not f"{key}{value}".isprintable()), None):
            raise PermanentError(f"Nothing was sent: the header {damaged!r:.50} has a control character.")
        try:
            connection = connected(
                name, url.port or HTTPS_PORT, self._resolved(url, until), until=until, context=self._context
            )
        except Untrusted as error:
            raise TransientError(f"Nothing was sent: the certificate of {name} is not trusted: {error}.") from error
        except Unreachable as error:
            raise TransientError(f"Nothing was sent: {name} cannot be reached now: {error}.") from error
        with closing(connection):
            if time.monotonic() >= until:
                raise TransientError(f"Nothing was sent: connecting to {name} took too long.")
            connection.timeout = until - time.monotonic()
            asked = {"Host": url.netloc or "", "User-Agent": "csai", "Accept-Encoding": "identity", **headers}
            with ended_at(connection, until):
                try:
                    connection.request(
                        method, url.request_uri, body, asked, preload_content=False, decode_content=False
                    )
                    response = connection.getresponse()
                except FAULTS as error:
                    raise AnswerLost(f"{name} was asked, and its answer did not come: {cause_of(error)}.") from error
                with closing(response):
                    return Answer(response.status, response.headers, _beginning(response))

    def _resolved(self, url: Url, until: float) -> list[str]:
        """Return a host's checked addresses; the system's resolver has no time-out of its own."""
        name = name_of(url)
        try:
            return in_own_thread(lambda: self._addresses(url), lambda: None, until, "resolving")
        except TookTooLong:
            raise TransientError(f"Nothing was sent: looking for {name} took too long.") from None
        except FileError as error:
            if error.code == "network_forbidden":
                raise PermanentError(f"Nothing was sent: {error}") from error
            raise TransientError(f"Nothing was sent: {error}") from error

    def _addresses(self, url: Url) -> list[str]:
        return checked_addresses(name_of(url), url.port or HTTPS_PORT, self._resolve, loopback=self._loopback)


def _beginning(response: BaseHTTPResponse) -> bytes:
    """Return the first bytes of an answer's body; its status has said already what counts, so that a fault ends it."""
    body = b""
    try:
        while len(body) < ANSWER_BYTES and (chunk := response.read1(ANSWER_BYTES - len(body), decode_content=False)):
            body += chunk
    except FAULTS:
        return body
    return body


def _is_address(name: str) -> bool:
    try:
        is_global(name)
    except ValueError:
        return False
    return True
