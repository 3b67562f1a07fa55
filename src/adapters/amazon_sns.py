"""Amazon's notification service: the certificates that it signs with, and the confirming of subscriptions."""

import ssl
from io import BytesIO
from urllib.parse import urlsplit

from adapters.network_guard import Resolve, system_resolver
from adapters.pouring import Bounds
from adapters.web_files import WebFiles
from processors.errors import FileError, NotAuthentic, ServiceUnavailable, TransientError

BOUNDS = Bounds(max_mb=1, seconds=15)
MOST_CERTIFICATES = 16
"""SNS changes its certificate about once a year, in each region."""


class AmazonSns:
    """Fulfils `processors.mail_events.interfaces.Sns`; who calls has checked that an address is of SNS.

    It is read from the internet alone, with verified TLS, and from no other host that it might redirect to.

    Args:
        resolve: how a host's addresses are found.
        context: the TLS context; by default the system's certificate authorities.
    """

    def __init__(self, resolve: Resolve = system_resolver, context: ssl.SSLContext | None = None) -> None:
        self._resolve = resolve
        self._context = context or ssl.create_default_context()
        self._certificates: dict[str, bytes] = {}

    def certificate(self, url: str) -> bytes:
        """Return the PEM certificate at an address of SNS; it is asked for once."""
        if url not in self._certificates:
            pem = self._fetched(url)
            if len(self._certificates) >= MOST_CERTIFICATES:
                self._certificates.clear()
            self._certificates[url] = pem
        return self._certificates[url]

    def confirm(self, url: str) -> None:
        """Confirm a subscription, by its SubscribeURL."""
        self._fetched(url)

    def _fetched(self, url: str) -> bytes:
        into, host = BytesIO(), urlsplit(url).hostname or ""
        try:
            WebFiles(BOUNDS, [host], self._resolve, self._context).fetch(url, into, _unheard)
        except FileError as error:
            raise NotAuthentic(f"SNS does not have what the message names: {error}") from error
        except TransientError as error:
            raise ServiceUnavailable(f"SNS cannot be asked now: {error}") from error
        return into.getvalue()


def _unheard(percent: float, text: str) -> None:
    """Report to nobody: it is over in seconds."""
