"""Capturing: tests keep what is recorded in a list, instead of sending it to the database."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from pgaudit.events import AuditEvent

_captures: Final[list[list[AuditEvent]]] = []


def keep(events: Sequence[AuditEvent]) -> bool:
    """Adds the events to each open capture. Returns whether there is one: then they must not be sent."""
    for captured in _captures:
        captured.extend(events)
    return bool(_captures)


def is_open() -> bool:
    """Returns whether events are kept instead of sent."""
    return bool(_captures)


@contextmanager
def capture_into(captured: list[AuditEvent]) -> Generator[None]:
    """Captures what every AuditLog of this process records inside the block, in all threads."""
    _captures.append(captured)
    try:
        yield
    finally:
        _captures[:] = [other for other in _captures if other is not captured]
