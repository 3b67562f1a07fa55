"""Webhooks on their way out: one guarded HTTPS request, of which the status alone counts."""

import re
import time
from collections.abc import Mapping

from adapters.guarded_https import GuardedHttps
from adapters.retry_after import retry_after
from processors.webhooks import Answered

DEADLINE_SECONDS = 15.0
HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
"""Of other letters a name has been written in these by now (RFC 5891)."""


class WebhookSender:
    """Fulfils `processors.webhooks.WebhookDoor`.

    Args:
        https: what requests go through.
        deadline: seconds that one request may take in all.
    """

    def __init__(self, https: GuardedHttps | None = None, *, deadline: float = DEADLINE_SECONDS) -> None:
        self._https = https or GuardedHttps()
        self._deadline = deadline

    def check(self, url: str) -> None:
        """Let an https:// address pass that may be asked, as far as can be told without asking anybody."""
        host = self._https.checked(url).host or ""
        if not HOST.fullmatch(host):
            raise ValueError(f"{host:.100} cannot be the name of a host")

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answered:
        """Send once."""
        answer = self._https.ask("POST", url, headers=headers, body=body, until=time.monotonic() + self._deadline)
        return Answered(answer.status, retry_after(answer.headers))
