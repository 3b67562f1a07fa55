"""Addresses that a provider of calls is given: it asks there what is said, and tells there what happens."""

import re
from urllib.parse import urlsplit, urlunsplit

ATTEMPT_KEY = "attempt"
"""The one key that is added to them."""

LONGEST_ADDRESS = 2_000
HOST = re.compile(r"(?!-)[A-Za-z0-9.-]{1,253}(?<![-.])|\[[0-9A-Fa-f:.]+\]")
"""Twilio refuses names with an underscore, which those of containers often have."""


def checked_address(url: str) -> str:
    """Return an address that a provider takes.

    Raises:
        ValueError: it is none, and why.
    """
    if len(url) > LONGEST_ADDRESS or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"must be an address of at most {LONGEST_ADDRESS} printable ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"must be an http or https address: {error}") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("must be an http or https address with a host, like https://example.com/calls")
    if "#" in url:
        raise ValueError("must have no fragment (#…): its place is the provider's own settings")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must have no name and password in it: they would be kept and shown")
    if not HOST.fullmatch(f"[{host}]" if ":" in host else host):
        raise ValueError("must have a host of letters, digits, hyphens and dots; Twilio takes none with an underscore")
    return url


def with_attempt(url: str, attempt_id: str) -> str:
    """Return an address with the attempt's id in its query; what it has of one is kept as it is."""
    parts = urlsplit(url)
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}{ATTEMPT_KEY}={attempt_id}"))
