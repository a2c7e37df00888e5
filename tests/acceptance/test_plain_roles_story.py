"""The whole life of an audit log under plain roles: no superuser, each role with its granted rights."""

import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege

from pgaudit import AuditEvent, AuditLog, Settings, grants, jobs, migrate, trail
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.support.processes import worker_process
from tests.support.queries import LOG_SIZE, value_in
from tests.support.roles import temporary_roles
from tests.support.waiting import wait_until

ROLES = ("s_owner", "s_writer", "s_worker", "s_operator", "s_reader", "s_etl")
AHEAD = "SELECT max(first_index) > 600 FROM pgaudit.log_partitions()"
WAITING = "SELECT waiting + active + delayed FROM pgaudit.queue_stats"
SMALL_PARTITIONS = """
    UPDATE pgaudit.settings SET partition_size = 256;
    DROP TABLE pgaudit.audit_log_0, pgaudit.audit_log_10485760;
    SELECT pgaudit.ensure_partitions();
"""
TAMPER = """
    ALTER TABLE pgaudit.audit_log DISABLE TRIGGER append_only;
    ALTER TABLE pgaudit.audit_log_0 DISABLE TRIGGER append_only;
    UPDATE pgaudit.audit_log SET outcome = 'denied', tenant = 'other' WHERE index = 1;
    ALTER TABLE pgaudit.audit_log ENABLE ALWAYS TRIGGER append_only;
    ALTER TABLE pgaudit.audit_log_0 ENABLE ALWAYS TRIGGER append_only;
"""


@pytest.fixture
def installed(server: Server) -> Iterator[str]:
    """A database that a plain owner has migrated, with partitions of 256 events; each other role has its rights."""
    with (
        fresh_database(server, template="template1") as database,
        temporary_roles(database.dsn, *ROLES),
    ):
        with psycopg.connect(database.dsn) as superuser:
            superuser.execute("GRANT pg_write_all_data TO s_etl")
            superuser.execute(f"GRANT CREATE ON DATABASE {superuser.info.dbname} TO s_owner")
            superuser.execute("CREATE TABLE claim (id integer PRIMARY KEY, status text NOT NULL)")
            superuser.execute("GRANT SELECT, INSERT, UPDATE ON claim TO s_writer")
        migrate.upgrade(role_dsn(database.dsn, "s_owner"))
        with psycopg.connect(role_dsn(database.dsn, "s_owner")) as owner:
            grants.grant(owner, writer="s_writer", worker="s_worker", operator="s_operator", reader="s_reader")
            owner.execute(SMALL_PARTITIONS)
        yield database.dsn


def role_dsn(dsn: str, role: str) -> str:
    """Returns the DSN of that role."""
    return make_conninfo(dsn, user=role)


def approve(dsn: str, first: int, count: int) -> None:
    """Changes claims one by one, each with its event, as the application does."""
    audit = AuditLog(Settings(dsn=dsn))
    with psycopg.connect(dsn) as conn:
        for claim in range(first, first + count):
            conn.execute("INSERT INTO claim VALUES (%s, 'approved')", [claim])
            audit.record(conn, AuditEvent(action="claim.approved", actor="user:42", target=f"claim:{claim}"))
            conn.commit()


def test_each_change_is_logged_once_under_plain_roles(installed: str) -> None:
    """Changes of a writer reach the log through a worker; a reader finds them; no other role can write to it."""
    with worker_process(role_dsn(installed, "s_worker")):
        approve(role_dsn(installed, "s_writer"), 0, 600)
        wait_until("the log has 600 events", lambda: value_in(installed, LOG_SIZE) == 600)
    with worker_process(role_dsn(installed, "s_worker")):  # which looks after the partitions first, then every minute
        wait_until("the next partition exists", lambda: value_in(installed, AHEAD))

    with psycopg.connect(role_dsn(installed, "s_reader")) as reader:
        (entry,) = trail.of_target(reader, "claim", "599")
        assert entry.event["recorded_by"] == "s_writer"
        assert reader.execute("SELECT count(*) FROM pgaudit.column_drift()").fetchone() == (0,)
    with psycopg.connect(role_dsn(installed, "s_etl"), autocommit=True) as etl:
        for statement in (
            "INSERT INTO pgaudit.event_key VALUES (gen_random_uuid(), 1)",
            "INSERT INTO pgaudit.log_lock VALUES (true)",
            "UPDATE pgaudit.queue_watermark SET low_watermark = 1000",
            "UPDATE pgaudit.settings SET max_event_bytes = 16384",
            "DELETE FROM pgaudit.batch",
        ):
            with pytest.raises(InsufficientPrivilege):
                etl.execute(statement.encode())


def test_a_job_that_can_never_succeed_is_acknowledged(installed: str) -> None:
    """An event that a CHECK of the DBA refuses is acknowledged by an operator; the others are appended."""
    with psycopg.connect(role_dsn(installed, "s_owner")) as owner:
        owner.execute("ALTER TABLE pgaudit.audit_log ADD CONSTRAINT no_five CHECK (target_id <> '5') NOT VALID")
    with worker_process(role_dsn(installed, "s_worker"), PGAUDIT_JOB_ATTEMPTS="1"):
        approve(role_dsn(installed, "s_writer"), 0, 10)
        wait_until("no job is left to be tried", lambda: value_in(installed, WAITING) == 0)
        with psycopg.connect(role_dsn(installed, "s_operator")) as conn:
            (failed,) = jobs.list_jobs(conn, "failed")
            jobs.acknowledge_job(conn, failed.job_id, "claim 5 is a test claim")
        wait_until("the log has 10 events", lambda: value_in(installed, LOG_SIZE) == 10)
    with psycopg.connect(role_dsn(installed, "s_reader")) as reader:
        (entry,) = trail.of_target(reader, "audit_job", str(failed.job_id))
    assert entry.action == "audit_job.acknowledged"
    assert entry.actor_id == "s_operator"
    assert entry.event["reason"] == "claim 5 is a test claim"
    assert value_in(installed, "SELECT failed FROM pgaudit.queue_stats") == 0


def test_an_altered_column_is_shown_and_an_old_partition_can_go(installed: str) -> None:
    """column_drift names what an owner has altered; the first partition is detached while the log goes on."""
    with worker_process(role_dsn(installed, "s_worker")):
        approve(role_dsn(installed, "s_writer"), 0, 300)
        wait_until("the log has 300 events", lambda: value_in(installed, LOG_SIZE) == 300)
        with psycopg.connect(role_dsn(installed, "s_owner"), autocommit=True) as owner:
            owner.execute(TAMPER)
            drift = owner.execute("SELECT index, column_name FROM pgaudit.column_drift() ORDER BY 2").fetchall()
            assert drift == [(1, "outcome"), (1, "tenant")]
            owner.execute("ALTER TABLE pgaudit.audit_log DETACH PARTITION pgaudit.audit_log_0 CONCURRENTLY")
        approve(role_dsn(installed, "s_writer"), 300, 10)
        wait_until("the log has 310 events", lambda: value_in(installed, LOG_SIZE) == 310)
    assert value_in(installed, "SELECT count(*) FROM pgaudit.audit_log") == 310 - 256


def test_a_writer_can_check_the_schema(installed: str) -> None:
    """An instance of the application can run migrate --check with the writer's rights."""
    command = [sys.executable, "-m", "pgaudit", "migrate", "--check"]
    environment = os.environ | {"PGAUDIT_DSN": role_dsn(installed, "s_writer")}
    checked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
