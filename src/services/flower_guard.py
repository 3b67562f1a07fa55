"""What Flower lacks: it refuses an unknown Host and other sites, wants the login everywhere, and masks secrets."""

from collections.abc import Callable
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from kombu import Connection

from adapters.network_guard import is_loopback
from broker.claim_channel import SAYS_NOTHING_OF_CERTIFICATES
from processors.redaction import redact_shown, without_numbers

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SHOWN_TEXTS = ("args", "kwargs", "result", "exception", "traceback")


def masked(task: Any) -> Any:
    """Return a task as Flower may show it."""
    for name in SHOWN_TEXTS:
        setattr(task, name, _shown(getattr(task, name, None)))
    return task


def _shown(value: Any) -> Any:
    """Return a value as it may be shown: without secrets and whole phone numbers."""
    shown = redact_shown(value)
    return without_numbers(shown) if isinstance(shown, str) else shown


def guard() -> None:
    """Let every page and call of this Flower process be checked first, and mask what its API tells of a task.

    Loads Flower, so only a Flower process calls it.
    """
    views, api = import_module("flower.views"), import_module("flower.api")
    for handler in (views.BaseHandler, api.BaseApiHandler):
        handler.prepare = _guarded(handler.prepare, import_module("flower.views.monitor").Healthcheck)
    tasks, seen = import_module("flower.api.tasks").BaseTaskHandler, import_module("celery.events.state").Task
    safe_result, as_dict = tasks.safe_result, seen.as_dict

    def masked_result(self: Any, result: Any) -> Any:
        return _shown(safe_result(self, result))

    def masked_dict(self: Any) -> dict[str, Any]:
        return {name: _shown(value) if name in SHOWN_TEXTS else value for name, value in as_dict(self).items()}

    tasks.safe_result, seen.as_dict = masked_result, masked_dict


def tls_of(url: str) -> dict[str, Any] | None:
    """Return what a `rediss://` URL says of TLS: Flower's broker page reads it from the setting `broker_use_ssl` alone.

    None where it says nothing: then the page verifies what it connects to, as all else here does.
    """
    said: Any = Connection(url).ssl if url.startswith("rediss://") else None
    return None if said == SAYS_NOTHING_OF_CERTIFICATES else said


def _guarded(prepare: Callable[[Any], Any], open_page: type) -> Callable[[Any], Any]:
    def prepare_guarded(self: Any) -> Any:
        options, request = self.application.options, self.request
        if not is_loopback(options.address):
            options.read_only = True  # wherever the address came from: setting or command line
        if request.host_name.strip("[]").lower() not in LOCAL_NAMES | {options.address.lower()}:
            return _refuse(self, 421, "This service has another name.")  # DNS rebinding
        if _netloc(request.headers.get("Origin", f"//{request.host}")) != request.host:
            return _refuse(self, 403, "Requests of other sites are refused.")
        if not isinstance(self, open_page):
            _ = self.current_user  # raises 401 without the login
        return prepare(self)

    return prepare_guarded


def _refuse(handler: Any, status: int, why: str) -> None:
    handler.set_status(status)
    handler.finish(why)


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
