"""The kinds of destinations by the scheme of their URL, and the options of each: known without its packages."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

# The facilities of syslog, by their numbers (RFC 5424).
FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
# How connections without and with encryption are called, among those that leave the machine.
OPEN: Final = frozenset({"http", "plain", "udp", "tcp", "nats", "kafka"})
ENCRYPTED: Final = frozenset({"https", "starttls", "tls"})
ADDRESS: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?"


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the value of an option has to match, and what that is called."""

    pattern: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One scheme of URLs.

    :ivar name: of the module in ``destinations``, for all schemes of one kind.
    :ivar transport: what is left of the scheme: ``https``, ``tls`` …
    :ivar example: a complete URL, for messages and the documentation.
    :ivar native_only: whether it has events in the form ``native`` alone: an archive, which can be verified.
    :ivar needs_path: whether the URL has to have a path: the name of a topic.
    :ivar carrier: of a report: the name of the kind that it is sent by; empty for others.
    :ivar whole_log: whether it takes nothing less than the log from its beginning.
    :ivar texts, numbers, flags, secrets, zones: names of the options, by what their values are.
    :ivar choices: options of which the value is one of several.
    :ivar patterns, bounds: what texts have to match; the least and the greatest of numbers.
    """

    name: str
    transport: str
    example: str
    has_host: bool = True
    native_only: bool = False
    whole_log: bool = False
    needs_path: bool = False
    carrier: str = ""
    required: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    patterns: Mapping[str, Pattern] = field(default_factory=dict[str, Pattern])
    bounds: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    @property
    def known(self) -> frozenset[str]:
        """The names of all options."""
        return frozenset((*self.texts, *self.numbers, *self.flags, *self.secrets, *self.zones, *self.choices))


WEBHOOK: Final = Kind(
    "webhook", "https", "https://HOST/PATH?secret=env:VARIABLE",
    required=("secret",), texts=("ca", "link"), flags=("thin",), secrets=("secret", "previous"),
)  # fmt: skip
SPLUNK: Final = Kind(
    "splunk", "https", "splunk+https://HOST:8088?token=env:VARIABLE", required=("token",),
    texts=("index", "source", "sourcetype", "host", "ca"), flags=("ack",), secrets=("token",),
)  # fmt: skip
DATADOG: Final = Kind(
    "datadog", "https", "datadog+https://http-intake.logs.datadoghq.com?api_key=env:VARIABLE", required=("api_key",),
    texts=("service", "source", "tags", "ca"), secrets=("api_key",),
)  # fmt: skip
OTLP: Final = Kind(
    "otlp", "https", "otlp+https://HOST:4318?token=env:VARIABLE",
    texts=("service", "header", "ca"), secrets=("token",),
    patterns={"header": Pattern("[A-Za-z0-9-]{1,64}", "the name of a header, such as x-api-key; token= has its value")},
)  # fmt: skip
SMTP: Final = Kind(
    "smtp", "starttls", "smtp+starttls://HOST:587?from=audit@example.com&to=soc@example.com&user=audit&password=env:VARIABLE",
    required=("from", "to"), texts=("from", "to", "user", "subject", "template", "link", "ca"), numbers=("linger",),
    secrets=("password",),
    patterns={
        "from": Pattern(ADDRESS, "an address such as audit@example.com"),
        "to": Pattern(rf"{ADDRESS}(,{ADDRESS}){{0,49}}", "at most 50 addresses such as a@example.com,b@example.com"),
        "template": Pattern(r"/.+\.jinja", "the path of a file whose name ends with .jinja"),
        "link": Pattern(r"https?://.+", "the URL of the dashboard"),
    },
    bounds={"linger": (1, 3_600)},
)  # fmt: skip
SYSLOG: Final = Kind(
    "syslog", "tls", "syslog+tls://HOST:6514?ca=/etc/ssl/siem.pem",
    texts=("app",), numbers=("max", "enterprise"), flags=("confirm",), choices={"facility": FACILITIES},
    patterns={"app": Pattern("[!-~]{1,48}", "1 to 48 printable characters of ASCII, without blanks")},
    bounds={"max": (1_024, 1_000_000), "enterprise": (1, 2**32 - 1)},
)  # fmt: skip
FILE: Final = Kind(
    "file", "file", "file:/var/audit?rotate_bytes=100000000&gzip=true", has_host=False,
    numbers=("rotate_bytes",), flags=("gzip",),
)  # fmt: skip
S3: Final = Kind(
    "s3", "s3", "s3://BUCKET/PREFIX?linger=60", native_only=True, texts=("endpoint", "region"),
    numbers=("linger", "retain", "segment"),
)  # fmt: skip
PARQUET: Final = Kind("parquet", "file", "parquet:/var/audit/parquet", has_host=False, native_only=True)
NATS: Final = Kind(
    "nats", "nats", "nats://HOST:4222?stream=AUDIT&creds=file:/run/secrets/nats.creds", whole_log=True,
    required=("stream",),
    texts=("stream", "prefix", "user", "ca"), numbers=("replicas",), secrets=("password", "token", "creds"),
)  # fmt: skip
KAFKA: Final = Kind(
    "kafka", "kafka", "kafka://HOST:9092/TOPIC", needs_path=True, texts=("user", "ca"), secrets=("password",),
    choices={"mechanism": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")},
)  # fmt: skip


def reported(kind: Kind, **changes: Any) -> Kind:
    """Returns the kind of the reports that are sent by another one: with its options, but those for single events."""
    return replace(
        kind,
        name="report",
        carrier=kind.name,
        example=f"report+{kind.example.partition('?')[0]}?at=06:00&zone=Europe/Berlin",
        native_only=True,
        texts=(*(text for text in kind.texts if text not in {"template", "link"}), "at"),
        numbers=("retain",) if kind is S3 else (),
        flags=(),
        zones=("zone",),
        patterns={**kind.patterns, "at": Pattern("([01][0-9]|2[0-3]):[0-5][0-9]", "a time of day such as 06:00")},
        **changes,
    )


KINDS: Final[Mapping[str, Kind]] = {
    "https": WEBHOOK,
    "http": replace(WEBHOOK, transport="http"),
    "splunk+https": SPLUNK,
    "splunk+http": replace(SPLUNK, transport="http"),
    "datadog+https": DATADOG,
    "datadog+http": replace(DATADOG, transport="http"),
    "otlp+https": OTLP,
    "otlp+http": replace(OTLP, transport="http"),
    "smtp": replace(SMTP, transport="plain"),
    "smtp+starttls": SMTP,
    "smtps": replace(SMTP, transport="tls"),
    "syslog+udp": replace(
        SYSLOG,
        transport="udp",
        flags=(),
        bounds={**SYSLOG.bounds, "max": (1_024, 65_507)},
        example="syslog+udp://HOST:514",
    ),
    "syslog+tcp": replace(SYSLOG, transport="tcp", example="syslog+tcp://HOST:601"),
    "syslog+tls": replace(SYSLOG, texts=(*SYSLOG.texts, "ca", "cert", "key")),
    "file": FILE,
    "s3": S3,
    "parquet": PARQUET,
    "nats": NATS,
    "nats+tls": replace(NATS, transport="tls"),
    "kafka": KAFKA,
    "kafka+tls": replace(KAFKA, transport="tls"),
    "report+https": reported(WEBHOOK),
    "report+http": reported(WEBHOOK, transport="http"),
    "report+smtp": reported(SMTP, transport="plain"),
    "report+smtp+starttls": reported(SMTP),
    "report+smtps": reported(SMTP, transport="tls"),
    "report+file": reported(FILE),
    "report+s3": reported(S3),
}


def encrypted(scheme: str) -> str:
    """Returns the schemes that encrypt what this one sends in the clear; empty for one that does so itself.

    >>> encrypted("report+smtp")
    'report+smtp+starttls or report+smtps'
    """
    kind = KINDS[scheme]
    if kind.transport not in OPEN:
        return ""
    others = ((name, other) for name, other in KINDS.items() if other.transport in ENCRYPTED)
    return " or ".join(name for name, other in others if (other.name, other.carrier) == (kind.name, kind.carrier))
