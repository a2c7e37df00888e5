"""Settings of the middlewares: what they keep of a request, and which proxies they believe."""

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field


class ClientAddress(StrEnum):
    """What the middlewares keep of a client's address."""

    FULL = "full"
    NETWORK = "network"  # enough for its region, too little for a person
    NONE = "none"


def parse_networks(value: object) -> object:
    """Returns the networks of a list such as "10.0.0.0/8, ::1"; other values as they are."""
    return [ip_network(item.strip()) for item in value.split(",") if item.strip()] if isinstance(value, str) else value


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(parse_networks)]


class RequestSettings(BaseModel, frozen=True, defer_build=True):
    """What the middlewares keep of a request, and which proxies they believe."""

    client_address: ClientAddress = Field(
        ClientAddress.FULL,
        description="What the middlewares keep of a client's address: `full`, `network` (IPv4 without its last byte, "
        "the first 48 bits of IPv6) or `none`.",
    )
    user_agent_length: int = Field(
        500, ge=0, le=500, description="Characters of `User-Agent` that the middlewares keep; with 0 they leave it out."
    )
    trusted_proxies: Networks = Field(
        (),
        description="Networks, separated by commas, of the proxies whose `X-Forwarded-For` the middlewares believe. "
        "Empty: none is believed.",
    )
