"""Granted roles: each has the rights for its part, and no others."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import dict_row

from pgaudit import AuditEvent, AuditLog, Settings, health, jobs, stats
from pgaudit.grants import grant
from pgaudit.jobs import pages as job_pages
from pgaudit.worker.procrastinate_app import AuditApp
from tests.support.jobs import insert_poison
from tests.support.roles import temporary_roles

ROLES = ("t_writer", "t_worker", "t_operator", "t_reader")
RELATIONS = """
    SELECT format('pgaudit.%I', relname), relkind FROM pg_class
     WHERE relnamespace = 'pgaudit'::regnamespace AND relkind IN ('r', 'p', 'v')
"""


@pytest.fixture
def granted(dsn: str) -> Iterator[str]:
    """The database with a writer, a worker, an operator and a reader."""
    with temporary_roles(dsn, *ROLES):
        for _ in range(2):
            with psycopg.connect(dsn) as conn:
                grant(conn, writer="t_writer", worker="t_worker", operator="t_operator", reader="t_reader")
        yield dsn


def connect_as(role: str, dsn: str) -> psycopg.Connection:
    """Returns a connection of that role, in autocommit."""
    return psycopg.connect(dsn, user=role, autocommit=True)


def relations(dsn: str) -> list[tuple[str, str]]:
    """Returns name and kind of each table and view of the schema."""
    with psycopg.connect(dsn) as conn:
        return conn.execute(RELATIONS).fetchall()


@contextmanager
def refused() -> Iterator[None]:
    """Fails unless the statement inside is refused because a right is missing."""
    with pytest.raises(InsufficientPrivilege):
        yield


def test_a_writer_records_and_does_nothing_else(granted: str) -> None:
    """A writer can execute pgaudit.record, and can read, write or truncate no table."""
    with connect_as("t_writer", granted) as conn:
        with conn.transaction():
            AuditLog(Settings(dsn=granted)).record(conn, AuditEvent(action="claim.approved"))
        for relation, kind in relations(granted):
            statements = [f"SELECT FROM {relation}"]
            if kind != "v":
                statements += [
                    f"INSERT INTO {relation} DEFAULT VALUES",
                    f"DELETE FROM {relation}",
                    f"TRUNCATE {relation}",
                ]
            for statement in statements:
                with refused():
                    conn.execute(statement)
        with refused():
            conn.execute("SELECT pgaudit.record_inline('[]')")
        with refused():
            conn.execute("SELECT pgaudit.persist(NULL, NULL, 10)")
        with refused():
            conn.execute("SELECT pgaudit.append(ARRAY[1], NULL)")
        with refused():
            conn.execute("SET session_replication_role = replica")
    with psycopg.connect(granted) as conn:
        assert conn.execute("SELECT count(*) FROM pgaudit.audit_jobs").fetchone() == (1,)


def test_a_writer_cannot_shadow_the_tables_of_record(granted: str) -> None:
    """Functions with the owner's rights do not use temporary tables of the caller with the same names."""
    with connect_as("t_writer", granted) as conn, conn.transaction():
        conn.execute("CREATE TEMPORARY TABLE audit_jobs (event jsonb, leaf_hash bytea, event_bytes integer)")
        AuditLog(Settings(dsn=granted)).record(conn, AuditEvent(action="claim.approved"))
        assert conn.execute("SELECT count(*) FROM pg_temp.audit_jobs").fetchone() == (0,)


@pytest.mark.anyio
async def test_a_worker_works_with_its_own_rights(granted: str) -> None:
    """A worker's rights are enough to run a worker; it reads the log for its streams, and changes nothing by hand."""
    with psycopg.connect(granted) as owner:
        AuditLog(Settings(dsn=granted)).record(owner, AuditEvent(action="claim.approved"))
        insert_poison(owner)
    settings = Settings(dsn=granted.replace("user=postgres", "user=t_worker"), job_attempts=1)
    app = AuditApp(settings)
    async with app.open_async():
        await app.run_worker_async(wait=False, install_signal_handlers=False)
    with connect_as("t_worker", granted) as conn:
        for statement in (
            "DELETE FROM pgaudit.audit_log",
            "UPDATE pgaudit.log_lock SET singleton = true",
            "DELETE FROM pgaudit.audit_jobs",
            "UPDATE pgaudit.audit_jobs SET event = '{}'",
            "SELECT pgaudit.acknowledge_job(1, 'a worker could let a job of its own fail, and give it up')",
        ):
            with refused():
                conn.execute(statement)
    with psycopg.connect(granted) as owner:
        (queue,) = stats.queue_stats(owner)
        assert queue.completed == 1
        assert queue.failed == 1
        assert queue.waiting == 0


def test_an_operator_retries_and_acknowledges_jobs_and_does_nothing_else(granted: str) -> None:
    """An operator sees the queue; it can run no worker, record nothing and read no log."""
    with psycopg.connect(granted) as owner:
        job = insert_poison(owner)
        owner.execute("UPDATE pgaudit.audit_jobs SET status = 'failed'")
    with connect_as("t_operator", granted) as conn:
        assert jobs.get_job(conn, job).job.state == "failed"
        assert jobs.retry_jobs(conn) == [job]
        with psycopg.connect(granted) as owner:
            owner.execute("UPDATE pgaudit.audit_jobs SET status = 'failed'")
        jobs.acknowledge_job(conn, job, "broken")
        for statement in (
            "SELECT FROM pgaudit.audit_log",
            "SELECT pgaudit.record('[]')",
            "SELECT pgaudit.persist(NULL, NULL, 10)",
            "SELECT pgaudit.register_worker()",
            "DELETE FROM pgaudit.audit_jobs",
            "UPDATE pgaudit.audit_jobs SET status = 'failed'",
            "DELETE FROM pgaudit.acknowledged_jobs",
        ):
            with refused():
                conn.execute(statement)


def test_a_reader_reads_and_changes_nothing(granted: str) -> None:
    """A reader can read the log, the views and the health report, and write nothing."""
    with connect_as("t_reader", granted) as conn:
        conn.execute("SELECT * FROM pgaudit.audit_log").fetchall()
        assert stats.queue_stats(conn)[0].queue_name == "audit"
        for view in (stats.worker_stats, stats.failed_jobs, stats.throughput):
            assert view(conn) == []
        assert stats.storage_stats(conn)
        assert {check.name for check in health.check(conn, Settings(dsn=granted)).checks} > {"workers", "partitions"}
        for relation, kind in relations(granted):
            if kind != "v":
                for statement in (f"DELETE FROM {relation}", f"INSERT INTO {relation} DEFAULT VALUES"):
                    with refused():
                        conn.execute(statement)
        assert job_pages.list_page(conn, "failed").jobs == []
        for function in ("record('[]')", "retry_failed(NULL)", "acknowledge_job(1, 'why')"):
            with refused():
                conn.execute(f"SELECT pgaudit.{function}")


def test_a_role_without_grants_can_do_nothing(granted: str) -> None:
    """A role without grants has no access to the schema."""
    with temporary_roles(granted, "t_other"), connect_as("t_other", granted) as other, refused():
        other.execute("SELECT pgaudit.record('[]')")


def test_only_the_owner_grants(granted: str) -> None:
    """Another role gets an error that says as whom to connect, where Postgres would only warn."""
    with connect_as("t_reader", granted) as conn:
        for kind in ("writer", "inline", "worker", "reader"):
            with pytest.raises(InsufficientPrivilege, match=r"only the owner .*can grant: connect as postgres"):
                grant(conn, **{kind: "t_writer"})
        conn.execute("SET client_min_messages = error")
        with pytest.raises(InsufficientPrivilege, match="connect as postgres"):
            grant(conn, reader="t_writer")
        assert conn.execute("SHOW client_min_messages").fetchone() == ("error",)


def test_a_member_of_the_owner_grants(granted: str) -> None:
    """A member of the owner's role can grant, whatever row factory its connection has."""
    with psycopg.connect(granted, autocommit=True) as owner:
        owner.execute("GRANT postgres TO t_reader")
    with psycopg.connect(granted, user="t_reader", row_factory=dict_row) as conn:
        grant(conn, writer="t_writer")
