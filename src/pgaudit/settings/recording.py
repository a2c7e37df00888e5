"""Settings of recording: what happens to an event, and what it must have."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from pgaudit._environment import parse_words, variable_of


class Mode(StrEnum):
    """What ``record`` does with an event."""

    QUEUE = "queue"  # a worker appends it to the log after the commit
    INLINE = "inline"  # it is appended in the caller's transaction, one caller at a time
    OFF = "off"  # it is checked and dropped


class OnFailure(StrEnum):
    """What ``record`` does when the database refuses the event."""

    RAISE = "raise"  # no change without its event
    SPOOL = "spool"  # the change goes on; the event waits in a file


Required = Annotated[tuple[Literal["actor", "target"], ...], BeforeValidator(parse_words)]


class RecordingSettings(BaseModel, frozen=True, defer_build=True):
    """What happens to an event, and what it must have."""

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
    require: Required = Field(
        (),
        description="What each event must name, separated by commas: `actor`, `target`. `record` refuses other events "
        "with InvalidEvent.",
    )

    @model_validator(mode="after")
    def _check_spool_dir(self) -> Self:
        needed = self.on_failure == OnFailure.SPOOL
        if (needed and self.spool_dir is None) or (self.spool_dir and not self.spool_dir.is_absolute()):
            raise ValueError(
                f"{variable_of('on_failure')}=spool needs an absolute path in {variable_of('spool_dir')}, not "
                f"{str(self.spool_dir or '')!r}; the worker needs the same"
            )
        return self
