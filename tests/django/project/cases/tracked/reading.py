"""What was recorded, and tables that are captured."""

from typing import Any

from django.db import connection

from pgaudit import AuditEvent
from pgaudit.testing.trail import events_of

CREATED: dict[str, tuple[object, ...]] = {"status": ("open",), "changed": (0,), "scan": ("",)}


def sides(changes: Any) -> dict[str, tuple[object, ...]]:
    """Returns before and after by path, as far as they are given."""
    return {
        change.path: tuple(getattr(change, side) for side in ("before", "after") if side in change.model_fields_set)
        for change in changes
    }


def summaries(events: list[AuditEvent]) -> list[tuple[str, dict[str, tuple[object, ...]]]]:
    """Returns action, target and changes of events."""
    return [(f"{event.action} {event.targets[0]}", sides(event.changes)) for event in events]


def capture(table: str, target: str, key: str = "{id}") -> None:
    """Captures a table, as its owner does."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a test may have changed its rows
        cursor.execute("SELECT pgaudit.add_capture(%s::text::regclass, %s, %s)", [table, target, key])


def stored() -> list[str]:
    """Returns action and target of the events that are in the database."""
    events = [event for event in events_of(connection) if event.action.partition(".")[0] not in {"audit", "project"}]
    return [f"{event.action} {event.targets[0]}" for event in events]
