"""Compares the events of a primary and its archive: every column of every row, by digests that each server computes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row, tuple_row

from pgaudit._driver import fetch

BLOCK: Final = 1_000  # events with one digest
AT_ONCE: Final = 100_000
# The texts of all columns, written alike on both servers.
SETTINGS: Final = """
    SELECT set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false),
           set_config('bytea_output', 'hex', false)
"""
LAST: Final = "SELECT coalesce(max(index) + 1, 0) FROM pgaudit.audit_log"
BLOCKS: Final = """
    SELECT index / %(block)s,
           sha256(string_agg(sha256(convert_to(audit_log::text, 'UTF8')), '' ORDER BY index))
      FROM pgaudit.audit_log WHERE index >= %(first)s AND index < %(end)s GROUP BY 1
"""
ROWS: Final = """
    SELECT index, sha256(convert_to(audit_log::text, 'UTF8')) FROM pgaudit.audit_log
     WHERE index >= %(first)s AND index < %(end)s
"""
PARTITIONS: Final = "SELECT first_index, end_index FROM pgaudit.log_partitions()"

Connection = psycopg.Connection[Any]


@dataclass(slots=True)
class Differences:
    """What differs.

    :ivar compared: the number of the archive's events that were compared.
    :ivar altered: the indexes of events that are others on the primary.
    :ivar deleted: those that the primary does not have, though it has their partition.
    :ivar removed: the number of those whose partition the primary does not have any more.
    :ivar missing: the indexes of events that the archive does not have.
    """

    compared: int = 0
    altered: list[int] = field(default_factory=list[int])
    deleted: list[int] = field(default_factory=list[int])
    removed: int = 0
    missing: list[int] = field(default_factory=list[int])


def end_of(conn: Connection) -> int:
    """Returns the index behind the last event that the database has."""
    end: int
    (end,) = fetch(conn, scalar_row, LAST)
    return end


def compare(primary: Connection, archive: Connection, first: int, end: int) -> Differences:
    """Returns how the events with the indexes [first, end) differ; the archive has got all of them."""
    for conn in (primary, archive):
        fetch(conn, tuple_row, SETTINGS)
    ranges = fetch(primary, tuple_row, PARTITIONS)
    found = Differences()
    for start in range(first, end, AT_ONCE):
        stop = min(start + AT_ONCE, end)
        for lower, upper in differing(primary, archive, start, stop):
            compare_rows(primary, archive, lower, upper, ranges, found)
        found.compared += stop - start
    found.compared -= len(found.missing)
    return found


def differing(primary: Connection, archive: Connection, first: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields the ranges of indexes with digests that differ."""
    given: dict[str, object] = {"block": BLOCK, "first": first, "end": end}
    here, there = (dict(fetch(conn, tuple_row, BLOCKS, given)) for conn in (primary, archive))
    for block in range(first // BLOCK, (end - 1) // BLOCK + 1):
        if block not in here or here[block] != there.get(block):
            yield max(block * BLOCK, first), min((block + 1) * BLOCK, end)


def compare_rows(
    primary: Connection, archive: Connection, first: int, end: int, ranges: list[tuple[int, int]], found: Differences
) -> None:
    """Adds how the events of a block differ."""
    given: dict[str, object] = {"first": first, "end": end}
    here, there = (dict(fetch(conn, tuple_row, ROWS, given)) for conn in (primary, archive))
    for index in range(first, end):
        has_partition = any(lower <= index < upper for lower, upper in ranges)
        if index not in there:
            found.missing.append(index)
        elif index in here and here[index] != there[index]:
            found.altered.append(index)
        elif index not in here and has_partition:
            found.deleted.append(index)
        elif index not in here:
            found.removed += 1
