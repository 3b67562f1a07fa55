"""HTTPS connections to addresses that were checked before, with TLS for the host's name, and an end to the whole.

The name is never resolved again: an answer that changes between the check and the connection (DNS rebinding) leads
nowhere. Neither the environment's proxies nor its logins are used.
"""

import logging
import socket
import ssl
import time
from collections.abc import Sequence
from http.client import HTTPException

from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import Url

from adapters.deadline import ended_at

HTTPS_PORT = 443
CONNECT_SECONDS = 10.0
MOST_ADDRESSES = 4
FAULTS = (HTTPError, HTTPException, OSError)

logging.getLogger("urllib3.connection").setLevel(logging.ERROR)  # its warnings tell whole addresses, with signatures


class Untrusted(Exception):
    """The host's certificate is not trusted; the text says why."""


class Unreachable(Exception):
    """None of the host's addresses can be connected to; the text says why."""


class _Connection(HTTPSConnection):
    """One whose handshake has the time that connecting left; `ended_at` cannot cut it, as TLS takes the socket away."""

    until = 0.0

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        sock.settimeout(_left(self.until))
        return sock


def connected(
    name: str, port: int, addresses: Sequence[str], *, until: float, context: ssl.SSLContext
) -> HTTPSConnection:
    """Return a connection to the first of these addresses that can be reached.

    Args:
        name: the host's, which its certificate must have.
        port: of the host.
        addresses: checked ones.
        until: the monotonic second by which it must be there.
        context: the TLS context.

    Raises:
        Untrusted: whoever answers is not this host.
        Unreachable: nobody answers.
    """
    cause = "it has no address"
    for address in addresses[:MOST_ADDRESSES]:
        connection = _Connection(
            address,
            port,
            timeout=_left(until),
            server_hostname=name,
            ssl_context=context,
            cert_reqs="CERT_REQUIRED",
        )
        connection.until = until
        try:
            with ended_at(connection, until):
                connection.connect()
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise Untrusted(error.verify_message) from error
        except FAULTS as error:
            connection.close()
            cause = cause_of(error)
        else:
            return connection
    raise Unreachable(cause)


def name_of(url: Url) -> str:
    """Return a host as resolvers and certificates know it."""
    return (url.host or "").strip("[]").rstrip(".")


def cause_of(error: Exception) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _left(until: float) -> float:
    return max(0.001, min(CONNECT_SECONDS, until - time.monotonic()))
