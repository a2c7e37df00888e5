"""Mistakes of the owner must not lose an event, or open the log to other roles."""

import psycopg
import pytest
from psycopg import errors

from pgaudit import AuditEvent, AuditLog, Settings, migrate
from pgaudit.grants import grant
from tests.support.roles import temporary_roles

RELATIONS = """
    SELECT oid::regclass::text FROM pg_class
     WHERE relkind IN ('r', 'p', 'v') AND relnamespace = 'pgaudit'::regnamespace
"""


@pytest.fixture
def queued(conn: psycopg.Connection, settings: Settings) -> psycopg.Connection:
    """A connection to a queue with one event."""
    AuditLog(settings).record(conn, AuditEvent(action="claim.approved"))
    conn.commit()
    return conn


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pgaudit.procrastinate_cancel_job_v1(id, false, false) FROM pgaudit.audit_jobs",
        "SELECT pgaudit.procrastinate_cancel_job_v1(id, true, false) FROM pgaudit.audit_jobs",
        "UPDATE pgaudit.procrastinate_jobs SET status = 'succeeded'",
        "UPDATE pgaudit.audit_jobs SET status = 'aborted'",
        "UPDATE pgaudit.audit_jobs SET queue_name = 'elsewhere'",
        "UPDATE pgaudit.audit_jobs SET task_name = 'elsewhere'",
    ],
)
def test_owner_cannot_cancel_finish_or_move_a_job(queued: psycopg.Connection, statement: str) -> None:
    """A job that was cancelled, finished or moved by hand would never be persisted, so each of these is refused."""
    with pytest.raises(errors.InsufficientPrivilege, match="its queue and task are fixed"):
        queued.execute(statement)


@pytest.mark.parametrize("when", ["now() + interval '26 hours'", "'infinity'"])
def test_owner_cannot_park_a_job(queued: psycopg.Connection, when: str) -> None:
    """A job cannot be scheduled further ahead than any retry is."""
    with pytest.raises(errors.InsufficientPrivilege, match="must not wait"):
        queued.execute(f"UPDATE pgaudit.audit_jobs SET scheduled_at = {when}")


@pytest.mark.parametrize("table", ["audit_jobs", "procrastinate_jobs"])
def test_an_old_snapshot_truncates_nothing(dsn: str, queued: psycopg.Connection, table: str) -> None:
    """TRUNCATE fails in a transaction whose snapshot does not see the latest jobs."""
    with psycopg.connect(dsn) as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("SELECT FROM pgaudit.batch")
        with pytest.raises(errors.InsufficientPrivilege):
            old.execute(f"TRUNCATE pgaudit.{table} CASCADE")
    assert queued.execute("SELECT count(*) FROM pgaudit.audit_jobs").fetchone() == (1,)


def test_default_privileges_open_nothing(empty_dsn: str) -> None:
    """Default privileges of the owner give no right to any table or function of the schema."""
    with temporary_roles(empty_dsn, "t_other"), psycopg.connect(empty_dsn, autocommit=True) as owner:
        owner.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO t_other")
        owner.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO t_other")
        migrate.upgrade(empty_dsn)
        owner.execute("SELECT pgaudit.create_partition(30000000)")
        grant(owner, writer="t_other")
        tables = owner.execute(RELATIONS).fetchall()
        with psycopg.connect(empty_dsn, user="t_other", autocommit=True) as other:
            with other.transaction():
                AuditLog(Settings(dsn=empty_dsn)).record(other, AuditEvent(action="claim.approved"))
            for statement in (
                *(f"SELECT FROM {table}" for (table,) in tables),
                "SELECT pgaudit.persist(NULL, NULL, 1)",
            ):
                with pytest.raises(errors.InsufficientPrivilege):
                    other.execute(statement.encode())
