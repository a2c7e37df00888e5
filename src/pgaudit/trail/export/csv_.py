"""CSV by RFC 4180, in which no cell is a formula."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from pgaudit.trail.export import columns
from pgaudit.trail.export.rows import Row

BOM: Final = b"\xef\xbb\xbf"
# What a spreadsheet takes for the beginning of a formula, full-width forms included (OWASP, "CSV Injection").
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - the full-width forms


class CsvEncoder:
    """Writes a header, and an event in each record.

    :param paths: further columns, such as data.amount.
    :param bom: begin with the mark by which Excel knows UTF-8.
    """

    def __init__(self, paths: Sequence[str] = (), *, bom: bool = False) -> None:
        self._paths = paths
        self._names = (*columns.NAMES, *paths)
        self._bom = bom

    def begin(self) -> bytes:
        """Returns the header."""
        return (BOM if self._bom else b"") + written([self._names])

    def encode(self, rows: Iterable[Row]) -> bytes:
        """Returns the records of events."""
        return written(self._cells(row) for row in rows)

    def end(self) -> bytes:
        """Returns nothing: the last record is complete."""
        return b""

    def _cells(self, row: Row) -> list[str]:
        found = columns.values(row, self._paths) | in_log(row)
        return [safe(found[name] or "") for name in self._names]


def written(records: Iterable[Iterable[str]]) -> bytes:
    """Returns records as CSV."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(records)
    return text.getvalue().encode()


def safe(cell: str) -> str:
    """Returns a cell that no spreadsheet takes for a formula: one that could be gets an apostrophe before it.

    >>> safe("=1+1"), safe("1+1")
    ("'=1+1", '1+1')
    """
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def in_log(row: Row) -> dict[str, str | None]:
    """Returns the columns of the log outside the event."""
    return {
        "index": str(row.index),
        "occurred_at": in_utc(row.occurred_at),
        "recorded_at": in_utc(row.recorded_at),
        "persisted_at": in_utc(row.persisted_at),
        "conflicts_with": None if row.conflicts_with is None else str(row.conflicts_with),
        "leaf_hash": None if row.leaf_hash is None else row.leaf_hash.hex(),
    }


def in_utc(moment: datetime) -> str:
    """Returns a time as 2026-03-01T12:00:00.000000Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
