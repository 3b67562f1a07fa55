"""Notifications to browsers by their push services (RFC 8030), encrypted (RFC 8291) and signed (RFC 8292).

pywebpush encrypts and py-vapid signs; the request goes out through the guard, because an endpoint is an address that a
browser, or who claims to be one, has named.
"""

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric import ec
from py_vapid import Vapid02  # pyright: ignore[reportMissingTypeStubs] - it has none
from pywebpush import WebPusher  # pyright: ignore[reportMissingTypeStubs] - it has none
from urllib3.util import Url

from adapters.guarded_https import Answer, GuardedHttps
from adapters.retry_after import retry_after
from adapters.vapid_keys import loaded_key
from processors.carriers import AnswerLost, EndpointGone, Notice, Receipt
from processors.errors import PermanentError, TransientError, TransportFault
from processors.shortening import shortened

DEADLINE_SECONDS = 30.0
LONGEST_TTL_SECONDS = 4 * 7 * 24 * 3600
"""Beyond four weeks push services keep nothing."""

TOKEN_SECONDS = 6 * 3600
"""RFC 8292 allows 24 hours; some push services refuse what is too near to that by a clock that differs from ours."""

PAYLOAD_BYTES = 4096 - 86 - 1 - 16
"""What 4096 encrypted bytes hold (RFC 8291, 4): without the header with salt and key, the delimiter and the tag."""

TOPIC_CHARACTERS = 32
POINT_BYTES, AUTH_BYTES = 65, 16
LONGEST_ENDPOINT = 2_000
TAKEN = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED})
GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
OUR_KEY = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
FOR_NOW = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class WebPush:
    """Fulfils `processors.carriers.Carrier` for `{"endpoint": "https://…", "keys": {"p256dh": …, "auth": …}}`.

    A lost answer is a `TransientError`: the same notification has the same Topic, so that a push service replaces the
    former one where it still keeps it (RFC 8030, 5.4), and the same `id` in its payload, by which a page replaces what
    it already shows.

    Args:
        private_key_file: the VAPID key of this service, a PEM file that only its owner and group can read.
        subject: `mailto:…` or `https://…`, by which a push service reaches who runs this one.
        https: what requests go through.
        deadline: seconds that one call may take in all.

    Raises:
        ConfigurationError: the key cannot be used.
    """

    name = "web_push"

    def __init__(
        self,
        private_key_file: Path,
        subject: str,
        *,
        https: GuardedHttps | None = None,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self._vapid = Vapid02(loaded_key(private_key_file))
        self._subject = subject
        self._https = https or GuardedHttps()
        self.deadline = deadline

    def check(self, endpoint: Mapping[str, Any]) -> None:
        """Let a subscription pass as the browser's `PushSubscription.toJSON()` gives it."""
        self._checked(endpoint)

    def send(self, notice: Notice, endpoint: Mapping[str, Any]) -> Receipt:
        """Send, shortened once more where the push service takes less than RFC 8291 asks it to."""
        until = time.monotonic() + self.deadline
        try:
            url = self._checked(endpoint)
        except ValueError as error:
            raise PermanentError(f"Nothing was sent: {error}.") from None
        try:
            answer = self._ask(notice, endpoint, url, PAYLOAD_BYTES, until)
            if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                answer = self._ask(notice, endpoint, url, PAYLOAD_BYTES // 2, until)
        except AnswerLost as error:
            raise TransientError(f"It may have been sent, and is replaced when it is sent again: {error}") from error
        return self._receipt(answer, url)

    def _checked(self, endpoint: Mapping[str, Any]) -> Url:
        """Return a subscription's address, taken apart.

        Raises:
            ValueError: it is no subscription that could be sent to.
        """
        address, keys = endpoint.get("endpoint"), endpoint.get("keys")
        if not isinstance(address, str) or len(address) > LONGEST_ENDPOINT:
            raise ValueError(f"endpoint must be a text of at most {LONGEST_ENDPOINT} characters")
        url = self._https.checked(address)
        if ":" in (url.host or ""):
            raise ValueError("endpoint must name a host, not an IPv6 address")
        if not isinstance(keys, Mapping):
            raise ValueError("keys must hold p256dh and auth, as the browser gives them")  # noqa: TRY004 - the protocol's
        given = cast("Mapping[str, Any]", keys)
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _decoded("p256dh", given, POINT_BYTES))
        except ValueError as error:
            raise ValueError(f"keys: p256dh must be a point of P-256: {error}") from None
        _decoded("auth", given, AUTH_BYTES)
        return url

    def _ask(self, notice: Notice, endpoint: Mapping[str, Any], url: Url, size: int, until: float) -> Answer:
        keys = endpoint["keys"]
        subscription = {"endpoint": url.url, "keys": {"p256dh": keys["p256dh"], "auth": keys["auth"]}}
        encrypted = cast("Mapping[str, bytes]", WebPusher(subscription).encode(_payload(notice, size)))
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "TTL": str(_seconds_left(notice)),
            "Topic": _topic(notice),
            "Urgency": "normal",
            **self._identity(url),
        }
        return self._https.ask("POST", url.url, headers=headers, body=encrypted["body"], until=until)

    def _identity(self, url: Url) -> dict[str, str]:
        """Return the header that names this service to one push service, for a while."""
        origin = f"https://{url.host}" + (f":{url.port}" if url.port not in {None, 443} else "")
        claims = {"aud": origin, "sub": self._subject, "exp": int(time.time()) + TOKEN_SECONDS}
        return dict(cast("Any", self._vapid).sign(claims))

    def _receipt(self, answer: Answer, url: Url) -> Receipt:
        """Read an answer.

        Raises:
            EndpointGone: the subscription has ended.
            TransportFault: this service's key is not taken.
            TransientError: later.
            PermanentError: never.
        """
        if answer.status in TAKEN:
            return Receipt(answer.headers.get("Location"), answer.status)
        words = answer.words([url.url, url.path or "", (url.path or "").rpartition("/")[2]])
        said = f"The push service {url.host} answers {words}"
        if answer.status in GONE:
            raise EndpointGone(f"{said}: the subscription has ended.")
        if answer.status in OUR_KEY:
            raise TransportFault(
                f"{said}: check VAPID_SUBJECT, and that browsers subscribed with the key in VAPID_PRIVATE_KEY_FILE."
            )
        if answer.status in FOR_NOW or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise TransientError(f"{said}.", retry_after(answer.headers))
        raise PermanentError(f"{said}.")


def _decoded(name: str, keys: Mapping[str, Any], size: int) -> bytes:
    """Return a key of base64url letters, with or without padding."""
    value = keys.get(name)
    try:
        text = value.rstrip("=") if isinstance(value, str) else ""
        key = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != size:
        raise ValueError(f"keys: {name} must be {size} bytes as base64url")
    return key


def _payload(notice: Notice, size: int) -> bytes:
    """Return what the page's service worker gets: the message shortened, and then the title, to so many bytes."""

    def written(title: str, message: str) -> bytes:
        fields = {"id": notice.id, "type": notice.type, "title": title, "message": message}
        if notice.language is not None:
            fields["lang"] = notice.language
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

    message = shortened(notice.message, lambda text: len(written(notice.title, text)) <= size)
    if message is not None:
        return written(notice.title, message)
    title = shortened(notice.title, lambda text: len(written(text, "")) <= size)
    if title is None:
        raise PermanentError(f"Nothing was sent: the notification's id and type alone are more than {size} bytes.")
    return written(title, "")


def _seconds_left(notice: Notice) -> int:
    if notice.expires_at is None:
        return LONGEST_TTL_SECONDS
    left = (notice.expires_at - datetime.now(UTC)).total_seconds()
    return max(0, min(LONGEST_TTL_SECONDS, int(left)))


def _topic(notice: Notice) -> str:
    """Return a name for this notification alone, of the letters and the length that RFC 8030 (5.4) allows."""
    return base64.urlsafe_b64encode(hashlib.sha256(notice.id.encode("utf-8", "replace")).digest())[
        :TOPIC_CHARACTERS
    ].decode()
