"""Sends events to a destination in the order of the log, and finds those that it refuses."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from pgaudit.streams.destinations.destination import Destination
from pgaudit.streams.outcomes import DeliveryFailed, EventsRefused, Receipt
from pgaudit.trail.entry import Entry

LONGEST_SECONDS: Final = 120.0  # for the parts of a chunk; other workers wait for its end


@dataclass(slots=True)
class SendResult:
    """The result of sending a chunk.

    :ivar accepted: the events that the destination has.
    :ivar refused: the index of each event that it will never accept, and why.
    :ivar behind: the index of each event that waits behind another one of its target, and the index of that.
    :ivar skipped: the index of each event that was left out on purpose, and why.
    :ivar failure: why nothing more was sent, from the event at index ``stopped_at`` on.
    """

    accepted: list[Entry] = field(default_factory=list[Entry])
    refused: dict[int, str] = field(default_factory=dict[int, str])
    behind: dict[int, int] = field(default_factory=dict[int, int])
    skipped: dict[int, str] = field(default_factory=dict[int, str])
    bytes: int = 0
    failure: DeliveryFailed | None = None
    stopped_at: int | None = None

    @property
    def is_begun(self) -> bool:
        """Whether something has become of at least one event."""
        return bool(self.accepted or self.refused or self.skipped)

    def add(self, entries: Sequence[Entry], receipt: Receipt) -> None:
        """Adds what the destination has answered for these events."""
        self.refused |= receipt.refused
        self.skipped |= receipt.skipped
        self.accepted += [e for e in entries if e.index not in receipt.refused and e.index not in receipt.skipped]
        self.bytes += receipt.bytes

    def stop(self, entry: Entry, failure: DeliveryFailed) -> None:
        """Notes that this event and those after it were not sent."""
        self.failure, self.stopped_at = failure, entry.index


def send(destination: Destination, entries: Sequence[Entry], end: float | None = None) -> SendResult:
    """Sends events. A part that the destination refuses is sent again in halves; a failure stops the rest.

    :param end: the time of ``time.monotonic`` after which the rest is left for the next attempt.
    """
    sent, end = SendResult(), end or time.monotonic() + LONGEST_SECONDS
    waiting = [entries] if entries else []
    while waiting and sent.failure is None:
        part = waiting.pop()
        if sent.is_begun and time.monotonic() > end:
            sent.stop(part[0], DeliveryFailed("it takes minutes for a chunk, of which it refuses parts"))
        else:
            send_part(destination, part, waiting, sent)
    return sent


def send_part(
    destination: Destination, part: Sequence[Entry], waiting: list[Sequence[Entry]], sent: SendResult
) -> None:
    """Sends one part of a chunk, and adds the result; if it is refused, adds its halves to ``waiting``."""
    try:
        sent.add(part, destination.send(part))
    except EventsRefused as error:
        if len(part) > 1:
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]
            return
        sent.add(part, Receipt(0, refused={part[0].index: str(error)}))
    except DeliveryFailed as error:
        sent.add(part[: error.done], error.receipt)
        sent.stop(part[error.done], error)


def send_ordered(destination: Destination, entries: Sequence[Entry], blocked: dict[str, int]) -> SendResult:
    """Sends events so that none is sent before all earlier ones of its target are accepted.

    :param blocked: the targets that have a parked event, with its index; targets of refused events are added.
    """
    sent, end = SendResult(), time.monotonic() + LONGEST_SECONDS
    for run in runs(entries):
        sent.behind |= {e.index: blocked[e.target] for e in run if e.target in blocked}
        part = send(destination, [entry for entry in run if entry.index not in sent.behind], end)
        blocked |= {e.target: e.index for e in run if e.index in part.refused and e.target}
        sent.accepted += part.accepted
        sent.refused |= part.refused
        sent.skipped |= part.skipped
        sent.bytes += part.bytes
        if part.failure is not None:
            sent.failure, sent.stopped_at = part.failure, part.stopped_at
            break
    if sent.stopped_at is not None:
        sent.behind = {index: head for index, head in sent.behind.items() if index < sent.stopped_at}
    return sent


def runs(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Yields the events in consecutive runs, in which no target comes twice."""
    run: list[Entry] = []
    targets: set[str] = set()
    for entry in entries:
        if entry.target in targets:
            yield run
            run, targets = [], set()
        run.append(entry)
        if entry.target:
            targets.add(entry.target)
    if run:
        yield run
