"""The bodies of requests and responses about streams, and their parameters."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, Field

from pgaudit.streams import Delivery, Stream
from pgaudit.trail.bounded import LARGEST_PAGE
from pgaudit.web.routes import LARGEST_ID
from pgaudit.web.stream_views import ShownParked

Name = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9_.-]{0,62}$", description="Name of a stream.")]
Index = Annotated[int, Field(ge=0, le=LARGEST_ID, json_schema_extra={"format": "int64"})]
After = Annotated[int, Query(ge=-1, le=LARGEST_ID, description="Events behind this index.")]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="The most rows to return.")]
Reason = Annotated[str, Field(max_length=900, pattern="^[^\x00]*$")]


@dataclass(frozen=True, slots=True)
class StreamList:
    """The streams to destinations, by name: rows of the view `pgaudit.stream_stats`."""

    observed_at: datetime
    streams: list[Stream]


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What was sent, or could not be, the newest first."""

    deliveries: list[Delivery]


@dataclass(frozen=True, slots=True)
class ParkedEvents:
    """Parked events in the order of the log. `next` is `after` of the next page."""

    parked: list[ShownParked]
    next: int | None


@dataclass(frozen=True, slots=True)
class RetriedEvents:
    """How many parked events are sent again; those behind them follow."""

    retried: int


@dataclass(frozen=True, slots=True)
class StreamTest:
    """Whether the destination takes an event from this server, and what it has answered."""

    accepted: bool
    result: str


class Pause(BaseModel, extra="forbid"):
    """Why a stream is paused."""

    reason: Reason | None = None


class Rewind(BaseModel, extra="forbid"):
    """The event that a stream is moved to."""

    index: Index


class Replay(BaseModel, extra="forbid"):
    """The events to send again, both included."""

    first: Index
    last: Index


class Retry(BaseModel, extra="forbid"):
    """The parked event to send again; all of them when it is null."""

    index: Index | None = None


class Discard(BaseModel, extra="forbid"):
    """The parked event to discard, and why."""

    index: Index
    reason: Reason
