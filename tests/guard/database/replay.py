"""Rebuilds a table from the events of its changes alone."""

import json
from decimal import Decimal
from typing import Any, Final, LiteralString

from tests.support.queries import Connection

Row = dict[str, Any]
# All that the text of a value depends on, as the functions of captured tables have it.
SETTINGS: Final[LiteralString] = """
    SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres';
    SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL lc_monetary = 'C'
"""
EVENTS: Final[LiteralString] = """
    SELECT event::text FROM pgaudit.audit_jobs WHERE event->>'action' LIKE %s ORDER BY id
"""


def exact(text: str) -> Any:
    """Returns a JSON value; a number as its digits."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def captured(conn: Connection, action: str = "claim.%") -> list[dict[str, Any]]:
    """Returns the captured events of a table, in the order in which they were recorded."""
    return [exact(text) for (text,) in conn.execute(EVENTS, [action]).fetchall()]


def replayed(events: list[dict[str, Any]]) -> dict[str, Row]:
    """Returns the rows by their keys that result from the events, without columns that are NULL."""
    rows: dict[str, Row] = {}
    for event in events:
        verb = event["action"].rpartition(".")[2]
        changes = {change["path"]: change for change in event.get("changes", [])}
        keys = [target["id"] for target in event["targets"]]
        if verb == "truncated":
            rows.clear()
        elif verb == "created":
            assert keys[0] not in rows
            rows[keys[0]] = {path: change["after"] for path, change in changes.items() if change["after"] is not None}
        else:
            row = rows.pop(keys[0])
            before = {path: change["before"] for path, change in changes.items() if change["before"] is not None}
            known = {path: row.get(path) for path in before} if verb == "updated" else row
            assert before == known, {path: (before.get(path), known.get(path)) for path in {*before, *known}}
            if verb == "updated":
                row |= {path: change["after"] for path, change in changes.items()}
                rows[keys[-1]] = {path: value for path, value in row.items() if value is not None}
    return rows


def actual(
    conn: Connection, query: LiteralString = "SELECT id::text, to_jsonb(t)::text FROM claims t"
) -> dict[str, Row]:
    """Returns the rows of the table by their keys, without columns that are NULL."""
    with conn.transaction():
        conn.execute(SETTINGS)
        found = conn.execute(query).fetchall()
    return {key: {path: value for path, value in exact(row).items() if value is not None} for key, row in found}


def assert_replayed(conn: Connection) -> None:
    """Asserts that the events of the changes lead to exactly the rows of the table."""
    expected, rebuilt = actual(conn), replayed(captured(conn))
    different = {
        (key, path): (rebuilt.get(key, {}).get(path), expected.get(key, {}).get(path))
        for key in expected.keys() | rebuilt.keys()
        for path in {*expected.get(key, {}), *rebuilt.get(key, {})}
        if rebuilt.get(key, {}).get(path) != expected.get(key, {}).get(path)
    }
    assert not different
    assert rebuilt.keys() == expected.keys()
