"""Events as the JSON documents that ``pgaudit.record`` takes."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pgaudit.errors import InvalidEvent
from pgaudit.events import AuditEvent

# recorded_at, recorded_by and xid: a role's name has 63 bytes at most, a transaction id 20 digits.
STAMP_BYTES: Final = 180
# A jsonb array holds 256 MB at most. The server needs several times the size of a document as memory.
PORTION_BYTES: Final = 32 * 1024 * 1024
NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")


@dataclass(slots=True)
class Portion:
    """Events that travel in one statement, and the JSON of each."""

    events: list[AuditEvent] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def document(self) -> str:
        """The JSON array of the events."""
        return f"[{','.join(self.texts)}]"


def to_portions(events: Sequence[AuditEvent], max_bytes: int) -> list[Portion]:
    """Returns the events in portions that a statement can carry; as ASCII, for connections of any client encoding.

    :param max_bytes: of one event, as Postgres stores its text.
    :raises InvalidEvent: an event is larger.
    """
    portions: list[Portion] = []
    size = PORTION_BYTES
    for event in events:
        text = to_ascii(checked_json(event, max_bytes))
        size += len(text)
        if size > PORTION_BYTES:
            portions.append(Portion())
            size = len(text)
        portions[-1].events.append(event)
        portions[-1].texts.append(text)
    return portions


def to_ascii(document: str) -> str:
    """Returns the same JSON, with escapes for what is not ASCII."""
    return document if document.isascii() else NOT_ASCII.sub(lambda text: json.dumps(text[0])[1:-1], document)


def checked_json(event: AuditEvent, limit: int) -> str:
    """Returns the event's JSON. Raises InvalidEvent when Postgres would store more bytes than the limit."""
    document = event.to_json()
    # A character takes four bytes at most, and a space may follow it: only what could be too large is measured.
    if len(document) * 5 + STAMP_BYTES > limit and (size := stored_size(document)) > limit:
        raise InvalidEvent(
            f"event {event.action}: {size:,} bytes as Postgres stores it, {limit:,} are allowed "
            "(PGAUDIT_MAX_EVENT_BYTES); store the bulk elsewhere and record a reference to it",
        )
    return document


def stored_size(document: str) -> int:
    """Returns the size of a JSON document in bytes as jsonb prints it, with room for the server's stamps."""
    return len(json.dumps(json.loads(document), ensure_ascii=False).encode()) + STAMP_BYTES
