"""Notifications to chat services by Apprise, which knows how each of them wants to be asked.

Apprise tells yes or no, and its services do their own requests, to wherever a URL leads. So the `requests` of their
modules is a door to the guard (`adapters.requests_door`), and what the door saw tells what a no means.
"""

import json
import logging
import re
import time
from collections.abc import Collection, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

from apprise import Apprise, AppriseAsset
from apprise.plugins import url_to_dict  # pyright: ignore[reportUnknownVariableType] - half typed

from adapters.guarded_https import Answer, GuardedHttps
from adapters.own_thread import TookTooLong, in_own_thread
from adapters.requests_door import Call, Checked, put_door, under
from adapters.retry_after import retry_after
from config.chat_services import CHAT_SERVICES
from processors.carriers import AnswerLost, EndpointGone, Notice, Receipt
from processors.errors import ConfigurationError, PermanentError, TransientError

DEADLINE_SECONDS = 30.0
GRACE_SECONDS = 1.0
LONGEST_URL = 2_000
WEBHOOKS = frozenset({"slack", "discord", "workflows", "gchat"})
"""Of these a URL is one endpoint, and 404 or 410 says that somebody has removed it."""

GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
LOCAL_FILES = frozenset({"template", "attach"})
"""Parameters that make a service read a file of this machine, or fetch one."""

SECRET_PARTS = re.compile(r"[A-Za-z0-9_.~%-]{6,}")

_logger = logging.getLogger("apprise")
_logger.disabled = True  # it tells URLs with their tokens, and what is sent
_logger.propagate = False


class AppriseChats:
    """Fulfils `processors.carriers.Carrier` for `{"url": "slack://…"}`, with one target in each URL.

    Args:
        services: schemes of `config.chat_services`; no others are taken.
        https: what requests go through.
        deadline: seconds that one call may take in all.

    Raises:
        ConfigurationError: a scheme is none of them.
    """

    name = "chat"

    def __init__(
        self, services: Collection[str], *, https: GuardedHttps | None = None, deadline: float = DEADLINE_SECONDS
    ) -> None:
        if unknown := sorted(set(services) - set(CHAT_SERVICES)):
            raise ConfigurationError(
                f"NOTIFICATION_CHAT_SERVICES names {unknown[0]!r:.50}, which is none of {', '.join(CHAT_SERVICES)}."
            )
        self._services = frozenset(services)
        self._https = https or GuardedHttps()
        self.deadline = deadline

    def check(self, endpoint: Mapping[str, Any]) -> None:
        """Let a URL of an allowed service pass whose first request would go to an https:// address."""
        call = Call(self._https, time.monotonic() + self.deadline, asks=False)
        _told(self._service(endpoint), Notice("0", "check", "check", "check"), call)
        if isinstance(call.fault, Checked):
            return
        raise ValueError(str(call.fault or "the service takes no notification by this URL"))

    def send(self, notice: Notice, endpoint: Mapping[str, Any]) -> Receipt:
        """Send title and message as the service shows them; what is longer than it takes is cut by Apprise."""
        call = Call(self._https, time.monotonic() + self.deadline - GRACE_SECONDS)
        try:
            service = self._service(endpoint)
        except ValueError as error:
            raise PermanentError(f"Nothing was sent: {error}.") from None
        try:
            taken = in_own_thread(
                lambda: _told(service, notice, call), lambda: None, call.until + GRACE_SECONDS, "chat service"
            )
        except TookTooLong:
            call.shut = True
            taken = False
            call.fault = call.fault or (
                AnswerLost("The chat service's answers took too long.")
                if call.asked
                else TransientError("Nothing was sent: the chat service took too long.")
            )
        if taken and call.answers and call.fault is None:
            return Receipt(None, call.answers[-1][1].status)
        raise _failure(call, service, endpoint["url"])

    def _service(self, endpoint: Mapping[str, Any]) -> Any:
        """Return Apprise's service for a URL.

        Raises:
            ValueError: it is none that is allowed; nothing of it but its scheme is told.
        """
        url = endpoint.get("url")
        if not isinstance(url, str) or not 0 < len(url) <= LONGEST_URL or not url.isprintable():
            raise ValueError(f"url must be a text of at most {LONGEST_URL} characters, such as slack://…")
        parsed = cast("dict[str, Any] | None", url_to_dict(url))
        scheme = str((parsed or {}).get("schema") or url.partition(":")[0])
        if scheme not in self._services:
            raise ValueError(
                f"{scheme[:30]!r} is none of the allowed chat services ({', '.join(sorted(self._services))}): see "
                "NOTIFICATION_CHAT_SERVICES"
            )
        parameters = cast("Mapping[str, Any]", (parsed or {}).get("qsd") or {})
        if named := sorted(LOCAL_FILES & {str(key).lower() for key in (*parameters, *(parsed or {}))}):
            raise ValueError(f"the {scheme}:// URL must not have the parameter {named[0]}, which reads a file")
        service = cast("Any", Apprise).instantiate(parsed, asset=_asset()) if parsed else None
        if service is None:
            raise ValueError(f"the {scheme}:// URL is not complete: see Apprise's page on this service")
        if not service.verify_certificate:
            raise ValueError(f"the {scheme}:// URL must not switch off the check of certificates (verify=no)")
        if len(service) != 1:
            raise ValueError(f"the {scheme}:// URL must have one target, and has {len(service)}: give one URL for each")
        put_door(type(cast("object", service)))
        service.request_rate_per_sec = 0  # else it sleeps between its requests
        return service


def _told(service: Any, notice: Notice, call: Call) -> bool:
    """Let a service tell a notification; returns whether it says that it was taken."""
    title = notice.title.encode("utf-8", "replace").decode()
    body = notice.message.encode("utf-8", "replace").decode() or title

    def notify() -> bool:
        return bool(service.notify(body=body, title=title, body_format="text", overflow="truncate"))

    try:
        return under(call, notify)
    except Exception as error:  # noqa: BLE001 - what a service raises has been seen by the door, or came before it
        call.fault = call.fault or _unseen(call, error)
        return False


def _unseen(call: Call, error: Exception) -> Exception:
    kind = type(error).__name__
    if call.asked:
        return AnswerLost(f"The chat service's answer could not be read ({kind}).")
    return PermanentError(f"Nothing was sent: the chat service cannot tell this notification ({kind}).")


def _failure(call: Call, service: Any, url: str) -> Exception:
    """Return what it means that a service did not say yes."""
    place = f"The chat service {service.service_name}"
    if call.taken_before:
        return AnswerLost(f"{place} took a request before it failed: the notification may have been sent.")
    if call.fault is not None:
        return call.fault
    if not call.answers:
        return PermanentError(f"Nothing was sent: {place} takes no notification by this URL.")
    answer = call.answers[-1][1]
    said = f"{place} answers {answer.words(_secrets(url))}"
    if answer.status in GONE and service.schema in WEBHOOKS:
        return EndpointGone(f"{said}: there is no such webhook any more.")
    return _no(answer, said)


def _no(answer: Answer, said: str) -> Exception:
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return TransientError(f"{said}.", retry_after(answer.headers))
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return AnswerLost(f"{said}: it may have been sent.")
    if answer.status < HTTPStatus.MULTIPLE_CHOICES and not _is_json(answer.body):
        return AnswerLost(f"{said}: that is neither yes nor no.")
    return PermanentError(f"{said}.")


def _secrets(url: str) -> set[str]:
    """Return the parts of a URL that an answer might repeat, as they are and as they are meant."""
    rest = url.partition("://")[2]
    return {part for form in (rest, unquote(rest)) for part in SECRET_PARTS.findall(form)}


@lru_cache(maxsize=1)
def _asset() -> AppriseAsset:
    return AppriseAsset(app_id="csai", app_desc="csai", storage_mode="memory", allow_templates=False)


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True
