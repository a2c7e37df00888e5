"""The rights that processors need: those of a worker, who owns nothing."""

from typing import Final, LiteralString

import psycopg
import pytest

import pgaudit
from pgaudit import Settings, health, processors
from pgaudit.grants import grant
from pgaudit.jobs import processed
from tests.support.processors import stat
from tests.support.queries import Connection
from tests.support.roles import temporary_roles
from tests.support.streams import append
from tests.support.waiting import wait_until_async
from tests.support.worker import working

COUNT_RUNNING = "SELECT count(*) FROM pgaudit.processor_jobs WHERE status = 'doing'"
ACTS = """
    SELECT event->>'action', event->'actor'->>'id', event->'data' FROM pgaudit.audit_jobs
     WHERE event->'targets' = '[{"type": "stream", "id": "mail"}]' ORDER BY id
"""
TABLES = ("processor", "processor_jobs", "processor_backfill")
BY_PARENT: Final[tuple[LiteralString, ...]] = (
    "DELETE FROM pgaudit.procrastinate_jobs WHERE queue_name = 'audit_processors'",
    "UPDATE pgaudit.procrastinate_jobs SET queue_name = 'other'",
    "TRUNCATE pgaudit.procrastinate_jobs CASCADE",
)


async def test_a_worker_runs_processors_and_an_operator_decides(dsn: str, conn: Connection) -> None:
    """Dispatch, success, failure and discard need no right on a table; retry, pause and backfill are the operator's."""

    def handle(entry: pgaudit.ProcessorEntry) -> None:
        if entry.index == 1:
            raise ValueError("no")
        if entry.index == 2:
            raise pgaudit.Discard("not this one")

    pgaudit.processor("mail", on="*", start=0, retry=1, rate=1_000, concurrency=2)(handle)
    with temporary_roles(dsn, "t_works", "t_operates", "t_reads"):
        grant(conn, worker="t_works", operator="t_operates", reader="t_reads")
        conn.commit()
        append(dsn, 3)
        async with working(Settings(dsn=f"{dsn} user=t_works")):
            await wait_until_async("one has failed", lambda: stat(dsn, "mail", "failed") == 1)
            await wait_until_async("one is discarded", lambda: stat(dsn, "mail", "discarded") == 1)
            await wait_until_async("one is done", lambda: stat(dsn, "mail", "succeeded") == 1)
        with psycopg.connect(dsn, user="t_operates", autocommit=True) as operator:
            (failed,) = processed.list_jobs(operator, "mail", "failed")
            assert (failed.index, failed.action, failed.last_error) == (1, None, "no")
            assert processed.get_job(operator, "mail", failed.job_id).errors[0].error_class == "ValueError"
            assert len(processed.retry_jobs(operator, "mail")) == 1
            assert processors.backfill(operator, "mail", 0, 0) == 1
            processors.pause(operator, "mail")
            processors.resume(operator, "mail")
        acts = conn.execute(ACTS).fetchall()
        assert [(action, data) for action, _, data in acts] == [
            ("audit.processor_jobs_retried", {"jobs": 1, "indexes": [1]}),
            ("audit.processor_backfilled", {"from": 0, "to": 0}),
            ("audit.stream_paused", {"kind": "asked"}),
            ("audit.stream_resumed", {}),
        ]
        assert {actor for _, actor, _ in acts} == {"t_operates"}
        with psycopg.connect(dsn, user="t_reads", autocommit=True) as reader:
            assert {job.action for job in processed.list_jobs(reader, "mail", None)} == {"claim.approved"}
            assert processors.get_processor(reader, "mail").waiting == 1
            assert "processors" in {check.name for check in health.check(reader).checks}
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                processors.pause(reader, "mail")


@pytest.mark.parametrize("table", TABLES)
def test_a_role_with_rights_on_all_tables_cannot_write_to_them(dsn: str, conn: Connection, table: str) -> None:
    """It must not end jobs, nor take them over."""
    with temporary_roles(dsn, "t_all"):
        conn.execute("GRANT USAGE ON SCHEMA pgaudit TO t_all; GRANT ALL ON ALL TABLES IN SCHEMA pgaudit TO t_all")
        conn.commit()
        with psycopg.connect(dsn, user="t_all") as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute(f"DELETE FROM pgaudit.{table}")


@pytest.mark.parametrize("statement", BY_PARENT)
def test_the_parent_table_is_no_way_to_their_jobs(dsn: str, conn: Connection, statement: str) -> None:
    """A statement that names Procrastinate's table fires none of the triggers of the table of these jobs."""
    conn.execute("SELECT pgaudit.register_processor('mail', '', 0, NULL, NULL, NULL)")
    conn.execute("INSERT INTO pgaudit.processor_jobs (task_name, index, args) VALUES ('mail', 0, '{}')")
    with temporary_roles(dsn, "t_all"):
        conn.execute("GRANT USAGE ON SCHEMA pgaudit TO t_all; GRANT ALL ON ALL TABLES IN SCHEMA pgaudit TO t_all")
        conn.commit()
        with psycopg.connect(dsn, user="t_all") as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute(statement)


def test_a_worker_cannot_end_the_job_of_another(conn: Connection) -> None:
    """Only who has its token holds a job."""
    conn.execute("SELECT pgaudit.register_processor('mail', '', 0, NULL, NULL, NULL)")
    conn.execute("INSERT INTO pgaudit.processor_jobs (task_name, index, args) VALUES ('mail', 0, '{}')")
    ours, theirs = (conn.execute("SELECT token FROM pgaudit.register_worker()").fetchone() for _ in range(2))
    assert ours is not None
    assert theirs is not None
    fetch = "SELECT job_id FROM pgaudit.fetch_processor_jobs(%s, '{mail}', '{}', 1)"
    job = (conn.execute(fetch, ours).fetchone() or [0])[0]
    conn.execute("SELECT pgaudit.succeed_processor_jobs(ARRAY[%s::bigint], %s)", [job, *theirs])
    assert conn.execute("SELECT pgaudit.discard_processor_job(%s, %s, '')", [job, *theirs]).fetchone() == (False,)
    failed = conn.execute(
        "SELECT status FROM pgaudit.fail_processor_job(%s, %s, true, 1, 'E', NULL, 'm', 't')", [job, *theirs]
    )
    assert failed.fetchone() == (None,)
    assert conn.execute(COUNT_RUNNING).fetchone() == (1,)
    conn.execute("SELECT pgaudit.succeed_processor_jobs(ARRAY[%s::bigint], %s)", [job, *ours])
    assert conn.execute(COUNT_RUNNING).fetchone() == (0,)
