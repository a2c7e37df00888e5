"""Closes days and years: builds the tree of their targets, and records its root as an event of the log."""

from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg.rows import class_row, scalar_row, tuple_row

from pgaudit._driver import fetch
from pgaudit.events import AuditEvent
from pgaudit.recording.audit_log import AuditLog
from pgaudit.sealing.completeness.periods import Period, due
from pgaudit.sealing.completeness.sorted_tree import TargetTile, root_of
from pgaudit.sealing.tree import HASH_SIZE
from pgaudit.settings import Mode, Settings

Connection = psycopg.Connection[Any]

ACTION: Final = "audit.targets_sealed"
PORTION: Final = 64  # tiles, of 16 KiB
LOCK: Final = "SELECT pgaudit.try_lock_target_periods()"
SORTED: Final = "SELECT number, keys, digests FROM pgaudit.sorted_targets(%(first)s, %(end)s)"
ADD_TILES: Final = """
    SELECT pgaudit.add_target_tiles(%(period)s, %(first)s, %(keys)s::bytea[], %(digests)s::bytea[], %(roots)s::bytea[])
"""
ADD_PERIOD: Final = "SELECT pgaudit.add_target_period(%(period)s, %(first)s, %(end)s, %(targets)s, %(root)s, %(event)s)"
PRUNE: Final = "SELECT pgaudit.prune_target_tiles()"


def close_periods(conn: Connection, settings: Settings, now: datetime) -> list[str]:
    """Closes all days that are over, and years behind their last day, each in a transaction of its own.

    :returns: the periods that were closed; none if another process does it.
    :raises psycopg.errors.DataCorrupted: events of the period are missing from the log.
    """
    closed: list[str] = []
    while settings.mode != Mode.OFF:
        with conn.transaction():
            period = due(conn, now) if fetch(conn, scalar_row, LOCK) == [True] else None
            if period is None:
                break
            close(conn, settings, period)
            closed.append(period.period)
    return closed


def close(conn: Connection, settings: Settings, period: Period) -> None:
    """Stores the tree of a period and records its root, in the caller's transaction."""
    targets, roots = 0, bytearray()
    for tiles in portions(sorted_tiles(conn, period)):
        given = {"keys": [tile.keys for tile in tiles], "digests": [tile.digests for tile in tiles]}
        added = [tile.root for tile in tiles]
        place: dict[str, object] = {"period": period.period, "first": tiles[0].number}
        fetch(conn, tuple_row, ADD_TILES, {**place, **given, "roots": added})
        targets += sum(len(tile.keys) for tile in tiles) // HASH_SIZE
        roots += b"".join(added)
    record(conn, settings, period, targets, root_of(bytes(roots)))
    fetch(conn, tuple_row, PRUNE)


def record(conn: Connection, settings: Settings, period: Period, targets: int, root: bytes) -> None:
    """Records the event of a period, and stores the period with the event's id."""
    place: dict[str, Any] = {"period": period.period, "first": period.first_index, "end": period.end_index}
    data = {**place, "targets": targets, "root": b64encode(root).decode()}
    event = AuditEvent(action=ACTION, data=data)
    AuditLog(settings).record(conn, event)
    fetch(conn, tuple_row, ADD_PERIOD, {**place, "targets": targets, "root": root, "event": event.id})


def sorted_tiles(conn: Connection, period: Period) -> Iterator[TargetTile]:
    """Yields the tiles of a period; the server sorts, and sends some of them at a time."""
    given = {"first": period.first_index, "end": period.end_index}
    with conn.cursor(f"pgaudit_{uuid4().hex}", row_factory=class_row(TargetTile)) as cursor:
        cursor.itersize = PORTION
        yield from cursor.execute(SORTED, given)


def portions(tiles: Iterator[TargetTile]) -> Iterator[list[TargetTile]]:
    """Yields the tiles, some at a time."""
    while portion := list(islice(tiles, PORTION)):
        yield portion
