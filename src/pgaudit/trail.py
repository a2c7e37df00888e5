"""Reading the log: the trail of a target or an actor, and what comes in."""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import set_json_loads

COLUMNS: Final = """
    SELECT index, event_id, occurred_at, recorded_at, persisted_at, action, outcome, actor_type, actor_id,
           target_type, target_id, tenant, event
      FROM pgaudit.audit_log
"""
LAST: Final = COLUMNS + " ORDER BY index DESC LIMIT %(count)s"
AFTER: Final = COLUMNS + " WHERE index > %(index)s ORDER BY index LIMIT %(limit)s"
# The first target is in the log, the others in event_target.
BY_FIRST_TARGET: Final = COLUMNS + " WHERE target_type = %(kind)s AND target_id = %(identity)s ORDER BY index"
FURTHER_TARGET: Final = "SELECT index FROM pgaudit.event_target WHERE type = %(kind)s AND id = %(identity)s"
# Given as values, the indexes name the partitions that have to be read.
BY_INDEX: Final = COLUMNS + " WHERE index = ANY(%(indexes)s)"
OF_ACTOR: Final = COLUMNS + " WHERE actor_type = %(kind)s AND actor_id = %(identity)s ORDER BY index"
LONGEST_INT: Final = 4_300  # digits


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in the log; ``event`` is all of it."""

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
    event: dict[str, Any]

    @property
    def actor(self) -> str | None:
        """The actor as "type:id"."""
        return self.actor_type and f"{self.actor_type}:{self.actor_id}"

    @property
    def target(self) -> str | None:
        """The first target as "type:id"."""
        return self.target_type and f"{self.target_type}:{self.target_id}"


def last(conn: psycopg.Connection[Any], count: int) -> list[Entry]:
    """Returns the newest entries, the oldest of them first."""
    return _entries(conn, LAST, count=count)[::-1]


def after(conn: psycopg.Connection[Any], index: int, limit: int = 1_000) -> list[Entry]:
    """Returns the entries after that index, at most ``limit``. Index order is commit order: no entry is missed.

    :param index: the last index seen; -1 for the beginning of the log.
    """
    return _entries(conn, AFTER, index=index, limit=limit)


def of_target(conn: psycopg.Connection[Any], kind: str, identity: str) -> list[Entry]:
    """Returns the events that have this target, such as ("claim", "7"), first or further, in the order of the log."""
    with psycopg.Cursor(conn, row_factory=scalar_row) as cursor:
        further = cursor.execute(FURTHER_TARGET, {"kind": kind, "identity": identity}).fetchall()
    found = {entry.index: entry for entry in _entries(conn, BY_FIRST_TARGET, kind=kind, identity=identity)}
    if missing := [index for index in further if index not in found]:
        found |= {entry.index: entry for entry in _entries(conn, BY_INDEX, indexes=missing)}
    return [found[index] for index in sorted(found)]


def of_actor(conn: psycopg.Connection[Any], kind: str, identity: str) -> list[Entry]:
    """Returns the events of an actor, such as ("user", "42"), in the order of the log."""
    return _entries(conn, OF_ACTOR, kind=kind, identity=identity)


def _entries(conn: psycopg.Connection[Any], query: LiteralString, **parameters: object) -> list[Entry]:
    """Returns the entries that a query of the log finds."""
    with conn.cursor(row_factory=class_row(Entry)) as cursor:
        set_json_loads(_loads, cursor)
        return cursor.execute(query, parameters).fetchall()


def _loads(document: str | bytes) -> Any:
    """Parses JSON of Postgres: an event inserted by hand may have numbers too long for Python's integers."""
    return json.loads(document, parse_int=lambda digits: int(digits) if len(digits) < LONGEST_INT else Decimal(digits))
