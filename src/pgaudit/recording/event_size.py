"""Events of rows that are too large: what is left out of them."""

import hashlib
import json
from typing import Any, Final

from pgaudit.events import AuditEvent, Change
from pgaudit.recording.document import STAMP_BYTES, stored_size

SMALL: Final = 200  # bytes of a value that is never left out


def fitting(event: AuditEvent, limit: int) -> AuditEvent:
    """Returns the event. While it is larger than the limit in bytes, its largest value is left out, as capture does."""
    while not fits(event, limit):
        sizes = [(size_of(value), n, side) for n, change in enumerate(event.changes) for side, value in given(change)]
        size, n, side = max(sizes, default=(0, 0, ""))
        if size < SMALL:
            break
        changes = list(event.changes)
        changes[n] = without(changes[n], side)
        event = event.model_copy(update={"changes": tuple(changes)})
    return event


def without(change: Change, side: str) -> Change:
    """Returns a change with the size and hash of a side in its place."""
    sides: dict[str, Any] = dict(given(change))
    sides[side] = omitted(sides[side])
    return Change(path=change.path, **sides)


def fits(event: AuditEvent, limit: int) -> bool:
    """Returns whether Postgres stores no more than that many bytes."""
    document = event.to_json()
    return len(document) * 5 + STAMP_BYTES <= limit or stored_size(document) <= limit


def given(change: Change) -> list[tuple[str, Any]]:
    """Returns the sides of a change that were given."""
    return [(side, getattr(change, side)) for side in ("before", "after") if side in change.model_fields_set]


def text_of(value: object) -> bytes:
    """Returns a value's text, of which size and hash are taken."""
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()


def size_of(value: object) -> int:
    """Returns the size of a value in bytes."""
    return len(text_of(value))


def omitted(value: object) -> dict[str, object]:
    """Returns what stands for a value that is too large: its size and hash."""
    return {"omitted": True, "bytes": size_of(value), "sha256": hashlib.sha256(text_of(value)).hexdigest()}
