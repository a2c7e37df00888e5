"""How a destination answers a chunk of events: with a receipt, or with one of three errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgaudit.errors import PgauditError
from pgaudit.streams.printable import as_line


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result for events that the destination has answered.

    :ivar bytes: the number of bytes that were sent.
    :ivar refused: the index of each event that it will never accept, and why: they are parked.
    :ivar skipped: the index of each event that was left out on purpose, and why.
    """

    bytes: int = 0
    refused: Mapping[int, str] = field(default_factory=dict[int, str])
    skipped: Mapping[int, str] = field(default_factory=dict[int, str])


class EventsRefused(PgauditError):
    """A destination will never accept these events as they are. The message says why, without secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(as_line(message))


class DeliveryFailed(PgauditError):
    """A destination did not accept events this time: they are sent again. The message says why, without secrets.

    :ivar done: how many of the events, from the first on, it has answered; ``receipt`` is the result for these.
    :ivar retry_after: the minimum of seconds to wait, if the destination asked for it.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, done: int = 0, receipt: Receipt | None = None
    ) -> None:
        super().__init__(as_line(message))
        self.retry_after = retry_after
        self.done = done
        self.receipt = receipt or Receipt()


class DestinationRefused(DeliveryFailed):
    """A destination accepts nothing until someone acts: the token is wrong, or the endpoint is gone."""
