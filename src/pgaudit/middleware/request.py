"""What a request's headers and its peer say, and how much of it is believed."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final
from uuid import uuid4

from pgaudit.settings import ClientAddress, Settings

REQUEST_ID: Final = "X-Request-ID"
# The headers that are looked at, as the middlewares name them.
HEADERS: Final = ("x-request-id", "traceparent", "x-forwarded-for", "user-agent")

MAX_REQUEST_ID: Final = 200
# What is left of an address that is shortened: an IPv6 customer has the 80 bits that are cut, or fewer.
NETWORK_BITS: Final = {4: 24, 6: 48}
TRACEPARENT: Final = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-[0-9a-f]{2}"
    r"(?P<later>-.*)?"  # what versions after 00 may add
)

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]


def context_of(peer: str | None, headers: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Returns what to bind for a request: the fields of an AuditContext that are known. ``request_id`` always is.

    :param peer: the address at the other end of the connection.
    :param headers: by their names in lower case; those that occur twice joined by a comma.
    :param settings: say which proxies to trust, and how much of a client's data to keep.
    """
    address = client_address(peer, headers.get("x-forwarded-for", ""), settings.trusted_proxies)
    known = {
        "request_id": request_id(headers.get("x-request-id", "")),
        **trace_of(headers.get("traceparent", "")),
        "ip": address and kept(address, settings.client_address),
        "user_agent": printable(headers.get("user-agent", ""))[: settings.user_agent_length],
    }
    return {name: value for name, value in known.items() if value}


def request_id(given: str) -> str:
    """Returns the id that the client or a proxy gave the request, if it is fit for logs and headers; else a new one."""
    given = given.strip(" \t")
    fit = 0 < len(given) <= MAX_REQUEST_ID and given.isascii() and given.isprintable()
    return given if fit else str(uuid4())


def trace_of(traceparent: str) -> dict[str, str]:
    """Returns the trace and the caller's span; nothing when the header is not valid by W3C Trace Context."""
    match = TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if match is None or (match["version"] == "00" and match["later"]):
        return {}
    return {"trace_id": match["trace"], "span_id": match["span"]}


def client_address(peer: str | None, forwarded: str, trusted: Networks) -> str | None:
    """Returns the nearest address that is not a trusted proxy's: the peer's, unless the peer is one.

    A proxy appends whom it heard the request from, so the way back is from the right. It ends at what is no
    address: what stands before that may be anybody's invention.
    """
    address = parsed(peer or "")
    for hop in reversed(forwarded.split(",")):
        if address is None or not any(address in network for network in trusted):
            break
        heard_from = parsed(hop)
        if heard_from is None:
            break
        address = heard_from
    return None if address is None else str(address)


def kept(address: str, how: ClientAddress) -> str | None:
    """Returns as much of an address as events may have."""
    if how is ClientAddress.NETWORK:
        bits = NETWORK_BITS[ip_address(address).version]
        return str(ip_network(f"{address}/{bits}", strict=False).network_address)
    return address if how is ClientAddress.FULL else None


def parsed(text: str) -> Address | None:
    """Returns an address as proxies and servers write it: with or without port, brackets and zone."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket that serves both versions shows IPv4 clients as ::ffff:192.0.2.1.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def printable(text: str) -> str:
    """Returns the text without control characters, NUL and lone surrogates."""
    return text if text.isprintable() else "".join(filter(str.isprintable, text))


def headers_of(environ: Mapping[str, Any]) -> dict[str, str]:
    """Returns the headers that are used, from a WSGI environ or Django's META."""
    names = {name: f"HTTP_{name.upper().replace('-', '_')}" for name in HEADERS}
    return {name: environ[variable] for name, variable in names.items() if variable in environ}
