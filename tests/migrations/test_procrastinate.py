"""Procrastinate's tables: ours are theirs but for what we change on purpose."""

import importlib.metadata
from collections.abc import Iterator

import psycopg
import pytest
from procrastinate.schema import SchemaManager, migrations_path

from pgaudit import migrate
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.migrations.catalog import Catalog, catalog


@pytest.fixture
def stock(server: Server) -> Iterator[Catalog]:
    """Procrastinate's own schema.sql, in a database of its own."""
    with fresh_database(server, template="template1") as database:
        with psycopg.connect(database.dsn, autocommit=True) as conn:
            conn.execute("CREATE SCHEMA pgaudit")
            conn.execute("SET search_path = pgaudit")
            conn.execute(SchemaManager.get_schema().encode())
            made = catalog(conn)
        yield made


def without_alembic(found: Catalog) -> Catalog:
    """Alembic's version table does not count."""
    return {kind: [row for row in rows if "alembic_version" not in row] for kind, rows in found.items()}


def test_the_first_revision_is_procrastinates_schema(empty_dsn: str, stock: Catalog) -> None:
    """Its migrations, applied one by one, end where its schema.sql does: nothing of theirs is missing or older."""
    migrate.upgrade(empty_dsn, "0001")
    with psycopg.connect(empty_dsn) as conn:
        ours = without_alembic(catalog(conn))
    for kind, rows in stock.items():
        assert ours[kind] == rows, kind


def test_every_file_of_the_installed_version_is_applied() -> None:
    """A newer Procrastinate with more migrations than the revision names has to be looked at."""
    revision = (migrate.MIGRATIONS / "versions" / "0001_procrastinate.py").read_text()
    last = max(path.name for path in migrations_path.glob("*.sql"))
    assert f'LAST = "{last}"' in revision, importlib.metadata.version("procrastinate")


def test_only_what_is_said_is_changed(dsn: str, stock: Catalog) -> None:
    """Columns and enums are untouched; foreign keys, a trigger and an index are gone, a check is not inherited."""
    with psycopg.connect(dsn) as conn:
        ours = catalog(conn)
    assert set(stock["columns"]) <= set(ours["columns"])
    assert stock["enums"] == ours["enums"]
    gone = {name_in(row) for row in set(stock["constraints"]) - set(ours["constraints"])}
    assert gone == {
        "procrastinate_jobs_worker_id_fkey",
        "procrastinate_events_job_id_fkey",
        "procrastinate_periodic_defers_job_id_fkey",
        "check_not_todo_abort_requested",
    }
    gone = {name_in(row) for row in stock["triggers"]} - {name_in(row) for row in ours["triggers"]}
    assert gone == {"procrastinate_trigger_delete_jobs_v1"}
    gone = {name_in(row) for row in stock["indexes"]} - {name_in(row) for row in ours["indexes"]}
    assert gone == {"procrastinate_jobs_queue_name_idx_v1"}


def name_in(row: str) -> str:
    """The name of an index, constraint or trigger: second to its table's."""
    return row.split("'")[3]


def test_every_function_is_pinned_and_closed(dsn: str) -> None:
    """search_path is ours whoever calls, and nobody may call who was not granted it."""
    query = """SELECT proname, proconfig, has_function_privilege('public', oid, 'EXECUTE') FROM pg_proc
                WHERE pronamespace = 'pgaudit'::regnamespace ORDER BY 1"""
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE ROLE nobody_in_particular")
        rows = conn.execute(query.replace("'public'", "'nobody_in_particular'")).fetchall()
        conn.rollback()
    assert [name for name, _, public in rows if public] == []
    # Inlined into their callers, which are pinned; what they name is named with its schema.
    unpinned = {name for name, config, _ in rows if "search_path=pgaudit, pg_temp" not in (config or [])}
    assert unpinned == {"content_of", "entries", "entry", "is_infrastructure", "lag_bounds", "leaf_hash", "stamped"}
