"""Which addresses a stream may connect to: those of the public internet, unless it was added with ``--allow-private``.

A name is looked up once for each connection, all of its addresses are checked, and the connection goes to one of them:
a second look-up, which might say something else, never happens.
"""

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused

Address = IPv4Address | IPv6Address

NAT64: Final = ip_network("64:ff9b::/96")
# Public by their number, and yet not the internet: tunnels into IPv4, its old relay, and Azure's service of the host.
REFUSED: Final = tuple(
    ip_network(text)
    for text in ("::/96", "2001::/32", "2002::/16", "fec0::/10", "192.88.99.0/24", "100.64.0.0/10", "168.63.129.16/32")
)


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Returns the addresses of a host, in the order in which to try them.

    :raises DeliveryFailed: it has none now.
    :raises DestinationRefused: one of them is not public, and the stream allows only those.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise DeliveryFailed(f"the name {host} cannot be looked up: {reason or type(error).__name__}") from None
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    for address in addresses:
        if not (allow_private or is_public(address)):
            raise DestinationRefused(
                f"{host} is {'' if host == address else f'{address}, '}an address that is not public: if that is "
                "meant, add the stream with --allow-private"
            )
    return addresses


def check_hosts(places: str, port: int, *, allow_private: bool) -> None:
    """Checks the addresses of hosts to which a library connects by itself, before it does.

    It looks the names up once more, and may be told of other hosts: what those have is not checked. If all addresses
    are allowed, nothing is looked up here.

    :param places: such as ``k1.example.com:9093,k2.example.com:9093``.
    :param port: of those that name none.
    :raises DeliveryFailed: one of them has no address now.
    :raises DestinationRefused: one of them has an address that is not public, and the stream allows only those.
    """
    if allow_private:
        return
    for place in places.split(","):
        host, own = host_of(place)
        resolve(host, own or port, allow_private=False)


def host_of(place: str) -> tuple[str, int | None]:
    """Returns host and port.

    :raises DestinationRefused: there is not exactly one.
    """
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or "," in place or port == 0:
        raise DestinationRefused(f"{place} is not HOST or HOST:PORT")
    return host, port


def is_public(text: str) -> bool:
    """Returns whether an address is one of the public internet, and so is each one that is written inside of it."""
    return all(is_global(address) for address in unwrapped(ip_address(text)))


def unwrapped(address: Address) -> Iterator[Address]:
    """Yields the address that is reached: that of IPv4, if it is written as one of IPv6."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if mapped is not None:
        yield mapped
    elif address in NAT64:
        yield IPv4Address(address.packed[-4:])
    else:
        yield address


def is_global(address: Address) -> bool:
    """Returns whether the address is public: not private, local, shared, reserved, nor of a group."""
    special = address.is_multicast or address.is_reserved or not address.is_global
    return not special and not any(address in network for network in REFUSED)
