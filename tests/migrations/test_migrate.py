"""Migrations: up, down and up again; once, whoever runs them; by Alembic or by hand."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory
from procrastinate.schema import migrations_path

from pgaudit import AuditLog, Settings, migrate, schema
from pgaudit.testing.server import BINARIES, VERSION
from tests.migrations.catalog import catalog
from tests.postgres.trail import event, persist
from tests.waiting import wait_until

SCHEMAS = "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgaudit'"


@pytest.fixture
def empty(empty_dsn: str) -> Any:
    """A connection to an empty database."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        yield conn


def test_up_twice_down_and_up_again(empty_dsn: str, empty: psycopg.Connection) -> None:
    """The second time does nothing; down leaves nothing at all; up again is the same as the first time."""
    assert migrate.current(empty_dsn) is None
    migrate.upgrade(empty_dsn)
    first = catalog(empty)
    assert migrate.current(empty_dsn) == migrate.newest() == schema.NEWEST
    migrate.upgrade(empty_dsn)
    assert catalog(empty) == first
    migrate.downgrade(empty_dsn)
    assert migrate.current(empty_dsn) is None
    assert empty.execute(SCHEMAS).fetchone() == (0,)
    migrate.upgrade(empty_dsn)
    assert catalog(empty) == first


def test_every_single_step_goes_down_and_up(empty_dsn: str, empty: psycopg.Connection) -> None:
    """A revision takes back what it did, no more and no less."""
    revisions = [revision.revision for revision in ScriptDirectory.from_config(migrate.config()).walk_revisions()][::-1]
    seen = []
    for revision in revisions:
        migrate.upgrade(empty_dsn, revision)
        seen.append(catalog(empty))
    for revision, before in list(zip(revisions, seen, strict=True))[-2::-1]:
        migrate.downgrade(empty_dsn, revision)
        # What was taken from PUBLIC is not given back.
        assert catalog(empty) | {"rights": []} == before | {"rights": []}, f"down to {revision}"


@pytest.mark.parametrize("files", [1, 4, 7, 20, 37])
def test_an_attempt_that_broke_off_is_made_good(
    empty_dsn: str, dsn: str, empty: psycopg.Connection, files: int
) -> None:
    """The first revision commits file by file; what an interrupted one has left does not stop the next."""
    empty.execute("CREATE SCHEMA pgaudit")
    empty.execute("SET search_path = pgaudit")
    for path in sorted(migrations_path.glob("*.sql"))[:files]:
        empty.execute(path.read_bytes())
    migrate.upgrade(empty_dsn)
    with psycopg.connect(dsn) as template:
        assert catalog(empty) == catalog(template)


@pytest.mark.parametrize("persisted", [False, True])
def test_a_trail_with_events_is_not_taken_down(empty_dsn: str, empty: psycopg.Connection, *, persisted: bool) -> None:
    """Whether they are in the queue or in the log; everything stays as it was."""
    migrate.upgrade(empty_dsn)
    with psycopg.connect(empty_dsn) as caller:
        AuditLog(Settings(dsn=empty_dsn)).record(caller, event())
    if persisted:
        persist(empty)
    before = catalog(empty)
    with pytest.raises(Exception, match="the audit trail is not empty"):
        migrate.downgrade(empty_dsn)
    assert catalog(empty) == before
    assert migrate.current(empty_dsn) == schema.NEWEST


def test_processes_at_once_migrate_once(empty_dsn: str, dsn: str, empty: psycopg.Connection) -> None:
    """Four start together, as four replicas of an application do: one applies, the others wait, none fails."""
    command = [sys.executable, "-c", f"from pgaudit import migrate; migrate.upgrade({empty_dsn!r})"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], errors
    with psycopg.connect(dsn) as template:
        assert catalog(empty) == catalog(template)
    assert empty.execute("SELECT version_num FROM pgaudit.alembic_version").fetchall() == [(schema.NEWEST,)]


def test_the_script_for_a_dba_gives_the_same(
    dsn: str, empty_dsn: str, empty: psycopg.Connection, tmp_path: Path
) -> None:
    """migrate --sql, run with psql, ends in the same schema."""
    script = migrate.sql()
    assert script.index("pg_advisory_lock") < script.index("CREATE SCHEMA")  # of several at once, one migrates
    (tmp_path / "migrations.sql").write_text(script)
    psql = [str(BINARIES[VERSION] / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", empty_dsn]
    result = subprocess.run(
        [*psql, "-f", str(tmp_path / "migrations.sql")], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    with psycopg.connect(dsn) as template:
        assert catalog(empty) == catalog(template)
    assert empty.execute("SELECT version_num FROM pgaudit.alembic_version").fetchall() == [(schema.NEWEST,)]


def test_the_script_for_a_dba_does_no_harm_when_it_is_run_again(
    dsn: str, conn: psycopg.Connection[Any], settings: Settings, tmp_path: Path
) -> None:
    """Psql stops at once, and what is queued and what guards the log is as it was."""
    AuditLog(settings).record(conn, event())
    conn.commit()
    before = catalog(conn)
    conn.commit()
    (tmp_path / "migrations.sql").write_text(migrate.sql())
    psql = [str(BINARIES[VERSION] / "psql"), "-X", "-q", "-d", dsn, "-f", str(tmp_path / "migrations.sql")]
    ran = subprocess.run(psql, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode != 0
    assert catalog(conn) == before
    assert conn.execute("SELECT count(*) FROM pgaudit.procrastinate_jobs").fetchone() == (1,)


HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"


def test_a_table_in_use_is_not_waited_for_for_ever(empty_dsn: str, empty: psycopg.Connection) -> None:
    """The session that migrates gives up on a lock after ten seconds: traffic queues up behind it."""
    with migrate.connection(empty_dsn) as conn:
        assert conn.exec_driver_sql("SHOW lock_timeout").scalar() == "10s"
        assert empty.execute(HELD).fetchone() == (1,)
        empty.rollback()
    wait_until(lambda: empty.execute(HELD).fetchone() == (0,))
