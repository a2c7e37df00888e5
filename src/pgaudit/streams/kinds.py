"""The kinds of destinations by the scheme of their URL, and the options of each: known without its packages."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One scheme of URLs.

    :ivar name: of the module in ``destinations``, for all schemes of one kind.
    :ivar transport: what is left of the scheme: ``https``, ``tls`` …
    :ivar example: a complete URL, for messages and the documentation.
    :ivar whole_log: whether it takes nothing less than the log from its beginning.
    :ivar texts, numbers, flags, secrets: names of the options, by what their values are.
    :ivar choices: options of which the value is one of several.
    """

    name: str
    transport: str
    example: str
    has_host: bool = True
    whole_log: bool = False
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
)  # fmt: skip
SMTP: Final = Kind(
    "smtp", "starttls", "smtp+starttls://HOST:587?from=audit@example.com&to=soc@example.com&user=audit&password=env:VARIABLE",
    required=("from", "to"), texts=("from", "to", "user", "subject", "template", "ca"), secrets=("password",),
)  # fmt: skip
SYSLOG: Final = Kind(
    "syslog", "tls", "syslog+tls://HOST:6514?ca=/etc/ssl/siem.pem", texts=("facility", "app", "ca", "cert", "key"),
)  # fmt: skip
FILE: Final = Kind(
    "file", "file", "file:/var/audit?rotate_bytes=100000000&gzip=true", has_host=False,
    numbers=("rotate_bytes",), flags=("gzip",),
)  # fmt: skip
S3: Final = Kind(
    "s3", "s3", "s3://BUCKET/PREFIX?linger=60", texts=("endpoint", "region"), numbers=("linger", "retain", "segment"),
)  # fmt: skip
PARQUET: Final = Kind("parquet", "file", "parquet:/var/audit/parquet", has_host=False)
NATS: Final = Kind(
    "nats", "nats", "nats://HOST:4222?stream=AUDIT&creds=file:/run/secrets/nats.creds", whole_log=True,
    required=("stream",),
    texts=("stream", "prefix", "user", "ca"), numbers=("replicas",), secrets=("password", "token", "creds"),
)  # fmt: skip
KAFKA: Final = Kind(
    "kafka", "kafka", "kafka://HOST:9092/TOPIC", texts=("user", "mechanism", "ca"), secrets=("password",),
)  # fmt: skip

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
    "syslog+udp": replace(SYSLOG, transport="udp"),
    "syslog+tcp": replace(SYSLOG, transport="tcp"),
    "syslog+tls": SYSLOG,
    "file": FILE,
    "s3": S3,
    "parquet": PARQUET,
    "nats": NATS,
    "nats+tls": replace(NATS, transport="tls"),
    "kafka": KAFKA,
    "kafka+tls": replace(KAFKA, transport="tls"),
}
