"""The kinds of destinations by the scheme of their URL, and the options of each: known without its packages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One scheme of URLs.

    :ivar name: of the module in ``destinations``, for all schemes of one kind.
    :ivar transport: what is left of the scheme: ``https``, ``tls`` …
    :ivar example: a complete URL, for messages and the documentation.
    :ivar texts, numbers, flags, secrets: names of the options, by what their values are.
    :ivar choices: options of which the value is one of several.
    """

    name: str
    transport: str
    example: str
    has_host: bool = True
    required: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def known(self) -> frozenset[str]:
        """The names of all options."""
        return frozenset((*self.texts, *self.numbers, *self.flags, *self.secrets, *self.choices))


def several(name: str, transports: Mapping[str, str], example: str, **options: object) -> dict[str, Kind]:
    """Returns a kind under each of its schemes; ``transports`` has the transport of each scheme."""
    return {scheme: Kind(name, transport, example, **options) for scheme, transport in transports.items()}  # type: ignore[arg-type]


KINDS: Final[Mapping[str, Kind]] = {
    "file": Kind(
        "file", "file", "file:/var/audit?rotate_bytes=100000000&gzip=true", has_host=False,
        numbers=("rotate_bytes",), flags=("gzip",),
    ),
}  # fmt: skip
