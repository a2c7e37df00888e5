"""Compares the events of a primary and its archive: every column of every row, by digests that each server computes."""

from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

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
    """How the events of the archive and the primary differ.

    :ivar compared: the number of the archive's events that were compared.
    :ivar altered: the indexes of events that are different on the primary.
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
    comparison = Comparison(primary, archive, ranges)
    for start in range(first, end, AT_ONCE):
        comparison.compare(start, min(start + AT_ONCE, end))
    return comparison.found


@dataclass(slots=True)
class Comparison:
    """Compares ranges of events.

    :ivar ranges: the ranges of indexes for which the primary has partitions.
    """

    primary: Connection
    archive: Connection
    ranges: list[tuple[int, int]]
    found: Differences = field(default_factory=Differences)

    def compare(self, first: int, end: int) -> None:
        """Adds how a range differs: of blocks with the same digest nothing more is asked."""
        here, there = self.digests(BLOCKS, first, end)
        missing = len(self.found.missing)
        for block in range(first // BLOCK, (end - 1) // BLOCK + 1):
            if block not in here or here[block] != there.get(block):
                self.compare_rows(max(block * BLOCK, first), min((block + 1) * BLOCK, end))
        self.found.compared += end - first - (len(self.found.missing) - missing)

    def compare_rows(self, first: int, end: int) -> None:
        """Adds how the events of a block differ."""
        here, there = self.digests(ROWS, first, end)
        for index in range(first, end):
            if index not in there:
                self.found.missing.append(index)
            elif index not in here and any(lower <= index < upper for lower, upper in self.ranges):
                self.found.deleted.append(index)
            elif index not in here:
                self.found.removed += 1
            elif here[index] != there[index]:
                self.found.altered.append(index)

    def digests(self, query: LiteralString, first: int, end: int) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """Returns the digests that each server computes, by number of the block or index of the event."""
        given: dict[str, object] = {"block": BLOCK, "first": first, "end": end}
        here, there = (fetch(conn, tuple_row, query, given) for conn in (self.primary, self.archive))
        return dict(here), dict(there)
