"""Events as the JSON document that ``pgaudit.record`` takes."""

import json
import re
from collections.abc import Sequence
from typing import Final

from pgaudit.errors import InvalidEvent
from pgaudit.events import AuditEvent

# recorded_at, recorded_by and xid: a role's name has 63 bytes at most, a transaction id 20 digits.
STAMP_BYTES: Final = 180
NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")


def to_document(events: Sequence[AuditEvent], max_bytes: int) -> str:
    """Returns the events as one JSON array, in ASCII: a connection of any client encoding can send it.

    :param max_bytes: of one event, as Postgres stores its text.
    :raises InvalidEvent: an event is larger.
    """
    return to_ascii(f"[{','.join(checked_json(event, max_bytes) for event in events)}]")


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
