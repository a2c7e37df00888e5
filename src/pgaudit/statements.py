"""The statement that records events: their JSON, in one call of ``pgaudit.record``."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from pgaudit.errors import InvalidEvent
from pgaudit.events import AuditEvent
from pgaudit.settings import Mode, Settings

RECORD: Final = "SELECT pgaudit.record(%s)"
RECORD_INLINE: Final = "SELECT pgaudit.record_inline(%s)"
# recorded_at, recorded_by and xid: a role's name has 63 bytes at most, a transaction id 20 digits.
STAMP_BYTES: Final = 180
NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and what it is executed with."""

    query: LiteralString
    parameters: Sequence[Any]


def statement_for(events: Sequence[AuditEvent], settings: Settings) -> Statement:
    """The one statement that records these events.

    :raises InvalidEvent: one is larger than ``max_event_bytes``.
    """
    documents = [sized_json(event, settings.max_event_bytes) for event in events]
    return Statement(record_query(settings.mode), [in_ascii(f"[{','.join(documents)}]")])


def record_query(mode: Mode) -> LiteralString:
    """The statement that records a JSON array of events."""
    return RECORD_INLINE if mode == Mode.INLINE else RECORD


def in_ascii(document: str) -> str:
    """The same JSON in ASCII, which a connection of any client encoding can send."""
    return document if document.isascii() else NOT_ASCII.sub(lambda text: json.dumps(text[0])[1:-1], document)


def sized_json(event: AuditEvent, limit: int) -> str:
    """The event's JSON, if Postgres will store it in no more than that many bytes."""
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
