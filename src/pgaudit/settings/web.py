"""Settings of health and HTTP: thresholds, tokens, and the port of a worker's probes."""

from typing import Final

from pydantic import BaseModel, Field, SecretStr, field_validator

from pgaudit._secrets import TOKENS

MIN_TOKEN_LENGTH: Final = 16


class WebSettings(BaseModel, frozen=True, defer_build=True):
    """Thresholds of health, tokens, and the port of a worker's probes."""

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
    health_max_stream_lag: float = Field(
        10_800.0,
        gt=0,
        description="Age of the oldest event that a stream has not got to, in seconds, above which health is "
        "`unhealthy`; `degraded` from half of it. Three hours, because a file of each hour is an hour late.",
    )
    health_max_stream_failure: float = Field(
        300.0, gt=0, description="Seconds for which a destination may fail before health is `degraded`."
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

    @field_validator(*TOKENS)
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token and 0 < len(token.get_secret_value()) < MIN_TOKEN_LENGTH:
            raise ValueError(f"a token needs at least {MIN_TOKEN_LENGTH} characters; make one: openssl rand -hex 16")
        return token
