"""EMAIL_URL: the ways out for mail, alone or several at once."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

SCHEMES = ("outbox", "smtp", "smtps", "null")
SEVERAL = re.compile(r"(failover|roundrobin)\((.*)\)", re.DOTALL)
TLS = re.compile(r"tls=(required|opportunistic|none)")
FORMS = ", ".join(f"{scheme}://" for scheme in SCHEMES)


@dataclass(frozen=True, slots=True, repr=False)
class EmailWays:
    """One way out for mail, or several.

    Attributes:
        order: `failover` takes the first that can, `roundrobin` takes turns; `single` where there is one.
        urls: each way's URL.
    """

    order: Literal["single", "failover", "roundrobin"]
    urls: tuple[str, ...]

    @property
    def names(self) -> str:
        """What may be shown: no user, no password."""
        shown = " ".join(dict.fromkeys(urlsplit(url).scheme for url in self.urls))
        return shown if self.order == "single" else f"{self.order}({shown})"


def read_ways(text: str) -> EmailWays:
    """Read one URL, `failover(URL URL …)` or `roundrobin(URL URL …)`.

    Raises:
        ValueError: it is none of these, and why; never with what was given, which may hold a password.
    """
    several = SEVERAL.fullmatch(text.strip())
    if several is None:
        _check(text)
        return EmailWays("single", (text,))
    urls = tuple(several[2].split())
    if not urls:
        raise ValueError(f"must name at least one URL in {several[1]}(…), with blanks between them")
    for url in urls:
        _check(url)
    return EmailWays("failover" if several[1] == "failover" else "roundrobin", urls)


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or "://" not in url:
        raise ValueError(f"must begin with one of {FORMS}, or be failover(…) or roundrobin(…) of such")
    if parts.scheme in {"outbox", "null"}:
        if parts.netloc or parts.path.strip("/") or parts.query:
            raise ValueError(f"must be {parts.scheme}:// and no more; the outbox is a folder below DATA_DIR")
        return
    if not parts.hostname or ";" in url or "(" in url or "," in url:
        raise ValueError("must name a host such as smtp://mail.example.com:587")
    _check_port(url)
    if parts.query and not TLS.fullmatch(parts.query):
        raise ValueError("must end, after a ?, with tls=required, tls=opportunistic or tls=none")


def _check_port(url: str) -> None:
    try:
        port = urlsplit(url).port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("must have a port from 1 to 65535 after the host, or none")
