"""Where a request comes from: its address, and the site whose page sent it."""

from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from starlette.requests import Request

HOST_NETWORK_BITS = 64
"""Of an IPv6 address: what one host is given (RFC 4291 2.5.1)."""

LONGEST_NAME = 64
"""Of what is no address: a proxy may say anything."""


def netloc(origin: str) -> str | None:
    """Return the host and port in an Origin header, or None where it has none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def is_our_page(request: Request) -> bool:
    """Tell whether a form was sent by a page of this site, as the browser says (Sec-Fetch-Site, or else Origin)."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if origin is not None and netloc(origin) != request.headers.get("host"):
        return False
    return origin is not None if site is None else site == "same-origin"


def address_of(request: Request) -> str:
    """Return where a request comes from; of IPv6 the network, of which one host has all addresses."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host[:LONGEST_NAME]
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((address, HOST_NETWORK_BITS), strict=False))
    return host
