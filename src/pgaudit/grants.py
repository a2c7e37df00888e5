"""The least that each role needs."""

from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import tuple_row

OWNER: Final = """
    SELECT pg_get_userbyid(nspowner), pg_has_role(nspowner, 'USAGE')
      FROM pg_catalog.pg_namespace WHERE nspname = 'pgaudit'
"""
USAGE: Final = "GRANT USAGE ON SCHEMA pgaudit TO {role}"

# Adds events; cannot read, change or remove any.
WRITER: Final[tuple[LiteralString, ...]] = (USAGE, "GRANT EXECUTE ON FUNCTION pgaudit.record TO {role}")

# Moves events from the queue to the log, through functions that do only that; looks at jobs and retries them.
WORKER: Final[tuple[LiteralString, ...]] = (
    *WRITER,
    """GRANT EXECUTE ON FUNCTION pgaudit.fetch_lead, pgaudit.persist, pgaudit.settle_failure, pgaudit.release,
       pgaudit.jobs_of, pgaudit.forget_batches, pgaudit.readmit_strays,
       pgaudit.beat, pgaudit.reclaim_stalled, pgaudit.retry_failed, pgaudit.keep_partitions,
       pgaudit.procrastinate_register_worker_v1, pgaudit.procrastinate_unregister_worker_v1,
       pgaudit.procrastinate_prune_stalled_workers_v1 TO {role}""",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON pgaudit.procrastinate_workers TO {role}",
    "GRANT SELECT ON pgaudit.procrastinate_jobs, pgaudit.job_error TO {role}",
    # What the health check and /metrics read: a worker serves its container's probe, and `pgaudit serve` retries jobs.
    """GRANT SELECT ON pgaudit.queue_stats, pgaudit.worker_stats, pgaudit.batch, pgaudit.alembic_version
       TO {role}""",
    "GRANT EXECUTE ON FUNCTION pgaudit.stalled, pgaudit.as_time, pgaudit.lag_bounds TO {role}",
)

# Reads the log and the views, and how healthy it all is.
READER: Final[tuple[LiteralString, ...]] = (
    USAGE,
    """GRANT SELECT ON pgaudit.audit_log, pgaudit.queue_stats, pgaudit.worker_stats, pgaudit.failed_jobs,
       pgaudit.stalled_jobs, pgaudit.delayed_jobs, pgaudit.throughput, pgaudit.storage_stats,
       pgaudit.batch, pgaudit.alembic_version TO {role}""",
    "GRANT EXECUTE ON FUNCTION pgaudit.stalled, pgaudit.as_time, pgaudit.lag_bounds, pgaudit.leaf_hash TO {role}",
)


def grant(
    conn: psycopg.Connection[Any], *, writer: str | None = None, worker: str | None = None, reader: str | None = None
) -> None:
    """Gives each role that is named what it needs, in the caller's transaction. Safe to repeat.

    :raises psycopg.errors.UndefinedObject: there is no such role.
    :raises psycopg.errors.InsufficientPrivilege: the connection's role does not own the schema.
    """
    refuse_others(conn)
    for role, statements in ((writer, WRITER), (worker, WORKER), (reader, READER)):
        if role is not None:
            for statement in statements:
                conn.execute(sql.SQL(statement).format(role=sql.Identifier(role)))


def refuse_others(conn: psycopg.Connection[Any]) -> None:
    """Raises InsufficientPrivilege when the connection's role is not the owner: Postgres merely warns, and goes on."""
    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        owner, may_grant = cursor.execute(OWNER).fetchone() or (None, True)
    if not may_grant:
        raise InsufficientPrivilege(f"only the owner of the schema pgaudit can grant: connect as {owner}")
