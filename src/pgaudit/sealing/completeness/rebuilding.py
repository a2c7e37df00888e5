"""Builds the tree of each period again from the events of the log, and compares it with what was sealed."""

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from pgaudit._driver import fetch
from pgaudit.sealing.completeness.closing import sorted_tiles
from pgaudit.sealing.completeness.periods import Period
from pgaudit.sealing.completeness.sorted_tree import root_of
from pgaudit.sealing.stored_tree import beginning_of_log
from pgaudit.sealing.tree import HASH_SIZE

Connection = psycopg.Connection[Any]

SEALED: Final = "SELECT index, data FROM pgaudit.sealed_targets(%(first)s)"


@dataclass(frozen=True, slots=True)
class Difference:
    """A false statement of the event with this index, as a sentence."""

    index: int
    message: str


def differences(conn: Connection, from_index: int = 0) -> Iterator[Difference]:
    """Yields what differs between the events of the log and the events ``audit.targets_sealed`` from an index on.

    Finds what no proof for one target can: a tree that was built without a target, and a period that was sealed twice.
    A period whose events were detached with their partition is left out. Costs about as much as reading the events of
    these periods twice: for their day, and for their year.
    """
    seen: dict[str, int] = {}
    beginning = beginning_of_log(conn)
    for index, data in fetch(conn, tuple_row, SEALED, {"first": from_index}):
        try:
            period = Period(data["period"], int(data["first"]), int(data["end"]))
            targets, root = int(data["targets"]), b64decode(data["root"])
        except (KeyError, TypeError, ValueError):
            yield Difference(index, f"event {index:,} was altered: it does not say what it seals")
            continue
        if period.first_index < beginning:
            continue
        if period.period in seen:
            yield Difference(index, f"{period.period} was sealed before, by event {seen[period.period]:,}")
        seen[period.period] = index
        yield from differences_of(conn, period, targets, root, index)


def differences_of(conn: Connection, period: Period, targets: int, root: bytes, index: int) -> Iterator[Difference]:
    """Yields what differs between the events of a period and what the event with that index states of them."""
    try:
        found, rebuilt = rebuilt_root(conn, period)
    except psycopg.errors.DataCorrupted as error:
        yield Difference(index, f"the targets of {period.period} are unknown: {error.diag.message_primary}")
        return
    if (found, rebuilt) != (targets, root):
        yield Difference(index, f"the targets of {period.period}, {targets:,}, are not those of its events: {found:,}")


def rebuilt_root(conn: Connection, period: Period) -> tuple[int, bytes]:
    """Returns how many targets the events of a period have, and the root of the tree over them."""
    targets, roots = 0, bytearray()
    with conn.transaction():
        for tile in sorted_tiles(conn, period):
            targets += len(tile.keys) // HASH_SIZE
            roots += tile.root
    return targets, root_of(bytes(roots))
