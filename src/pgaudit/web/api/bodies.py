"""Bodies of the routes: events exactly as they are stored, with their columns of the log."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pgaudit._exact_json import to_json
from pgaudit.trail import Stop
from pgaudit.web.masking import MaskedEntry
from pgaudit.web.views import View


@dataclass(frozen=True, slots=True)
class EventBody:
    """An event in the log. Where a value is masked, `leaf_hash` is null, because a hash confirms a guess."""

    index: int
    event_id: UUID
    occurred_at: datetime
    recorded_at: datetime
    persisted_at: datetime
    leaf_hash: str | None
    """SHA-256 of the stored text of the event, in hexadecimal."""
    conflicts_with: int | None
    """Index of an event that has the same id and other content."""
    is_masked: bool
    event: dict[str, Any]
    """The event as it is stored, with all digits of its numbers."""


@dataclass(frozen=True, slots=True)
class StopBody:
    """Where a search that no index serves has stopped; ``next``, or ``previous``, continues there."""

    index: int
    recorded_at: datetime | None
    examined: int


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses of this page, of older events and of newer ones."""

    self: str
    next: str | None
    previous: str | None


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events, the newest first."""

    entries: list[EventBody]
    next: str | None
    previous: str | None
    stopped: StopBody | None
    links: Links


@dataclass(frozen=True, slots=True)
class ToldBody:
    """What an event has told of a field. `index` is that of the event."""

    value: Any
    known: bool
    """False if the event says that the field has changed, and not to what."""
    source: str
    """`after` a change, or only as the value `before` a later one."""
    index: int
    contradicted_by: int | None
    """The next change, if its value before is another one: something changed the field without an event."""


@dataclass(frozen=True, slots=True)
class DifferenceBody:
    """A field that is not the same at two moments; null is unknown."""

    path: str
    before: ToldBody | None
    after: ToldBody | None


@dataclass(frozen=True, slots=True)
class MomentBody:
    """An event of a timeline."""

    index: int
    event_id: UUID
    occurred_at: datetime
    recorded_at: datetime
    action: str
    outcome: str
    actor: str | None
    target: str | None
    reason: str | None
    changes: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class TimelineBody:
    """The life of a thing: its events in the order of the log, its fields, and what differs between two moments."""

    target: str
    moments: list[MomentBody]
    state: dict[str, ToldBody]
    difference: list[DifferenceBody] | None
    stopped: StopBody | None
    """None if all events were read. Otherwise none before that index."""


def page_text(view: View, links: dict[str, str | None]) -> str:
    """Returns a page as JSON."""
    return spliced(
        entries="[" + ", ".join(map(event_text, view.entries)) + "]",
        next=json.dumps(view.next),
        previous=json.dumps(view.previous),
        stopped=json.dumps(view.stopped and stop_body(view.stopped)),
        links=json.dumps(links),
    )


def event_text(entry: MaskedEntry) -> str:
    """Returns an event as JSON; the event itself is the stored text, not parsed and written again."""
    return spliced(
        index=str(entry.index),
        event_id=json.dumps(str(entry.event_id)),
        occurred_at=json.dumps(entry.occurred_at.isoformat()),
        recorded_at=json.dumps(entry.recorded_at.isoformat()),
        persisted_at=json.dumps(entry.persisted_at.isoformat()),
        leaf_hash=json.dumps(entry.leaf_hash and entry.leaf_hash.hex()),
        conflicts_with=json.dumps(entry.conflicts_with),
        is_masked=json.dumps(entry.is_masked),
        event=to_json(entry.event) if entry.text is None else entry.text,
    )


def stop_body(stop: Stop) -> dict[str, Any]:
    """Returns where a search has stopped."""
    seen = stop.recorded_at and stop.recorded_at.isoformat()
    return {"index": stop.index, "recorded_at": seen, "examined": stop.examined}


def spliced(**members: str) -> str:
    """Returns a JSON object of members that are JSON already."""
    return "{" + ", ".join(f'"{name}": {text}' for name, text in members.items()) + "}"
