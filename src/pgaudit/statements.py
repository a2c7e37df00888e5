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
RECORD_INLINE: Final = "SELECT pgaudit.record(%s, true)"
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
    """The event's JSON, if it is no larger than that many bytes."""
    document = event.to_json()
    # A character takes four bytes at most: only what could be too large is counted.
    if len(document) * 4 > limit and (size := len(document.encode())) > limit:
        raise InvalidEvent(
            f"event {event.action}: {size:,} bytes of JSON, {limit:,} are allowed (PGAUDIT_MAX_EVENT_BYTES); "
            "store the bulk elsewhere and record a reference to it",
        )
    return document
