"""The URLs of destinations: their kinds, the options of each kind, and references to secrets.

A URL never has a secret itself: ``token=env:SPLUNK_TOKEN`` names a variable of the worker, ``token=file:/run/token`` a
file. So it can be stored and shown.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pgaudit.errors import InvalidStream
from pgaudit.streams.kinds import KINDS, Kind, encrypted
from pgaudit.streams.outcomes import DeliveryFailed

REFERENCE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)|file:(/.+)")
HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?(,[A-Za-z0-9_.-]+(:[0-9]{1,5})?)*")
WITH_USER: Final = re.compile("[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@")
LONGEST_SECRET: Final = 65_536  # bytes


@dataclass(frozen=True, slots=True)
class StreamURL:
    """Where a stream is sent.

    :ivar text: the URL, as it was given.
    :ivar kind: the name of its kind, such as ``webhook``.
    :ivar scheme: the part of the scheme that says how to connect, such as ``https`` or ``tls``.
    :ivar netloc: host and port; empty for a directory.
    :ivar whole_log: whether nothing less than the log from its beginning can be sent there.
    :ivar path: the path: of the URL, or of a directory; the prefix in a bucket.
    """

    text: str
    kind: str
    scheme: str
    netloc: str
    path: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    whole_log: bool = False

    @classmethod
    def parse(cls, text: str) -> "StreamURL":
        """Returns the parts of a URL.

        :raises InvalidStream: it is none, or it holds a secret. The message does not quote what may be secret.
        """
        scheme = text.partition(":")[0].lower()
        kind = KINDS.get(scheme)
        if kind is None or any(not character.isprintable() for character in text):
            raise InvalidStream(f"{scheme!r} is no kind of destination: write one of {', '.join(sorted(KINDS))}")
        parts = urlsplit(text)
        if "@" in parts.netloc:
            raise InvalidStream(
                "a URL with a user or password would store a secret in the database: write "
                f"{next(iter(kind.secrets), 'token')}=env:VARIABLE or =file:/PATH in the query of the URL"
            )
        require("#" not in text, "the URL of a stream cannot have the sign #, or a part behind it")
        options = options_of(parts.query, kind, scheme)
        if kind.has_host:
            is_whole = parts.path.strip("/") or not kind.needs_path
            require(is_whole and HOST.fullmatch(parts.netloc), f"write {kind.example}")
            return cls(text, kind.name, kind.transport, parts.netloc, parts.path, options, kind.whole_log)
        is_path = PurePosixPath(parts.path).is_absolute() and not parts.netloc
        require(is_path, f"a directory is an absolute path: write {kind.example}")
        return cls(text, kind.name, kind.transport, "", parts.path, options)

    @property
    def carrier(self) -> str:
        """What a report is sent by, such as ``smtp``; empty for other kinds."""
        return KINDS[self.text.partition(":")[0].lower()].carrier

    def check_form(self, form: str) -> None:
        """Checks that the destination can have events in that form.

        :raises InvalidStream: it cannot.
        """
        kind = KINDS[self.text.partition(":")[0].lower()]
        require(form == "native" or not kind.native_only, f"{kind.name} has events in the form native alone")

    def check_private(self, *, allow_private: bool) -> None:
        """Checks that events and secrets are encrypted on their way, unless the network is one of our own.

        The addresses are checked when a worker connects: see ``destinations.addresses``.

        :raises InvalidStream: they are not.
        """
        scheme = self.text.partition(":")[0].lower()
        remedy = encrypted(scheme)
        if self.option("endpoint").lower().startswith("http:"):
            scheme, remedy = "the endpoint", "endpoint=https://…"
        require(
            allow_private or not remedy,
            f"{scheme} can be read and changed on its way, and so can a secret: use {remedy}, or, in a network of your "
            "own, --allow-private",
        )

    def option(self, name: str, default: str = "") -> str:
        """Returns an option, or the default."""
        return self.options.get(name, default)

    def number(self, name: str, default: int) -> int:
        """Returns an option that is a number, which parsing has checked, or the default."""
        return int(self.options.get(name, default))

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Returns an option that is ``true`` or ``false``, which parsing has checked, or the default."""
        return self.options.get(name, str(default).lower()) == "true"

    def secret(self, name: str) -> str | None:
        """Returns the secret that an option refers to; None without the option.

        :raises DeliveryFailed: the variable is not set, or the file cannot be read.
        """
        reference = self.options.get(name)
        return None if reference is None else read_secret(reference)


def read_secret(reference: str) -> str:
    """Returns what ``env:VARIABLE`` or ``file:/PATH`` holds, without blanks around it.

    Another worker may have it, or this one after a restart: the stream is not paused.

    :raises DeliveryFailed: there is nothing; the message has the reference alone.
    """
    found = REFERENCE.fullmatch(reference)
    if found is None:
        raise DeliveryFailed("a secret is given as env:VARIABLE or file:/PATH")
    variable, path = found.groups()
    try:
        text = os.environ.get(variable, "") if variable else Path(path).read_bytes()[:LONGEST_SECRET].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DeliveryFailed(f"the secret {reference} cannot be read: {type(error).__name__}") from None
    if not text.strip():
        raise DeliveryFailed(f"the secret {reference} is not set where the worker runs")
    return text.strip()


def options_of(query: str, kind: Kind, scheme: str) -> dict[str, str]:
    """Returns the options of a URL. A plus sign stays one.

    :raises InvalidStream: one is missing, unknown, malformed, given twice, or a secret by itself.
    """
    pairs = [part.partition("=") for part in query.split("&") if part]
    options = {unquote(name): unquote(value) for name, _, value in pairs}
    require(len(options) == len(pairs), "an option is given twice")  # the one that is not used may be a secret
    for name in kind.required:
        require(options.get(name), f"?{name}=… is missing: write {kind.example}")
    for name, value in options.items():
        check_option(name, value, kind, scheme)
    return options


def check_option(name: str, value: str, kind: Kind, scheme: str) -> None:
    """Checks one option.

    :raises InvalidStream: it is unknown, malformed, or a secret by itself.
    """
    require(name in kind.known, f"{scheme} has no option {name!r}: it has {', '.join(sorted(kind.known)) or 'none'}")
    require(value.isprintable(), f"{name} has a line break, or another character that cannot be printed")
    if name in kind.secrets:
        require(REFERENCE.fullmatch(value), f"{name} is a secret: write {name}=env:VARIABLE or {name}=file:/PATH")
    elif name in kind.numbers:
        require(re.fullmatch("[1-9][0-9]{0,11}", value), f"{name} is a whole number above 0")
        least, greatest = kind.bounds.get(name, (1, 10**12))
        require(least <= int(value) <= greatest, f"{name} is a number from {least} to {greatest}")
    elif name in kind.flags:
        require(value in {"true", "false"}, f"{name} is true or false")
    elif name in kind.choices:
        require(value in kind.choices[name], f"{name} is one of {', '.join(kind.choices[name])}")
    elif name in kind.zones:
        require(is_zone(value), f"{name} is a time zone such as Europe/Berlin")
    elif name in kind.patterns:
        pattern = kind.patterns[name]
        require(re.fullmatch(pattern.pattern, value), f"{name} is {pattern.meaning}")
    require(not WITH_USER.match(value), f"{name} has a user or password, which would be stored in the database")


def is_zone(name: str) -> bool:
    """Returns whether there is a time zone of that name."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return False
    return True


def require(condition: object, message: str) -> None:
    """Raises InvalidStream with the message unless the condition holds."""
    if not condition:
        raise InvalidStream(message)
