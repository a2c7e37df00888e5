"""Events as the SQL function ``pgaudit.record`` takes them, for tests that vary one field."""

import json
from typing import Any
from uuid import uuid4

from tests.support.queries import Connection

RECORD = "SELECT pgaudit.record(%s)"


Json = dict[str, Any]


def valid(**fields: Any) -> Json:
    """Returns a valid event with these fields."""
    return {
        "id": str(uuid4()),
        "action": "claim.approved",
        "outcome": "success",
        "occurred_at": "2026-01-31T12:00:00.000000Z",
        "actor": {"type": "user", "id": "42"},
        "targets": [{"type": "claim", "id": "7"}],
        **fields,
    }


def without(field: str) -> Json:
    """Returns a valid event without that field."""
    event = valid()
    del event[field]
    return event


def record_raw(conn: Connection, *events: object) -> None:
    """Records events as any SQL client can, without checking them before."""
    conn.execute(RECORD, [json.dumps(events)])


def nested(depth: int) -> Json:
    """Returns a valid event whose deepest value is that many levels below the event."""
    value: object = "deepest"
    for _ in range(depth - 1):
        value = [value]
    return valid(data=value)


def reference(type: object = "user", id: object = "42") -> Json:  # noqa: A002
    """Returns an actor or a target."""
    return {"type": type, "id": id}
