"""Migrating: everything or nothing, once, whoever runs it."""

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
    """The first installs everything; the second finds the schema current and leaves it as it is."""
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


def test_processes_at_once_migrate_once(empty_dsn: str, dsn: str, empty: psycopg.Connection[Any]) -> None:
    """Four start together, as four replicas of an application do: one applies, the others wait, none fails."""
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
    """A function that differs from the installed one makes the schema behind."""
    (next_version.directory / "versions" / "0002_note.py").unlink()
    assert standing(state_of(conn), next_version) is Standing.BEHIND
    conn.rollback()
    assert migrate.upgrade(dsn, scripts=next_version).after == next_version.state
    assert "as of the next version" in str(conn.execute(BODY).fetchone())


def test_the_same_version_with_other_code_is_behind(conn: psycopg.Connection[Any], next_version: Scripts) -> None:
    """Before a release the version says little: the checksum decides."""
    (next_version.directory / "versions" / "0002_note.py").unlink()
    same = replace(next_version, version=SCRIPTS.release)
    assert standing(state_of(conn), same) is Standing.BEHIND


@pytest.mark.parametrize("revision", [True, False])
def test_a_newer_schema_is_left_alone(
    dsn: str, conn: psycopg.Connection[Any], next_version: Scripts, *, revision: bool
) -> None:
    """Whether a newer version has added a revision or only changed functions: the older one changes nothing."""
    if not revision:
        (next_version.directory / "versions" / "0002_note.py").unlink()
    migrate.upgrade(dsn, scripts=next_version)
    before = catalog(conn)
    conn.rollback()
    result = migrate.upgrade(dsn)
    assert result.found == Standing.AHEAD
    assert result.after == next_version.state
    assert catalog(conn) == before


def test_repair_replaces_what_somebody_has_changed(dsn: str, conn: psycopg.Connection[Any]) -> None:
    """Without --repair the checksum says that nothing is to be done."""
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
    """Not as text."""
    assert state.order(older) < state.order(newer)


def test_the_name_of_each_revision_begins_with_its_number() -> None:
    """schema.Scripts reads them without Alembic."""
    for path in (state.MIGRATIONS / "versions").glob("*.py"):
        assert f'revision = "{path.name.partition("_")[0]}"' in path.read_text()


def test_the_client_encoding_of_the_environment_does_not_matter(
    empty_dsn: str, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts are sent as UTF-8."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    migrate.upgrade(empty_dsn)
    monkeypatch.delenv("PGCLIENTENCODING")
    with psycopg.connect(dsn) as template, psycopg.connect(empty_dsn) as migrated:
        assert catalog(migrated) == catalog(template)


def test_defaults_of_the_role_do_not_matter(owner: str, empty: psycopg.Connection[Any]) -> None:
    """Such as serializable transactions, a search_path, or a short statement_timeout."""
    for setting in ("default_transaction_isolation = serializable", "statement_timeout = 150", "search_path = nowhere"):
        empty.execute(f"ALTER ROLE t_owner SET {setting}")
    migrate.upgrade(owner)
    assert empty.execute(SCHEMAS).fetchone() == (1,)


def test_a_superuser_as_owner_is_named(empty_dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """Functions with the owner's rights would run with a superuser's."""
    migrate.upgrade(empty_dsn)
    assert "The owner of the schema pgaudit, postgres, is a superuser" in caplog.text


def test_a_plain_owner_is_not_warned(owner: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged."""
    migrate.upgrade(owner)
    assert not caplog.records


def test_bypassrls_of_the_owner_is_named(
    owner: str, empty: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It is nearly as much."""
    empty.execute("ALTER ROLE t_owner BYPASSRLS")
    migrate.upgrade(owner)
    assert "t_owner, is exempt from row security (BYPASSRLS)" in caplog.text


def test_alembic_needs_no_environment() -> None:
    """Nothing of Alembic's global state is set up: env.py and its template are gone."""
    assert not list(Path(state.MIGRATIONS).glob("*.py"))
