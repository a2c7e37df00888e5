"""Migrating: completely or not at all, and once."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import migrate
from pgaudit._schema import state
from pgaudit._schema.state import SCRIPTS, Scripts, Standing, State, standing, state_of
from tests.support.catalog import catalog

SCHEMAS = "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgaudit'"
BODY = "SELECT prosrc FROM pg_proc WHERE proname = 'schema_state'"


def test_the_second_migration_does_nothing(empty_dsn: str, empty: psycopg.Connection[Any]) -> None:
    """The first migration installs everything; the second one finds the schema current."""
    assert migrate.current(empty_dsn) is None
    first = migrate.upgrade(empty_dsn)
    assert first.found == Standing.MISSING
    assert first.before == State()
    assert first.after == SCRIPTS.state
    assert migrate.current(empty_dsn) == migrate.newest() == state.NEWEST
    installed = catalog(empty)
    assert migrate.upgrade(empty_dsn).found is Standing.CURRENT
    assert catalog(empty) == installed


def test_a_migration_that_fails_leaves_nothing(
    empty_dsn: str, empty: psycopg.Connection[Any], next_version: Scripts
) -> None:
    """Schema, revisions and code are one transaction."""
    (next_version.directory / "code" / "98_broken.sql").write_text("SELECT pgaudit.no_such_function();")
    with pytest.raises(psycopg.errors.UndefinedFunction):
        migrate.upgrade(empty_dsn, scripts=next_version)
    assert empty.execute(SCHEMAS).fetchone() == (0,)


def test_concurrent_processes_migrate_once(empty_dsn: str, dsn: str, empty: psycopg.Connection[Any]) -> None:
    """Of four processes that start together one migrates, the others wait, and none fails."""
    command = [sys.executable, "-c", f"from pgaudit import migrate; migrate.upgrade({empty_dsn!r})"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], errors
    with psycopg.connect(dsn) as template:
        assert catalog(empty) == catalog(template)
    assert empty.execute("SELECT version_num FROM pgaudit.alembic_version").fetchall() == [(state.NEWEST,)]
    assert empty.execute("SELECT count(*) FROM pgaudit.schema_code").fetchone() == (1,)


def test_changed_code_is_applied_without_a_revision(
    dsn: str, conn: psycopg.Connection[Any], next_version: Scripts
) -> None:
    """A function that differs from the installed one is replaced without a revision."""
    (next_version.directory / "versions" / "0002_note.py").unlink()
    assert standing(state_of(conn), next_version) is Standing.BEHIND
    conn.rollback()
    assert migrate.upgrade(dsn, scripts=next_version).after == next_version.state
    assert "as of the next version" in str(conn.execute(BODY).fetchone())


def test_the_same_version_with_other_code_is_behind(conn: psycopg.Connection[Any], next_version: Scripts) -> None:
    """Before a release the checksum decides, because the version stays the same."""
    (next_version.directory / "versions" / "0002_note.py").unlink()
    same = replace(next_version, version=SCRIPTS.release)
    assert standing(state_of(conn), same) is Standing.BEHIND


@pytest.mark.parametrize("revision", [True, False])
def test_a_newer_schema_is_left_alone(
    dsn: str, conn: psycopg.Connection[Any], next_version: Scripts, *, revision: bool
) -> None:
    """An older version changes nothing in a schema with a newer revision or newer functions."""
    if not revision:
        (next_version.directory / "versions" / "0002_note.py").unlink()
    migrate.upgrade(dsn, scripts=next_version)
    before = catalog(conn)
    conn.rollback()
    result = migrate.upgrade(dsn)
    assert result.found == Standing.AHEAD
    assert result.after == next_version.state
    assert catalog(conn) == before


def test_repair_replaces_changed_functions(dsn: str, conn: psycopg.Connection[Any]) -> None:
    """Without --repair nothing is done, because the checksum is the same."""
    before = catalog(conn)
    conn.execute("""CREATE OR REPLACE FUNCTION pgaudit.record(events jsonb) RETURNS void
                    LANGUAGE sql SECURITY DEFINER AS 'SELECT'""")
    conn.commit()
    migrate.upgrade(dsn)
    assert catalog(conn) != before
    conn.rollback()
    migrate.upgrade(dsn, repair=True)
    assert catalog(conn) == before


@pytest.mark.parametrize(
    ("older", "newer"), [("0.9", "0.10"), ("0.10rc1", "0.10"), ("0.10", "0.10.1"), ("1.0", "10.0")]
)
def test_versions_are_compared_by_their_numbers(older: str, newer: str) -> None:
    """0.10 is newer than 0.9."""
    assert state.order(older) < state.order(newer)


def test_the_name_of_each_revision_begins_with_its_number() -> None:
    """state.Scripts reads revisions from file names, without Alembic."""
    for path in (state.MIGRATIONS / "versions").glob("*.py"):
        assert f'revision = "{path.name.partition("_")[0]}"' in path.read_text()


def test_the_client_encoding_of_the_environment_does_not_matter(
    empty_dsn: str, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts are sent as UTF-8 whatever PGCLIENTENCODING is."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    migrate.upgrade(empty_dsn)
    monkeypatch.delenv("PGCLIENTENCODING")
    with psycopg.connect(dsn) as template, psycopg.connect(empty_dsn) as migrated:
        assert catalog(migrated) == catalog(template)


def test_defaults_of_the_role_do_not_matter(owner: str, empty: psycopg.Connection[Any]) -> None:
    """The owner may have serializable transactions, a search_path or a short statement_timeout by default."""
    for setting in ("default_transaction_isolation = serializable", "statement_timeout = 150", "search_path = nowhere"):
        empty.execute(f"ALTER ROLE t_owner SET {setting}")
    migrate.upgrade(owner)
    assert empty.execute(SCHEMAS).fetchone() == (1,)


def test_a_superuser_as_owner_is_named(empty_dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """A superuser as owner is logged, because functions with the owner's rights run as one."""
    migrate.upgrade(empty_dsn)
    assert "The owner of the schema pgaudit, postgres, is a superuser" in caplog.text


def test_a_plain_owner_is_not_logged(owner: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged about an owner without special rights."""
    migrate.upgrade(owner)
    assert not caplog.records


def test_bypassrls_of_the_owner_is_named(
    owner: str, empty: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """An owner with BYPASSRLS is logged."""
    empty.execute("ALTER ROLE t_owner BYPASSRLS")
    migrate.upgrade(owner)
    assert "t_owner, is exempt from row security (BYPASSRLS)" in caplog.text


def test_alembic_needs_no_environment() -> None:
    """The migrations have no env.py and no template of Alembic."""
    assert not list(Path(state.MIGRATIONS).glob("*.py"))
