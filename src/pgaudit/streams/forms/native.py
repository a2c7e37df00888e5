"""The event as the log has it, with its index and the hash that proves it."""

from typing import Any

from pgaudit.streams.forms.field_values import in_utc
from pgaudit.trail.entry import Entry


def text(entry: Entry) -> str:
    """Returns the same as JSON, with the stored text of the event: parsing it would take ten times as long."""
    return (
        f'{{"index": {entry.index}, "leaf_hash": "{entry.leaf_hash.hex()}", '
        f'"persisted_at": "{in_utc(entry.persisted_at)}", "event": {entry.text}}}'
    )


def form(entry: Entry) -> dict[str, Any]:
    """Returns ``{"index", "leaf_hash", "persisted_at", "event"}``; ``event`` is what the hash covers.

    The index is the idempotency key: a receiver that has this index has this event.
    """
    return {
        "index": entry.index,
        "leaf_hash": entry.leaf_hash.hex(),
        "persisted_at": in_utc(entry.persisted_at),
        "event": entry.exact_event(),
    }
