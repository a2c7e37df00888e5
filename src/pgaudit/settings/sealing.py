"""Settings of sealing: when a worker signs and verifies, its key, and the anchors."""

from pathlib import Path

from pydantic import BaseModel, Field, SecretStr, field_validator


class SealingSettings(BaseModel, frozen=True, defer_build=True):
    """When a worker signs and verifies, its key, and the anchors."""

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

    @field_validator("anchors")
    @classmethod
    def _check_anchors(cls, anchors: SecretStr | None) -> SecretStr | None:
        if anchors:
            from pgaudit._anchor_urls import parse_anchors  # noqa: PLC0415 - only the process that seals needs it

            parse_anchors(anchors.get_secret_value())
        return anchors
