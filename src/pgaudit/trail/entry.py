"""One event in the log, and reading events by their index."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, LiteralString, Self
from uuid import UUID

from pgaudit._driver import loads
from pgaudit._exact_json import parse_json
from pgaudit._reading import Statement, Steps

COLUMNS: Final = """
    SELECT index, event_id, occurred_at, recorded_at, persisted_at, action, outcome, actor_type, actor_id,
           target_type, target_id, tenant, leaf_hash, conflicts_with, event::text
      FROM pgaudit.audit_log
"""
# Given as values, the indexes name the partitions that have to be read.
BY_INDEX: Final = COLUMNS + " WHERE index = ANY(%(indexes)s) ORDER BY index"


@dataclass(frozen=True)
class Entry:
    """One event in the log. ``text`` is the stored text, which the leaf hash covers."""

    index: int
    event_id: UUID
    occurred_at: datetime
    recorded_at: datetime
    persisted_at: datetime
    action: str
    outcome: str
    actor_type: str | None
    actor_id: str | None
    target_type: str | None
    target_id: str | None
    tenant: str | None
    leaf_hash: bytes
    conflicts_with: int | None
    text: str

    @cached_property
    def event(self) -> dict[str, Any]:
        """The event; that is ``text``, parsed when it is first asked for."""
        event: dict[str, Any] = loads(self.text)
        return event

    @property
    def actor(self) -> str | None:
        """The actor as "type:id"."""
        return self.actor_type and f"{self.actor_type}:{self.actor_id}"

    @property
    def target(self) -> str | None:
        """The first target as "type:id"."""
        return self.target_type and f"{self.target_type}:{self.target_id}"

    def exact_event(self) -> dict[str, Any]:
        """Returns the event with all digits of its numbers: those with a point are Decimals, which ``event`` rounds."""
        event: dict[str, Any] = parse_json(self.text)
        return event

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Self:
        """Returns the entry of a row of ``COLUMNS``, as any driver returns it."""
        index, event_id, occurred, recorded, persisted, *columns, leaf_hash, conflicts_with, text = row
        action, outcome, actor_type, actor_id, target_type, target_id, tenant = columns
        return cls(
            index,
            event_id,
            occurred.astimezone(UTC),
            recorded.astimezone(UTC),
            persisted.astimezone(UTC),
            action,
            outcome,
            actor_type,
            actor_id,
            target_type,
            target_id,
            tenant,
            bytes(leaf_hash),
            conflicts_with,
            text,
        )


def entries_of(query: LiteralString, **parameters: object) -> Steps[list[Entry]]:
    """Reads the entries that a query of ``COLUMNS`` finds, in its order."""
    rows = yield Statement(query, parameters)
    return [Entry.from_row(row) for row in rows]


def at(indexes: Sequence[int]) -> Steps[list[Entry]]:
    """Reads the entries at these indexes, in the order of the log."""
    return (yield from entries_of(BY_INDEX, indexes=list(indexes))) if indexes else []
