"""What a destination answers to a chunk of events: a receipt, or one of three refusals."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgaudit.errors import PgauditError
from pgaudit.streams.printable import as_line


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of events that the destination has answered.

    :ivar bytes: that were sent.
    :ivar refused: the index of each event that it will never accept, and why: they are parked.
    :ivar skipped: the index of each event that was left out on purpose, and why.
    """

    bytes: int = 0
    refused: Mapping[int, str] = field(default_factory=dict[int, str])
    skipped: Mapping[int, str] = field(default_factory=dict[int, str])


class EventsRefused(PgauditError):
    """A destination will never accept these events as they are; the message says why, and has no secret."""

    def __init__(self, message: str) -> None:
        super().__init__(as_line(message))


class DeliveryFailed(PgauditError):
    """A destination did not take events now: they are sent again. The message says why, and has no secret.

    :ivar done: the number of events, from the first on, that it has answered; ``receipt`` is that answer.
    :ivar retry_after: the seconds to wait at least, if it has said so.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, done: int = 0, receipt: Receipt | None = None
    ) -> None:
        super().__init__(as_line(message))
        self.retry_after = retry_after
        self.done = done
        self.receipt = receipt or Receipt()


class DestinationRefused(DeliveryFailed):
    """A destination takes nothing from us until someone acts: the token is wrong, or the endpoint is gone."""
