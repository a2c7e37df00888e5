"""Settings, from the environment or given in code."""

from collections.abc import Callable
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from pgaudit import _secrets, embedded
from pgaudit._environment import environment, unknown_variables, variable_of
from pgaudit._log import warn_once
from pgaudit._secrets import SECRET, TOKENS, without_secrets
from pgaudit.errors import InvalidSettings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MIN_TOKEN_LENGTH: Final = 16


class Mode(StrEnum):
    """What ``record`` does with an event."""

    QUEUE = "queue"  # a worker appends it to the log after the commit
    INLINE = "inline"  # it is appended in the caller's transaction, one caller at a time
    OFF = "off"  # it is checked and dropped


class OnFailure(StrEnum):
    """What ``record`` does when the database refuses the event."""

    RAISE = "raise"  # no change without its event
    SPOOL = "spool"  # the change goes on; the event waits in a file


class ClientAddress(StrEnum):
    """What the middlewares keep of a client's address."""

    FULL = "full"
    NETWORK = "network"  # enough for its region, too little for a person
    NONE = "none"


def parse_networks(value: object) -> object:
    """Returns the networks of a list such as "10.0.0.0/8, ::1"; other values as they are."""
    return [ip_network(item.strip()) for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def parse_words(value: object) -> object:
    """Returns the words of a list such as "actor, target"; other values as they are."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(parse_networks)]
Modules = Annotated[tuple[str, ...], BeforeValidator(parse_words)]
Required = Annotated[tuple[Literal["actor", "target"], ...], BeforeValidator(parse_words)]


class Settings(BaseModel, frozen=True, extra="forbid"):
    """Each field is read from ``PGAUDIT_`` and its name in upper case.

    >>> Settings(batch_size=200).batch_size
    200

    :raises InvalidSettings: a value is invalid; the message names the variable.
    """

    dsn: str = Field(
        "",
        repr=False,
        description="libpq string or URL of the database; `embedded:PATH` starts a server of its own; "
        "`pgaudit.embedded.conninfo(dsn)` says where, for psycopg and psql. "
        "Empty: libpq's `PG*` variables apply.",
    )
    mode: Mode = Field(
        Mode.QUEUE, description="`queue`, `inline` (appended in the caller's transaction; no worker needed) or `off`."
    )
    on_failure: OnFailure = Field(
        OnFailure.RAISE,
        description="`raise`, or `spool`: the business transaction goes on and the event waits in a file.",
    )
    spool_dir: Path | None = Field(
        None,
        description="Absolute path of the directory of spooled events, the same for application and worker. Both run "
        "as one user, whom it belongs to. Without it a worker replays nothing.",
    )
    spool_max_bytes: int = Field(
        1_073_741_824,
        ge=0,
        description="Largest spool, in bytes. When it is reached, `record` raises, and the change is rolled back.",
    )
    spool_max_age: float = Field(
        3_600.0,
        gt=0,
        description="Age of the oldest spooled event, in seconds, above which health is `unhealthy`; "
        "`degraded` from the first.",
    )
    max_event_bytes: int = Field(
        49_152,
        ge=1_024,
        le=65_535,
        description="Largest event, in bytes as Postgres stores its text. The database has a limit of its own: "
        "`pgaudit.settings.max_event_bytes`, 49152.",
    )

    wal_receipts: bool = Field(
        default=False,
        description="Write a receipt of each event into the WAL of the business transaction, 96 bytes and no row: "
        "`pgaudit reconcile --wal` then proves that no committed event is missing.",
    )

    batch_size: int = Field(1_000, ge=1, le=10_000, description="Most events appended in one transaction.")
    worker_concurrency: int = Field(
        2, ge=1, le=32, description="Batches that one worker works on at a time; only one of them is being appended."
    )
    poll_interval: float = Field(0.2, gt=0, le=60, description="Seconds between two polls of an idle worker.")
    linger: float = Field(
        0.1, ge=0, le=5, description="Seconds for which a worker that found events keeps looking for more, every 5 ms."
    )
    job_attempts: int = Field(
        3,
        ge=1,
        le=100,
        description="Runs of a job, the first one included, before it ends as failed.",
    )
    job_backoff_delay: int = Field(
        2_000,
        ge=0,
        description="Milliseconds before the second run; doubled before each further one.",
    )
    job_backoff_max: int = Field(
        300_000,
        ge=0,
        le=86_400_000,
        description="Maximum delay in milliseconds, before ±20 % jitter; at most a day.",
    )
    stalled_after: float = Field(
        30.0, gt=0, description="Seconds without a heartbeat after which a worker's jobs are reclaimed."
    )
    max_stalls: int = Field(5, ge=0, description="How often a stalled job is reclaimed; the next stall fails it.")
    worker_exit_on_refusal: bool = Field(
        default=False,
        description="End a worker whose schema, right or access is missing, instead of trying again until it is there.",
    )
    drain_on_shutdown: bool = Field(default=False, description="Empty the queue before the worker exits.")
    shutdown_timeout: float = Field(30.0, gt=0, description="Seconds within which a worker shuts down, drain included.")

    run_streams: bool = Field(
        default=True, description="Whether a worker sends streams to their destinations, and dispatches processors."
    )
    stream_patience: float = Field(
        259_200.0,
        gt=0,
        description="Seconds for which a destination may fail before its stream is paused; three days.",
    )

    processors: Modules = Field(
        (),
        description="Modules, separated by commas, that a worker imports because they declare processors: "
        "`app.processors,app.mail`.",
    )
    processor_concurrency: int = Field(
        10,
        ge=0,
        le=1_000,
        description="Jobs of processors that one worker runs at a time, beside the audit queue; with 0 it only "
        "dispatches them.",
    )

    checkpoint_interval: float = Field(
        10.0, gt=0, description="Seconds between two signed checkpoints, while events come."
    )
    heartbeat_events: float = Field(
        3_600.0,
        ge=0,
        description="Seconds between two `audit.heartbeat` events, by which a sealed log without other events shows "
        "that it lives; 0 for none. Only with a signing key.",
    )
    verify_interval: float = Field(
        3_600.0,
        ge=0,
        description="Seconds between two verifications, by a worker with a signing key, of what was appended since; "
        "0 for none.",
    )
    full_verify_interval: float = Field(
        604_800.0,
        ge=0,
        description="Seconds after which such a verification begins again with the first event, and compares the log "
        "with its anchors; 0 for never.",
    )
    signing_key: SecretStr | None = Field(
        None,
        description="File with the private key that signs checkpoints, or the key itself; `pgaudit keys new` makes "
        "one. Only in the environment of the process that seals.",
    )
    signing_mark: Path | None = Field(
        None,
        description="File outside the database in which the signer notes what it has signed last. Default: beside the "
        "file with the key.",
    )
    anchors: SecretStr | None = Field(
        None,
        description="Where signed checkpoints are sent, outside the database: URLs, separated by commas, such as "
        "`file:/var/anchors`. The page on anchors has the kinds. Only in the environment of the process that seals.",
    )

    health_max_lag: float = Field(
        60.0,
        gt=0,
        description="Age of the oldest waiting event, in seconds, above which health is `unhealthy`; "
        "`degraded` from half of it.",
    )
    health_max_transaction: float = Field(
        900.0,
        gt=0,
        description="Age of the oldest open transaction, in seconds, above which health is `degraded`: "
        "it holds back vacuum.",
    )
    health_max_processor_lag: float = Field(
        300.0,
        gt=0,
        description="Seconds that an event or job may wait for a processor before health is `degraded`.",
    )
    admin_token: SecretStr | None = Field(
        None,
        description="Token of the dashboard and the admin routes of `pgaudit.web`, at least 16 characters; without "
        "one they answer 403, unless the application gives them another access.",
    )
    session_lifetime: int = Field(
        28_800,
        ge=60,
        le=604_800,
        description="Seconds after which a login to the dashboard with that token ends; at most a week.",
    )
    metrics_token: SecretStr | None = Field(
        None,
        description="Bearer token of `/metrics`, at least 16 characters; without one everybody may read the metrics.",
    )
    record_reads: bool = Field(
        default=False,
        description="Record an event `audit.viewed` when somebody looks at events through the dashboard or the API. "
        "Exports are always recorded.",
    )
    health_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Port on which a worker process serves the health routes, for a container's probes.",
    )
    health_host: str = Field(
        "127.0.0.1",
        description="Address of that port; `0.0.0.0` in a container, whose probes come from outside.",
    )

    require: Required = Field(
        (),
        description="What each event must name, separated by commas: `actor`, `target`. `record` refuses other events "
        "with InvalidEvent.",
    )
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

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**(environment(type(self).model_fields) | values))
        except ValidationError as error:
            raise InvalidSettings(describe(error)) from None
        for name, meant in unknown_variables(type(self).model_fields):
            warn_once(f"{name} is not a setting, so it is ignored" + (f": write {meant}" if meant else ""))

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Pickles the settings without their secrets, which the unpickling process reads from its environment.

        :raises InvalidSettings: a secret was given in code.
        """
        values, shown = _secrets.pickled(self)
        return _secrets.unpickled, (type(self), values, shown)

    @property
    def conninfo(self) -> str:
        """Where to connect, for libpq. For ``embedded:PATH`` the server there is started, or joined.

        :raises MissingExtra: the package with the server's binaries is not installed.
        """
        return embedded.conninfo(self.dsn)

    def require_spool_dir(self) -> Path:
        """Returns the directory of spooled events.

        :raises InvalidSettings: there is none.
        """
        if self.spool_dir is None:
            raise InvalidSettings(f"{variable_of('spool_dir')} is not set: there is no spool")
        return self.spool_dir

    @model_validator(mode="after")
    def _check_dsn(self) -> Self:
        if self.dsn.strip() == embedded.PREFIX:
            raise ValueError(embedded.MISSING_DIRECTORY)
        if not (self.dsn.startswith(embedded.PREFIX) or is_conninfo(self.dsn)):
            raise ValueError(
                f"{variable_of('dsn')} is not a libpq string or URL "
                "(a SQLAlchemy URL goes without +asyncpg or +psycopg: postgresql://user@host/database)"
            )
        return self

    @field_serializer("dsn")
    def _mask_dsn(self, dsn: str) -> str:
        return without_secrets(dsn)

    @field_validator(*TOKENS)
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token and 0 < len(token.get_secret_value()) < MIN_TOKEN_LENGTH:
            raise ValueError(f"a token needs at least {MIN_TOKEN_LENGTH} characters; make one: openssl rand -hex 16")
        return token

    @field_validator("anchors")
    @classmethod
    def _check_anchors(cls, anchors: SecretStr | None) -> SecretStr | None:
        if anchors:
            from pgaudit._anchor_urls import parse_anchors  # noqa: PLC0415 - only the process that seals needs it

            parse_anchors(anchors.get_secret_value())
        return anchors

    @model_validator(mode="after")
    def _check_spool_dir(self) -> Self:
        needed = self.on_failure == OnFailure.SPOOL
        if (needed and self.spool_dir is None) or (self.spool_dir and not self.spool_dir.is_absolute()):
            raise ValueError(
                f"{variable_of('on_failure')}=spool needs an absolute path in {variable_of('spool_dir')}, not "
                f"{str(self.spool_dir or '')!r}; the worker needs the same"
            )
        return self


def is_conninfo(dsn: str) -> bool:
    """Returns whether libpq can parse it. The error of libpq is not shown: it may quote the password."""
    try:
        conninfo_to_dict(dsn)
    except (psycopg.Error, UnicodeError):
        return False
    return True


def describe(error: ValidationError) -> str:
    """Returns a sentence for each invalid setting, with the name of its variable."""
    return "; ".join(sentence(problem) for problem in error.errors())


def sentence(problem: "ErrorDetails") -> str:
    """Returns what is wrong with a setting. An error of several settings together names their variables itself."""
    if not problem["loc"]:
        return problem["msg"].removeprefix("Value error, ")
    field = str(problem["loc"][0])
    value = "" if field in SECRET else f"={problem['input']!r}"
    return f"{variable_of(field)}{value}: {problem['msg'].removeprefix('Value error, ')}"
