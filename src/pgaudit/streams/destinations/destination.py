"""What a destination is to the worker that sends to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pgaudit.streams.outcomes import Receipt
from pgaudit.trail.entry import Entry


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest chunk that a destination takes: a number of events, and of bytes of their texts together."""

    events: int = 500
    bytes: int = 4_000_000


class Destination(Protocol):
    """Where a stream's events are sent. One thread uses it, and closes it after half a minute without events."""

    @property
    def limits(self) -> Limits:
        """The largest chunk."""
        ...

    @property
    def takes_all(self) -> bool:
        """Whether it never refuses an event: then a chunk of an ordered stream can be sent as a whole."""
        ...

    def is_waiting(self, log_size: int, now: datetime) -> bool:
        """Returns whether the events need not be read yet: ``ready`` would return 0 again."""
        ...

    def ready(self, entries: Sequence[Entry], now: datetime, *, is_full: bool) -> int:
        """Returns how many of these events, from the first on, are to be sent now; 0 to wait for more.

        :param is_full: whether there are as many as ``limits`` allow.
        """
        ...

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Sends events, in the order of the log, and returns when the destination has them durably.

        Called again with the same events after a failure: where the destination can, it keeps each one once.

        :raises DeliveryFailed: it did not take them now: they are sent again later.
        :raises EventsRefused: it will never take them as they are: they are sent in halves, until one is left to park.
        :raises DestinationRefused: it takes nothing from us: the stream is paused until someone resumes it.
        """
        ...

    def check(self) -> None:
        """Checks, without sending anything, that events could be sent.

        :raises DeliveryFailed: not now; or, DestinationRefused, not until someone acts.
        """
        ...

    def close(self) -> None:
        """Closes connections and files."""
        ...


class BaseDestination:
    """Defaults: sends all events as soon as they are there, may refuse some, and has nothing to check or close."""

    limits = Limits()
    takes_all = False

    def is_waiting(self, log_size: int, now: datetime) -> bool:  # noqa: ARG002 - see Destination
        """Returns False: what is there is sent."""
        return False

    def ready(self, entries: Sequence[Entry], now: datetime, *, is_full: bool) -> int:  # noqa: ARG002 - see Destination
        """Returns the number of the events: all of them."""
        return len(entries)

    def check(self) -> None:
        """Has nothing to check: a test event shows more."""

    def close(self) -> None:
        """Has nothing to close."""
