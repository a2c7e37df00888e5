"""Streams send events to other systems after they are in the log. Each stream follows the log by its index.

====================  =============================================================================
"""

from pgaudit.streams.catalog import Stream, add, found, listed, note_added, note_removed, remove
from pgaudit.streams.history import Delivery, deliveries
from pgaudit.streams.operating import pause, replay, resume, rewind, stop_replay
from pgaudit.streams.parking import ParkedEvent, discard, parked, retry

__all__ = [
    "Delivery",
    "ParkedEvent",
    "Stream",
    "add",
    "deliveries",
    "discard",
    "found",
    "listed",
    "note_added",
    "note_removed",
    "parked",
    "pause",
    "remove",
    "replay",
    "resume",
    "retry",
    "rewind",
    "stop_replay",
]
