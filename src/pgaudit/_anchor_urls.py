"""The URLs of anchors: their kinds, what each kind needs, and the part of a URL that may be shown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

KNOWN: Final = (
    "write file:/DIRECTORY, https://HOST/PATH, s3://BUCKET/PREFIX?retain=2557d, "
    "rfc3161+https://HOST/PATH?roots=FILE or witness+https://HOST/PATH?vkey=KEY"
)
WEB: Final = ("https", "http")
NETWORK: Final = tuple(kind + scheme for kind in ("", "rfc3161+", "witness+") for scheme in WEB)
# For each kind: the options that it needs, and those that it knows besides.
OPTIONS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "file": ((), ()),
    "s3": (("retain",), ("endpoint",)),
    "rfc3161": (("roots",), ()),
    "witness": (("vkey",), ()),
}
PLACE: Final = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
RETAIN: Final = re.compile(r"([1-9][0-9]{0,4})d")
ASCII: Final = re.compile(r"[!-~]*")


@dataclass(frozen=True, slots=True)
class AnchorURL:
    """One anchor of the setting.

    :ivar kind: ``file``, ``http``, ``s3``, ``rfc3161`` or ``witness``.
    :ivar name: the URL without token and query: what is shown and stored.
    :ivar location: where to send: a URL of HTTP without its token, the path of a directory, or bucket and prefix.
    """

    kind: str
    name: str
    location: str = field(repr=False)
    options: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    token: str = field(default="", repr=False)

    @property
    def retain_days(self) -> int:
        """How many days a bucket has to keep a checkpoint."""
        return int(self.options["retain"].removesuffix("d"))

    @classmethod
    def parse(cls, text: str) -> "AnchorURL":
        """Returns the anchor of a URL.

        :raises ValueError: it is no anchor; the message names it without what may be secret in it.
        """
        try:
            parsed = split(text)
        except ValueError as error:
            raise ValueError(f"{shown(text)!r} is not an anchor: {error}") from None
        return parsed


def split(text: str) -> AnchorURL:
    """Returns the anchor of a URL.

    :raises ValueError: it is no anchor. The message does not quote it.
    """
    scheme = text.partition(":")[0].lower()
    if scheme == "file":
        return AnchorURL("file", text, directory_of(text))
    if not ASCII.fullmatch(text):
        raise ValueError("write characters other than letters, digits and signs of ASCII as %XX")
    if scheme == "s3":
        return bucket_of(text)
    if scheme in NETWORK:
        return endpoint_of(text)
    raise ValueError(KNOWN)


def directory_of(text: str) -> str:
    """Returns the path of ``file:/PATH`` or ``file:///PATH``."""
    path = text[len("file:") :]
    path = path.removeprefix("//") if path.startswith("///") else path
    if not PurePosixPath(path).is_absolute() or path.startswith("//") or "?" in path:
        raise ValueError("write the absolute path of a directory, as in file:/var/anchors")
    return path


def bucket_of(text: str) -> AnchorURL:
    """Returns the anchor of ``s3://BUCKET/PREFIX?retain=DAYSd``."""
    parts = urlsplit(text)
    if not parts.netloc or "@" in parts.netloc:
        raise ValueError("write s3://BUCKET/PREFIX?retain=2557d; AWS's variables have the credentials")
    options = options_of("s3", parts.query)
    if not RETAIN.fullmatch(options["retain"]):
        raise ValueError("retain has the days for which the bucket locks a checkpoint, as in retain=2557d")
    endpoint = options.get("endpoint", "https:")
    if urlsplit(endpoint).scheme not in WEB or "@" in endpoint:
        raise ValueError("endpoint is a URL with https, without credentials")
    prefix = parts.path.strip("/")
    return AnchorURL("s3", f"s3://{parts.netloc}/{prefix}", f"{parts.netloc}/{prefix}", options)


def endpoint_of(text: str) -> AnchorURL:
    """Returns the anchor of a URL of HTTP, which may begin with ``rfc3161+`` or ``witness+``."""
    parts = urlsplit(text)
    kind, _, scheme = parts.scheme.rpartition("+")
    userinfo, _, host = parts.netloc.rpartition("@")
    token = unquote(userinfo)
    if not PLACE.fullmatch(host) or parts.fragment:
        raise ValueError("write HOST or HOST:PORT, and no #fragment")
    if not ASCII.fullmatch(token) or ":" in userinfo:
        raise ValueError("write a bearer token before the host, as in https://TOKEN@HOST/PATH, without a colon")
    options = options_of(kind, parts.query) if kind else {}
    if kind == "rfc3161" and not PurePosixPath(options["roots"]).is_absolute():
        raise ValueError("roots is the absolute path of a file with the certificates to trust, in PEM")
    query = "" if kind or not parts.query else f"?{parts.query}"
    base = f"{host}{parts.path}"
    return AnchorURL(kind or "http", f"{parts.scheme}://{base}", f"{scheme}://{base}{query}", options, token)


def options_of(kind: str, query: str) -> dict[str, str]:
    """Returns the options of a URL. A plus sign stays one: a public key has some.

    :raises ValueError: one is missing, unknown or empty.
    """
    pairs = [part.partition("=") for part in query.split("&") if part]
    options = {name: unquote(value) for name, _, value in pairs}
    needed, known = OPTIONS[kind]
    missing = [name for name in needed if not options.get(name)]
    unknown = sorted(options.keys() - {*needed, *known})
    if missing or unknown:
        wrong = f"?{missing[0]}=… is missing" if missing else f"the option {unknown[0]!r} is not known"
        raise ValueError(f"{wrong}; {KNOWN}")
    return options


def shown(text: str) -> str:
    """Returns a URL, which may be malformed, without what may be secret: what is before an ``@``, and the query.

    >>> shown("https//hunter2@anchors.example.com/claims?sig=secret")
    '***@anchors.example.com/claims'
    """
    head, found, tail = text.rpartition("@")
    scheme = head.partition("://")[0] + "://" if "://" in head else ""
    return (f"{scheme}***@{tail}" if found else text).partition("?")[0]


def parse_anchors(text: str) -> Sequence[AnchorURL]:
    """Returns the anchors of a list, separated by commas.

    :raises ValueError: one of them is no anchor, or two have the same name.
    """
    anchors = [AnchorURL.parse(entry.strip()) for entry in text.split(",") if entry.strip()]
    names = [anchor.name for anchor in anchors]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is named twice: anchors differ in more than their token and options")
    return anchors
