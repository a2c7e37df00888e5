"""Entries of a log that is nowhere, for destinations that are tested without a database."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from pgaudit.trail.entry import Entry


def entry(index: int = 0, *, age: timedelta = timedelta(), conflicts_with: int | None = None, **fields: Any) -> Entry:
    """Returns an event about the claim of that number, which happened so long ago."""
    occurred = datetime.now(UTC) - age
    identity = UUID(int=1_000 + (index if conflicts_with is None else conflicts_with))
    event = {
        "id": str(identity), "action": "claim.approved", "outcome": "success", "occurred_at": occurred.isoformat(),
        "actor": {"id": "42", "type": "user"}, "targets": [{"id": str(index), "type": "claim"}], **fields,
    }  # fmt: skip
    text = json.dumps(event)
    return Entry(
        index, identity, occurred, occurred, occurred, event["action"], event["outcome"], "user", "42", "claim",
        str(index), event.get("tenant"), sha256(b"\0" + text.encode()).digest(), conflicts_with, text,
    )  # fmt: skip


def entries(count: int, **fields: Any) -> list[Entry]:
    """Returns that many events, from index 0 on."""
    return [entry(index, **fields) for index in range(count)]
