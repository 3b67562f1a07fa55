"""What Flower lacks: it refuses an unknown Host, and shows arguments masked."""

import ipaddress
from importlib import import_module
from typing import Any

from processors.redaction import redact

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def masked(task: Any) -> Any:
    """Return a task as Flower may show it."""
    task.args, task.kwargs, task.result = redact(task.args), redact(task.kwargs), redact(task.result)
    return task


def guard() -> None:
    """Let every page and call of this Flower process check the Host first (DNS rebinding)."""
    options: Any = import_module("flower.options").options  # only a Flower process has Flower loaded
    handler: Any = import_module("flower.views").BaseHandler
    prepare = handler.prepare

    def prepare_guarded(self: Any) -> Any:
        own = str(options.address).lower()
        if self.request.host_name.strip("[]").lower() not in LOCAL_NAMES | {own}:
            self.set_status(421)
            self.finish("This service has another name.")
            return None
        return prepare(self)

    handler.prepare = prepare_guarded
