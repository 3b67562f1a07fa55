"""Which addresses of the network an address that somebody else has chosen may lead to: global ones, and no others.

The networks are those of IANA's registries of special-purpose addresses (RFC 6890) that are not for everybody, and
those whose addresses hold another one: NAT64, 6to4, Teredo, IPv4-mapped. They are listed here because Python's own
`is_global` has answered differently from version to version.
"""

import socket
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from processors.errors import FileError, TransientError

Resolve = Callable[[str, int], list[str]]
"""Returns the addresses of a host, for a port; raises `socket.gaierror` where it has none."""

GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All of IPv6 that is given out to anybody; all else is local, mapped, multicast or reserved (RFC 4291)."""

REFUSED: tuple[IPv4Network | IPv6Network, ...] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, where clouds keep their machines' credentials
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "2001::/23",  # protocol assignments, with Teredo
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
        ),
    )
)


def system_resolver(host: str, port: int) -> list[str]:
    """Ask the system for a host's addresses, the most likely to be reached first (RFC 6724)."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a host, by its address or its name."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_global(address: str) -> bool:
    """Tell whether an IP address is one that anybody on the internet may have."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed not in GLOBAL_UNICAST:
        return False
    return not any(parsed in network for network in REFUSED)


def checked_addresses(host: str, port: int, resolve: Resolve = system_resolver, *, loopback: bool = False) -> list[str]:
    """Return the addresses of a host, all of which are global; to be connected to as they are, without asking again.

    Args:
        host: its name, or an address.
        port: to be connected to.
        resolve: how addresses are found.
        loopback: whether this machine itself is allowed too, as tests need it.

    Raises:
        FileError: `not_found`, there is no such host; `network_forbidden`, one of its addresses is not global.
        TransientError: nobody can tell now.
    """
    try:
        addresses = resolve(host, port)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            raise FileError(f"There is no host {host}.", "not_found") from error
        raise TransientError(f"The addresses of {host} cannot be found now: {error.strerror}.") from error
    except UnicodeError as error:
        raise FileError(f"{host[:100]!r} cannot be the name of a host.", "not_found") from error
    if refused := [one for one in addresses if not (is_global(one) or (loopback and ip_address(one).is_loopback))]:
        raise FileError(
            f"{host} is at {refused[0]}, which is no global address: only the internet is asked.",
            "network_forbidden",
        )
    return addresses
