"""Which tables of the application are captured or guarded, which are neither, and what passed without an event.

>>> from pgaudit.guard import coverage
>>> uncovered = [table.name for table in coverage.report(conn).uncovered]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final

from psycopg.rows import class_row, scalar_row

from pgaudit._driver import fetch, reading

LATEST: Final = 100
TABLES: Final = """
    SELECT schema_name, table_name, capture, guard, on_missing, target_type, estimated_rows, changed_rows,
           last_event_at, unrecorded_changes, added_at
      FROM pgaudit.table_coverage ORDER BY schema_name, table_name
"""
UNRECORDED: Final = """
    SELECT found_at, coalesce(n.nspname || '.' || c.relname, u.relation::oid::text) AS "table", operation, count,
           targets, xid::text AS transaction, recorded_by AS role, application_name AS application
      FROM pgaudit.unrecorded_change u
      LEFT JOIN pg_class c ON c.oid = u.relation LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE found_at > clock_timestamp() - interval '1 day'
     ORDER BY found_at DESC, id DESC LIMIT %s
"""
TOTAL: Final = """
    SELECT coalesce(sum(count), 0)::bigint FROM pgaudit.unrecorded_change
     WHERE found_at > clock_timestamp() - interval '1 day'
"""


@dataclass(frozen=True, slots=True)
class TableCoverage:
    """A table of the application; its partitions are counted with it. A row of the view ``pgaudit.table_coverage``."""

    schema_name: str
    table_name: str
    capture: str | None
    """``captured``, ``paused``, ``broken`` (a trigger is missing or disabled); None without capture."""
    guard: str | None
    """``guarded``, ``paused`` or ``broken``; None without a guard."""
    on_missing: str | None
    target_type: str | None
    estimated_rows: int
    changed_rows: int
    """Inserted, updated and deleted since the statistics were reset."""
    last_event_at: datetime | None
    """When the newest event in the log was recorded that has an action of the table."""
    unrecorded_changes: int
    """Rows that were changed without an event in the last day."""
    added_at: datetime | None
    """When it was captured, or guarded if it is not captured; None with neither."""

    @property
    def name(self) -> str:
        """The name with its schema."""
        return f"{self.schema_name}.{self.table_name}"

    @property
    def is_captured(self) -> bool:
        """Whether its changes are captured now."""
        return self.capture == "captured"

    @property
    def is_guarded(self) -> bool:
        """Whether it is guarded now."""
        return self.guard == "guarded"

    @property
    def is_covered(self) -> bool:
        """Whether it is captured or guarded now."""
        return self.is_captured or self.is_guarded

    def matches(self, patterns: Sequence[str]) -> bool:
        """Returns whether its name, with or without the schema, matches one of the patterns, such as ``claim*``."""
        return any(fnmatchcase(name, pattern) for name in (self.name, self.table_name) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class UnrecordedChange:
    """What a transaction changed in a guarded table without an event; the guard has on_missing = warn."""

    found_at: datetime
    table: str
    operation: str
    count: int
    targets: list[str]
    """The first five of them."""
    transaction: str
    role: str
    application: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """The tables of the application, and what passed their guards without an event in the last day."""

    observed_at: datetime
    tables: list[TableCoverage]
    unrecorded_changes: int
    """Rows that were changed without an event in the last day."""
    latest: list[UnrecordedChange]
    """The latest of them, at most 100, the newest first."""

    @property
    def uncovered(self) -> list[TableCoverage]:
        """The tables that are neither captured nor guarded now."""
        return [table for table in self.tables if not table.is_covered]

    def silent(self, after: timedelta) -> list[TableCoverage]:
        """Returns the tables that are captured or guarded for that long, without an event in the log since then."""
        since = self.observed_at - after
        return [
            table
            for table in self.tables
            if table.is_covered and not any(at and at >= since for at in (table.last_event_at, table.added_at))
        ]


def report(conn: object) -> Coverage:
    """Returns which tables are captured or guarded, in the caller's transaction. For readers.

    :param conn: a connection as ``pgaudit.stats`` takes it.
    :raises UnknownConnection: there is no synchronous psycopg connection below it.
    """
    driver = reading(conn)
    (total,) = fetch(driver, scalar_row, TOTAL)
    return Coverage(
        datetime.now(UTC),
        fetch(driver, class_row(TableCoverage), TABLES),
        total,
        fetch(driver, class_row(UnrecordedChange), UNRECORDED, [LATEST]),
    )
