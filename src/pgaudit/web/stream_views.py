"""Streams as a viewer may see them: parked events with masked values, and no error that may quote these."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pgaudit import streams
from pgaudit._reading import run
from pgaudit.streams import Delivery, ParkedEvent, Stream
from pgaudit.streams.history import Interval, recent
from pgaudit.trail.entry import at
from pgaudit.web.access import unmasked
from pgaudit.web.guard import Viewer
from pgaudit.web.masking import MaskedEntry
from pgaudit.web.reads import Reader
from pgaudit.web.views import Connection, as_seen

WITHHELD: Final = "Withheld: it may quote values of this event that you may not see."
QUOTED: Final = "Withheld: it may quote values that you may not see. `pgaudit stream show` has it"
OURS: Final = frozenset({"asked", "mismatch"})  # pauses whose reason is a person's, or names indexes alone
OWN_WORDS: Final = frozenset({"discarded", "rewound"})  # deliveries without words of the destination
DAY: Final = timedelta(days=1)
QUARTER: Final = timedelta(minutes=15)
PARKED_PAGE: Final = 50
DELIVERIES: Final = 20


@dataclass(frozen=True, slots=True)
class ShownParked:
    """A parked event. ``action`` and ``target`` are None if its partition was detached."""

    index: int
    action: str | None
    target: str | None
    behind: int | None
    """The index of the event that it waits for; None if it was refused itself."""
    attempts: int
    error: str | None
    parked_at: datetime
    retry_at: datetime | None
    """When it is sent again; None until someone retries it."""


@dataclass(frozen=True, slots=True)
class SeenStream:
    """A stream with its newest deliveries, what it has sent in the last day, and a page of its parked events."""

    stream: Stream
    deliveries: list[Delivery]
    intervals: list[Interval]
    parked: list[ShownParked]


def look(conn: Connection, viewer: Viewer, reader: Reader, name: str, after: int) -> SeenStream:
    """Returns what a page shows of a stream.

    :raises StreamNotFound: there is none of that name.
    """
    stream = masked_stream(viewer, streams.get_stream(conn, name))
    parked = parked_events(conn, viewer, reader, name, after, PARKED_PAGE)
    deliveries = masked_deliveries(viewer, streams.deliveries(conn, name, DELIVERIES))
    return SeenStream(stream, deliveries, recent(conn, QUARTER, DAY, name), parked)


def masked_stream(viewer: Viewer, stream: Stream) -> Stream:
    """Returns a stream as the viewer may see it: what a destination answers may quote any event that it was sent.

    Nobody knows which, so it is withheld from all viewers whose access has a mask.
    """
    if viewer.access.mask is unmasked:
        return stream
    reason = stream.pause_reason if stream.pause_kind in OURS else withheld(stream.pause_reason)
    return replace(
        stream, error=withheld(stream.error), pause_reason=reason, replay_error=withheld(stream.replay_error)
    )


def masked_deliveries(viewer: Viewer, found: list[Delivery]) -> list[Delivery]:
    """Returns deliveries as the viewer may see them."""
    if viewer.access.mask is unmasked:
        return found
    return [one if one.status in OWN_WORDS else replace(one, error=withheld(one.error)) for one in found]


def withheld(text: str | None) -> str | None:
    """Returns what stands in the place of a text; None if there is none."""
    return QUOTED if text else None


def parked_events(  # noqa: PLR0913, PLR0917 - a page of what, for whom
    conn: Connection, viewer: Viewer, reader: Reader, name: str, after: int, count: int
) -> list[ShownParked]:
    """Returns parked events of a stream as the viewer may see them; notes that they were seen."""
    found = streams.parked(conn, name, after, count)
    entries = as_seen(viewer, run(conn, at([one.index for one in found])))
    by_index = {entry.index: entry for entry in entries}
    if found:
        reader.viewed(conn, stream=name, parked=True, count=len(found))
    return [shown(viewer, one, by_index.get(one.index)) for one in found]


def shown(viewer: Viewer, one: ParkedEvent, entry: MaskedEntry | None) -> ShownParked:
    """Returns a parked event as its entry may be seen."""
    is_masked = viewer.access.mask is not unmasked if entry is None else entry.is_masked
    return ShownParked(
        one.index,
        None if entry is None else str(entry.action),
        None if entry is None else entry.target,
        one.behind,
        one.attempts,
        WITHHELD if one.error and is_masked else one.error,
        one.parked_at,
        one.retry_at,
    )
