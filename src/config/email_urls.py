"""EMAIL_URL: the ways out for mail, alone or several at once."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Literal
from urllib.parse import SplitResult, urlsplit

SCHEMES = ("outbox", "smtp", "smtps", "null")
SEVERAL = re.compile(r"(failover|roundrobin)\((.*)\)", re.DOTALL)
TLS = re.compile(r"tls=(required|opportunistic|none)")
PORTS = {"smtp": 587, "smtps": 465}
NOWHERE = {"outbox": "outbox: nothing leaves this machine", "null": "null: every mail is dropped"}
NAME = re.compile(r"\w[\w.-]*")
IP_V6 = re.compile(r"[0-9a-f:.]+")
HOSTS = "such as smtp://mail.example.com:587 or smtp://[2001:db8::1]:587"
ENCODED = (
    "in a user and a password, / ? # @ : ( ) , ; and blanks are written as %2F %3F %23 %40 %3A %28 %29 %2C %3B %20"
)
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

    @property
    def ends(self) -> str:
        """Where mail goes, for people: no user, no password."""
        shown = ", ".join(map(_end, self.urls))
        return shown if self.order == "single" else f"{self.order}({shown})"


def read_ways(text: str) -> EmailWays:
    """Read one URL, `failover(URL URL …)` or `roundrobin(URL URL …)`.

    Raises:
        ValueError: it is none of these, and why; never with what was given, which may hold a password.
    """
    text = text.strip()
    several = SEVERAL.fullmatch(text)
    if several is None:
        return EmailWays("single", (_checked(text),))
    urls = tuple(map(_checked, several[2].split()))
    if not urls:
        raise ValueError(f"must name at least one URL in {several[1]}(…), with blanks between them")
    return EmailWays("failover" if several[1] == "failover" else "roundrobin", urls)


def _end(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme in NOWHERE:
        return NOWHERE[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme} {host}:{parts.port or PORTS[parts.scheme]}"


def _checked(url: str) -> str:
    """Return a URL with its scheme in lower case (RFC 3986 3.1)."""
    scheme, mark, rest = url.partition("://")
    if scheme.lower() not in SCHEMES or not mark:
        raise ValueError(f"must begin with one of {FORMS}, or be failover(…) or roundrobin(…) of such")
    parts = _split(url)
    if parts.scheme in {"outbox", "null"}:
        if parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(f"must be {parts.scheme}:// and no more; the outbox is a folder below DATA_DIR")
        return f"{parts.scheme}://"
    if not _is_host(parts) or any(sign in url for sign in ";(),"):
        raise ValueError(f"must name a host {HOSTS}; {ENCODED}")
    if parts.password and not parts.username:
        raise ValueError("must name a user before the password, as user:password@host")
    _check_port(parts)
    if parts.path.strip("/") or "#" in url or "@" in parts.query:
        raise ValueError(f"must have nothing after host and port but ?tls=…; {ENCODED}")
    if parts.query and not TLS.fullmatch(parts.query):
        raise ValueError("must end, after a ?, with tls=required, tls=opportunistic or tls=none")
    if parts.scheme == "smtps" and parts.query not in {"", "tls=required"}:
        raise ValueError("must be smtps:// with no other tls than required, because that is TLS from the first byte")
    return f"{parts.scheme}://{rest}"


def _split(url: str) -> SplitResult:
    """Return the parts of a URL; no error of Python's goes on, which would repeat a password."""
    if any(sign.isspace() or not sign.isprintable() for sign in url):
        raise ValueError(f"must have no blanks and control characters; several URLs stand in failover(…); {ENCODED}")
    try:
        return urlsplit(url)
    except ValueError:
        raise ValueError(f"must name a host {HOSTS}; {ENCODED}") from None


def _is_host(parts: SplitResult) -> bool:
    """Tell whether a host is named that a server can have: a name, or an address of IPv4, or of IPv6 in brackets."""
    host = parts.hostname or ""
    try:
        if "[" in parts.netloc.rpartition("@")[2]:
            return IP_V6.fullmatch(host) is not None and bool(IPv6Address(host).packed)
        return NAME.fullmatch(host) is not None and bool(host.encode("idna"))
    except ValueError:
        return False


def _check_port(parts: SplitResult) -> None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("must have a port from 1 to 65535 after the host, or none")
