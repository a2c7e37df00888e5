"""Dump and restore: the trail continues in another database, and health reports triggers that a restore weakened."""

import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from pgaudit import health, migrate
from pgaudit._schema import fingerprint
from pgaudit.health import Status
from pgaudit.testing import programs
from tests.support.audit_log import assert_dense, logged_ids
from tests.support.events import event, events
from tests.support.jobs import persist_and_commit, queued_ids, record_and_commit, record_persist_and_commit
from tests.support.queries import value

FORMATS = {
    "plain": (("pg_dump",), ("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f")),
    "custom": (("pg_dump", "-Fc"), ("pg_restore", "--exit-on-error", "-j2")),
}
WEAK = """
    SELECT count(*) FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
     WHERE relnamespace = 'pgaudit'::regnamespace AND tgname ~ '^(append_only|reject_|check_)' AND tgenabled <> 'A'
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of PostgreSQL, which must succeed."""
    command = [str(programs.directory() / program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def dump(tmp_path: Path) -> str:
    """The path of a dump, which does not exist yet."""
    return str(tmp_path / "dump")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_restored_trail_goes_on_where_it_ended(
    dsn: str, conn: psycopg.Connection[Any], empty_dsn: str, dump: str, kind: str
) -> None:
    """Log, queue and triggers are restored unchanged, and waiting events are appended behind the last index."""
    assert record_persist_and_commit(conn, *events(20)) == []
    record_and_commit(conn, *(waiting := events(5)))
    before = logged_ids(conn)
    (dumping, restoring) = FORMATS[kind]
    for command in ((*dumping, "-d", dsn, "-f", dump), (restoring[0], "-d", empty_dsn, *restoring[1:], dump)):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    with psycopg.connect(empty_dsn) as restored:
        assert fingerprint.differences(restored) == []
        assert queued_ids(restored) == [each.id for each in waiting]
        assert persist_and_commit(restored) == []
        assert record_persist_and_commit(restored, last := event(9)) == []
        assert logged_ids(restored) == [*before, *(each.id for each in waiting), last.id]
        assert_dense(restored)
        with pytest.raises(InsufficientPrivilege, match="append-only"):
            restored.execute("DELETE FROM pgaudit.audit_log")


def test_guards_that_a_restore_of_data_has_weakened_are_named_with_their_remedy(
    dsn: str, conn: psycopg.Connection[Any], empty_dsn: str, dump: str
) -> None:
    """pg_restore --disable-triggers leaves triggers that a replica would skip: health names each with its remedy."""
    assert record_persist_and_commit(conn, *events(3)) == []
    assert run("pg_dump", "-Fc", "-d", dsn, "-f", dump).returncode == 0
    migrate.upgrade(empty_dsn)
    done = run("pg_restore", "--data-only", "--disable-triggers", "-d", empty_dsn, dump)
    assert "append-only" not in done.stderr
    with psycopg.connect(empty_dsn, autocommit=True) as restored:
        assert len(logged_ids(restored)) == 3
        weakened = value(restored, WEAK)
        found = fingerprint.differences(restored)
        assert len(found) == weakened > 20
        (unchanged,) = [check for check in health.check(restored).checks if check.name == "schema_unchanged"]
        assert (unchanged.status, unchanged.observed) == (Status.DEGRADED, weakened)
        for difference in found:
            restored.execute(difference.split("expected ALWAYS: ")[1].encode())
        assert fingerprint.differences(restored) == []
        restored.execute("SET session_replication_role = replica")
        with pytest.raises(InsufficientPrivilege, match="append-only"):
            restored.execute("DELETE FROM pgaudit.audit_log")
