"""Test databases: their trail can be emptied, and no other one's."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import InsufficientPrivilege

from pgaudit import AuditEvent, AuditLog, migrate
from pgaudit._schema import fingerprint
from pgaudit.testing import (
    NotATestDatabase,
    assert_nothing_recorded,
    assert_recorded,
    empty_trail,
    prepare_database,
    run_worker_once,
)
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server

Connection = psycopg.Connection[Any]
EVENT = AuditEvent(action="claim.approved", targets=("claim:7", "policy:3"))
KEPT = {"alembic_version", "log_lock", "queue_watermark", "schema_code", "sealing_state", "settings", "target_lock"}
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace AND relkind IN ('r', 'p')"
TRIGGERS = """
    SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger
     WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace) ORDER BY 1, 2
"""


@pytest.fixture
def stranger(conn: Connection, dsn: str) -> Iterator[str]:
    """The DSN of a role without any right to the schema."""
    conn.execute("CREATE ROLE t_tester LOGIN")
    conn.commit()
    yield make_conninfo(dsn, user="t_tester")
    conn.rollback()
    conn.execute("DROP ROLE t_tester")
    conn.commit()


def log_one_and_queue_one(conn: Connection) -> None:
    """Commits an event that is in the log, and another one that waits in the queue."""
    AuditLog().record(conn, EVENT)
    run_worker_once(conn)
    AuditLog().record(conn, AuditEvent(action="claim.paid"))
    conn.commit()


def filled_tables(conn: Connection) -> set[str]:
    """Returns the tables of the schema that have rows."""
    names = [name for (name,) in conn.execute(TABLES).fetchall()]
    exists = sql.SQL("SELECT EXISTS (SELECT FROM pgaudit.{})")
    return {name for name in names if conn.execute(exists.format(sql.Identifier(name))).fetchone() == (True,)}


def test_the_trail_begins_again(conn: Connection) -> None:
    """Log and queue are empty, and all that is kept beside them; the next event is the first one, and is persisted."""
    empty = filled_tables(conn)
    for _ in range(2):
        log_one_and_queue_one(conn)
        assert filled_tables(conn) > empty
        empty_trail(conn)
        assert_nothing_recorded(conn)
        assert filled_tables(conn) == empty == KEPT
    AuditLog().record(conn, EVENT)
    assert run_worker_once(conn) == 1
    assert conn.execute("SELECT index FROM pgaudit.audit_log").fetchall() == [(0,)]


def test_no_guard_is_weaker_afterwards(conn: Connection) -> None:
    """The triggers are enabled as they were, the schema is as production has it, and a TRUNCATE is rejected."""
    log_one_and_queue_one(conn)
    before = conn.execute(TRIGGERS).fetchall()
    empty_trail(conn)
    conn.commit()
    assert conn.execute(TRIGGERS).fetchall() == before
    assert fingerprint.differences(conn) == []
    with pytest.raises(InsufficientPrivilege, match="append-only"):
        conn.execute("TRUNCATE pgaudit.audit_log")


def test_a_rollback_brings_the_trail_back(conn: Connection) -> None:
    """Inside a transaction, emptying is a part of it."""
    log_one_and_queue_one(conn)
    conn.execute("SELECT")
    empty_trail(conn)
    conn.rollback()
    assert_recorded(conn, action="claim.approved")
    assert_recorded(conn, action="claim.paid")


def test_any_role_may_empty_a_test_database(conn: Connection, stranger: str) -> None:
    """A test connects as its application does."""
    log_one_and_queue_one(conn)
    with psycopg.connect(stranger) as other:
        empty_trail(other)
    assert_nothing_recorded(conn)


def test_workers_stay_registered(conn: Connection) -> None:
    """One that runs in a thread of the suite goes on."""
    conn.execute("SELECT FROM pgaudit.register_worker()")
    empty_trail(conn)
    assert conn.execute("SELECT count(*) FROM pgaudit.procrastinate_workers").fetchone() == (1,)


def test_no_other_database_can_be_emptied(empty_dsn: str) -> None:
    """A database that was migrated, and not made for tests, has no such function, even for its owner."""
    migrate.upgrade(empty_dsn)
    with psycopg.connect(empty_dsn) as conn:
        log_one_and_queue_one(conn)
        with pytest.raises(
            NotATestDatabase, match=r"is not a test database: .*pgaudit\.testing\.prepare_database\(dsn\)"
        ):
            empty_trail(conn)
        assert_recorded(conn, action="claim.approved")


def test_a_database_with_events_does_not_become_a_test_database(empty_dsn: str) -> None:
    """A slip in a DSN must not cost a trail."""
    migrate.upgrade(empty_dsn)
    with psycopg.connect(empty_dsn) as conn:
        log_one_and_queue_one(conn)
        with pytest.raises(NotATestDatabase, match=r"the audit trail of .* holds events"):
            prepare_database(empty_dsn)
        with pytest.raises(NotATestDatabase):
            empty_trail(conn)


def test_a_test_database_is_prepared_again(dsn: str, conn: Connection) -> None:
    """With the events of the last run in it: a suite keeps its database between runs."""
    log_one_and_queue_one(conn)
    prepare_database(dsn)
    empty_trail(conn)
    assert_nothing_recorded(conn)


def test_a_copy_of_a_test_database_is_one(server: Server, dsn: str) -> None:
    """Processes that run in parallel have a copy each."""
    original = str(conninfo_to_dict(dsn)["dbname"])
    with fresh_database(server, template=original) as copy, psycopg.connect(copy.dsn) as conn:
        log_one_and_queue_one(conn)
        empty_trail(conn)
        assert_nothing_recorded(conn)
