"""Procrastinate's tables: frozen in the first revision, and compared with the installed package."""

import importlib.metadata

import psycopg
import pytest
from procrastinate.schema import SchemaManager

from pgaudit._schema.state import MIGRATIONS
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.support.catalog import Catalog, catalog

FROZEN = MIGRATIONS / "versions" / "0001_initial" / "10_procrastinate.sql"
UNPINNED = """
    SELECT proname FROM pg_proc
     WHERE pronamespace = 'pgaudit'::regnamespace AND proname LIKE 'procrastinate%'
       AND proconfig IS DISTINCT FROM '{"search_path=pgaudit, pg_temp"}'
"""
PUBLIC = """
    SELECT proname FROM pg_proc
     WHERE pronamespace = 'pgaudit'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE')
"""


def made_by(server: Server, script: str) -> Catalog:
    """Returns what a script creates in an empty schema of an empty database."""
    with fresh_database(server, template="template1") as database, psycopg.connect(database.dsn) as conn:
        conn.execute("CREATE SCHEMA pgaudit")
        conn.execute("SET search_path = pgaudit")
        conn.execute(script.encode())
        return catalog(conn)


@pytest.fixture
def stock(server: Server) -> Catalog:
    """The schema of the installed package."""
    return made_by(server, SchemaManager.get_schema())


def test_the_frozen_schema_is_that_of_the_installed_package(server: Server, stock: Catalog) -> None:
    """If this fails, Procrastinate has a new schema: review each difference, and add a revision for what we need."""
    frozen = made_by(server, FROZEN.read_text())
    differences = [
        f"{sign} {kind}: {row}"
        for kind, rows in stock.items()
        for sign, found in (("-", set(frozen[kind]) - set(rows)), ("+", set(rows) - set(frozen[kind])))
        for row in found
    ]
    assert differences == [], f"Procrastinate {importlib.metadata.version('procrastinate')}"


def test_the_frozen_schema_is_ascii() -> None:
    """The frozen schema is ASCII, so that psql reads it under any client encoding."""
    assert FROZEN.read_bytes().isascii()


def test_our_tables_keep_procrastinates_columns_and_enums(dsn: str, stock: Catalog) -> None:
    """Columns and enums are unchanged; only one check is dropped."""
    with psycopg.connect(dsn) as conn:
        ours = catalog(conn)
    assert set(stock["columns"]) <= set(ours["columns"])
    assert stock["enums"] == ours["enums"]
    gone = {
        kind: {name_in(row) for row in set(stock[kind]) - set(ours[kind])}
        for kind in ("constraints", "triggers", "indexes")
    }
    assert gone == {"constraints": {"check_not_todo_abort_requested"}, "triggers": set(), "indexes": set()}


def name_in(row: str) -> str:
    """Returns the name of an index, constraint or trigger in a row of the catalog."""
    return row.split("'")[3]


def test_every_function_is_pinned_and_closed(dsn: str) -> None:
    """Procrastinate's functions have our search_path, and PUBLIC cannot execute them."""
    with psycopg.connect(dsn) as conn:
        assert conn.execute(UNPINNED).fetchall() == []
        assert conn.execute(PUBLIC).fetchall() == []
