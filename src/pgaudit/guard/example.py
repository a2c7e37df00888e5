"""An example of the event that a captured table gives, made of its columns: no row is read."""

from typing import Any, Final

from psycopg.rows import tuple_row

from pgaudit._driver import fetch, reading
from pgaudit.guard.tables import WatchedTable

MASK: Final = "***"
SHOWN: Final = 4  # changes
COLUMNS: Final = """
    SELECT attname::text, typcategory::text, format_type(atttypid, atttypmod)
      FROM pg_catalog.pg_attribute a
      JOIN pg_catalog.pg_class c ON c.oid = attrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
      JOIN pg_catalog.pg_type t ON t.oid = atttypid
     WHERE nspname || '.' || relname = %s AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'
     ORDER BY attnum
"""
# A value before and after a change, for each category of types.
OF_CATEGORY: Final[dict[str, tuple[object, object]]] = {
    "B": (False, True),
    "N": (1, 2),
    "D": ("2026-01-31T09:30:00+00:00", "2026-02-01T12:00:00+00:00"),
    "A": ([], ["a"]),
    "R": ("[1,3)", "[1,4)"),
}
OF_TYPE: Final[dict[str, tuple[object, object]]] = {
    "date": ("2026-01-31", "2026-02-01"),
    "json": ({}, {"a": 1}),
    "jsonb": ({}, {"a": 1}),
    "bytea": ("\\x00", "\\x01"),
    "uuid": ("019a1b6e-7a2c-7000-8000-000000000001", "019a1b6e-7a2c-7000-8000-000000000002"),
}


def example_event(conn: object, table: WatchedTable) -> dict[str, Any]:
    """Returns what an UPDATE would record, without the parts that every event has. For readers."""
    columns = fetch(reading(conn), tuple_row, COLUMNS, [table.table])
    recorded = [
        column
        for column in columns
        if column[0] not in {*table.key, *table.exclude} and (table.columns is None or column[0] in table.columns)
    ]
    changes = [
        {"path": name, "before": before, "after": after}
        for name, category, kind in recorded[:SHOWN]
        for before, after in [(MASK, MASK) if name in table.mask else values_of(category, kind)]
    ]
    return {
        "action": f"{table.action}.updated",
        "targets": [{"type": table.target, "id": ",".join("7" for _ in table.key)}],
        "actor": {"type": "db_user", "id": "claims_app"},
        "changes": changes,
    }


def values_of(category: str, kind: str) -> tuple[object, object]:
    """Returns a value of a type before and after a change."""
    return OF_TYPE.get(kind) or OF_CATEGORY.get(category) or ("a", "b")
