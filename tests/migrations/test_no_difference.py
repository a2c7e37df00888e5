"""The fingerprint: what is no difference, what a comparison costs, and repair."""

import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import grants, migrate
from pgaudit._schema import fingerprint
from pgaudit._schema.fingerprint.catalog import OBJECTS
from pgaudit._schema.state import Standing, standing, state_of
from pgaudit.testing import programs
from tests.support.partitions import add_partitions
from tests.support.roles import temporary_roles

EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "


HARMLESS = [
    "ALTER TABLE pgaudit.audit_log ADD COLUMN claim text GENERATED ALWAYS AS (event->>'claim') STORED",
    "CREATE INDEX by_outcome ON pgaudit.audit_log (outcome)",
    "CREATE TABLE pgaudit.notes (note text)",
    "ALTER TABLE pgaudit.audit_jobs SET (fillfactor = 80)",
    "GRANT SELECT ON pgaudit.audit_log TO t_stranger",
    "SET search_path = pgaudit; SET quote_all_identifiers = on; SET IntervalStyle = iso_8601",
]


@pytest.mark.parametrize("change", HARMLESS)
def test_additions_of_a_dba_are_no_difference(stranger: psycopg.Connection[Any], change: str) -> None:
    """A DBA may add columns, indexes, tables, storage parameters and readers; session settings do not matter."""
    stranger.execute(change)
    assert fingerprint.differences(stranger) == []


def test_a_role_without_rights_can_compare(dsn: str) -> None:
    """Reading the catalog needs no right to the schema."""
    with temporary_roles(dsn, "t_other"), psycopg.connect(make_conninfo(dsn, user="t_other")) as conn:
        assert fingerprint.differences(conn) == []
        assert conn.execute("SHOW search_path").fetchone() == ('"$user", public',)


def test_grants_of_pgaudit_are_no_difference(stranger: psycopg.Connection[Any]) -> None:
    """pgaudit grant gives no right that counts as a difference."""
    role = "t_stranger"
    grants.grant(stranger, writer=role, inline=role, worker=role, operator=role, reader=role)
    assert fingerprint.differences(stranger) == []


def test_a_comparison_reads_few_blocks_for_each_partition(conn: psycopg.Connection[Any]) -> None:
    """Health compares regularly: 198 more partitions cost less than 50 blocks each (33 were measured)."""
    few = blocks_of_a_comparison(conn)
    add_partitions(conn, 200)
    assert fingerprint.differences(conn) == []
    assert blocks_of_a_comparison(conn) - few < 198 * 50


def blocks_of_a_comparison(conn: psycopg.Connection[Any]) -> int:
    """Returns the blocks that reading the catalog takes from a warm cache."""
    for _ in range(2):
        (plans,) = conn.execute(EXPLAIN + OBJECTS).fetchone() or ([],)
    return int(plans[0]["Plan"]["Shared Hit Blocks"])


def test_a_restored_dump_is_no_difference(dsn: str, empty_dsn: str, tmp_path: Path) -> None:
    """pg_dump and psql restore triggers, rights and definitions."""
    with psycopg.connect(dsn) as conn:
        add_partitions(conn, 2)
    dump = str(tmp_path / "dump.sql")
    for program, *arguments in (["pg_dump", "-d", dsn, "-f", dump], ["psql", "-X", "-q", "-d", empty_dsn, "-f", dump]):
        command = [str(programs.directory() / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    with psycopg.connect(empty_dsn) as restored:
        assert fingerprint.differences(restored) == []
        assert standing(state_of(restored)) is Standing.CURRENT


def test_repair_removes_the_differences_of_code(dsn: str, conn: psycopg.Connection[Any]) -> None:
    """--repair replaces functions and views that were changed or dropped."""
    conn.execute("CREATE OR REPLACE VIEW pgaudit.log_head AS SELECT 0::bigint AS size")
    conn.execute("ALTER FUNCTION pgaudit.record RESET ALL")
    conn.execute("DROP FUNCTION pgaudit.heartbeat")
    conn.commit()
    assert len(fingerprint.differences(conn)) == 3
    migrate.upgrade(dsn, repair=True)
    assert fingerprint.differences(conn) == []
