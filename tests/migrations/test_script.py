"""Scripts for a DBA: run with psql, they do what the command does."""

from typing import Any

import psycopg
import pytest

from pgaudit import AuditLog, Settings, grants, migrate
from pgaudit._schema.state import SCRIPTS, Scripts, state_of
from pgaudit.errors import MigrationRefused
from tests.support.catalog import catalog
from tests.support.events import event
from tests.support.psql import Psql

JOBS = "SELECT count(*) FROM pgaudit.procrastinate_jobs"


def test_the_installation_gives_the_same_schema(
    dsn: str, empty_dsn: str, empty: psycopg.Connection[Any], psql: Psql
) -> None:
    """The script makes the same objects with the same rights and comments, and prints nothing."""
    ran = psql(empty_dsn, migrate.sql())
    assert ran.returncode == 0
    assert ran.stdout == ""
    assert ran.stderr == ""
    with psycopg.connect(dsn) as template:
        assert catalog(empty) == catalog(template)
    assert state_of(empty) == SCRIPTS.state


def test_the_encoding_of_the_terminal_does_not_matter(
    dsn: str, empty_dsn: str, psql: Psql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text beyond ASCII is the same under any PGCLIENTENCODING."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    assert psql(empty_dsn, migrate.sql()).returncode == 0
    monkeypatch.delenv("PGCLIENTENCODING")
    with psycopg.connect(empty_dsn) as migrated, psycopg.connect(dsn) as template:
        assert catalog(migrated) == catalog(template)


def test_the_installation_run_twice_stops_and_changes_nothing(
    dsn: str, conn: psycopg.Connection[Any], psql: Psql, settings: Settings
) -> None:
    """The second run ends with a sentence that says how to upgrade."""
    AuditLog(settings).record(conn, event())
    conn.commit()
    before = catalog(conn)
    conn.commit()
    ran = psql(dsn, migrate.sql())
    assert ran.returncode != 0
    assert "pgaudit is installed already: for an upgrade use pgaudit migrate --sql --from REVISION" in ran.stderr
    assert catalog(conn) == before
    assert conn.execute(JOBS).fetchone() == (1,)


def test_the_upgrade_gives_the_same_schema(
    owner: str, empty: psycopg.Connection[Any], dsn: str, psql: Psql, next_version: Scripts
) -> None:
    """The upgrade script applies revisions and code, and keeps the rights of granted roles."""
    migrate.upgrade(owner)
    with psycopg.connect(owner) as conn:
        grants.grant(conn, writer="t_app", worker="t_worker", reader="t_reader")
    before = empty.execute("SELECT relname, relacl::text FROM pg_class WHERE relname = 'audit_log'").fetchall()
    ran = psql(owner, migrate.sql("0001", next_version))
    assert ran.returncode == 0
    assert ran.stdout == ""
    assert ran.stderr == ""
    migrate.upgrade(dsn, scripts=next_version)
    with psycopg.connect(dsn) as template:
        assert catalog(empty) | {"rights": []} == catalog(template) | {"rights": []}
    assert empty.execute("SELECT relname, relacl::text FROM pg_class WHERE relname = 'audit_log'").fetchall() == before
    again = psql(owner, migrate.sql("0001", next_version))
    assert again.returncode != 0
    assert "this script upgrades revision 0001, the database has revision 0002" in again.stderr


def test_an_upgrade_of_code_alone(dsn: str, conn: psycopg.Connection[Any], psql: Psql, next_version: Scripts) -> None:
    """From the newest revision, the script has functions and views only."""
    (next_version.directory / "versions" / "0002_note.py").unlink()
    script = migrate.sql("0001", next_version)
    assert "CREATE TABLE pgaudit." not in script
    assert psql(dsn, script).returncode == 0
    assert state_of(conn) == next_version.state


def test_an_upgrade_where_nothing_is_installed_stops(
    empty_dsn: str, empty: psycopg.Connection[Any], psql: Psql
) -> None:
    """The script fails and leaves no schema behind."""
    assert psql(empty_dsn, migrate.sql("0001")).returncode != 0
    assert empty.execute("SELECT to_regnamespace('pgaudit')").fetchone() == (None,)


def test_the_script_refuses_with_the_same_sentence(owner: str, psql: Psql, empty: psycopg.Connection[Any]) -> None:
    """The script's error is the one of the command."""
    empty.execute("CREATE SCHEMA pgaudit")
    ran = psql(owner, migrate.sql())
    assert ran.returncode != 0
    assert "the schema pgaudit belongs to postgres, not to t_owner" in ran.stderr


def test_one_line_is_for_psql_only() -> None:
    r"""\set ON_ERROR_STOP: other clients stop at an error by themselves."""
    assert [line for line in migrate.sql().splitlines() if line.startswith("\\")] == ["\\set ON_ERROR_STOP on"]


def test_an_unknown_revision_is_refused() -> None:
    """The error lists the known revisions."""
    with pytest.raises(MigrationRefused, match="there is no revision 0815: choose one of 0001"):
        migrate.sql("0815")
