"""What a stream asks of its destination."""

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
    """What a destination needs to know of its stream.

    :ivar stream: the stream's name.
    :ivar form: ``native``, ``cloudevents``, ``ocsf`` or ``ecs``.
    :ivar allow_private: whether addresses of private networks are allowed.
    :ivar continued: whether it goes on behind the last event that was accepted; it was not just added or set back.
    :ivar next_index: the stream's position when the destination is opened.
    :ivar started_at: when it was added, set back or replayed last: what is sent again on purpose has another one.
    :ivar is_replay: whether a range is sent again, beside what the stream goes on to send.
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
