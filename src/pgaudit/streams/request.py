"""What a stream tells its destination when it opens it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pgaudit.streams.urls import StreamURL


class Checkpoints(Protocol):
    """The signed checkpoints of the log, for a destination that keeps them beside the events."""

    def size(self) -> int:
        """Returns how many events the newest one covers; 0 if the log is not signed."""
        ...

    def covering(self, size: int) -> tuple[int, str] | None:
        """Returns size and note of the smallest one that covers that many events; None if there is none yet."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What a destination needs to know about its stream.

    :ivar stream: the stream's name.
    :ivar form: ``native``, ``cloudevents``, ``ocsf`` or ``ecs``.
    :ivar allow_private: whether addresses of private networks are allowed.
    :ivar continued: whether it continues behind the last accepted event; False after it was added or rewound.
    :ivar next_index: the stream's position when the destination is opened.
    :ivar started_at: when it was added, rewound or replayed last. It tells intended repetitions from retries.
    :ivar is_replay: whether this opens the destination for a replay.
    """

    stream: str
    url: StreamURL
    form: str = "native"
    allow_private: bool = False
    continued: bool = False
    started_at: datetime | None = None
    is_replay: bool = False
    next_index: int = field(default=0, compare=False)
    checkpoints: Checkpoints | None = field(default=None, compare=False, repr=False)
