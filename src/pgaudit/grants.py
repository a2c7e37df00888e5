"""The least that each role needs."""

import logging
from collections.abc import Sequence
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from pgaudit._schema import owner

USAGE: Final = "GRANT USAGE ON SCHEMA pgaudit TO {role}"

# Adds events; cannot read, change or remove any.
WRITER: Final[tuple[LiteralString, ...]] = (
    USAGE,
    "GRANT EXECUTE ON FUNCTION pgaudit.record, pgaudit.try_record, pgaudit.schema_state TO {role}",
    "GRANT EXECUTE ON FUNCTION pgaudit.with_receipts TO {role}",
    "GRANT EXECUTE ON FUNCTION pgaudit.record_uncaptured, pgaudit.captured_operations TO {role}",
)

# Appends its events to the log in its own transaction; everyone else who appends waits for it.
INLINE: Final[tuple[LiteralString, ...]] = (*WRITER, "GRANT EXECUTE ON FUNCTION pgaudit.record_inline TO {role}")

# Extends the Merkle tree over the log, and signs it. It reads the hashes of the log, and no event.
SEALER: Final[tuple[LiteralString, ...]] = (
    USAGE,
    """GRANT SELECT ON pgaudit.log_head, pgaudit.tile, pgaudit.checkpoint, pgaudit.verification,
       pgaudit.failed_verifications, pgaudit.sealing_stats,
       pgaudit.sealing_state, pgaudit.target_period, pgaudit.alembic_version TO {role}""",
    """GRANT EXECUTE ON FUNCTION pgaudit.try_lock_sealing, pgaudit.lock_checkpoint, pgaudit.leaf_hashes,
       pgaudit.add_tiles, pgaudit.add_checkpoint, pgaudit.recomputed_hashes, pgaudit.stored_hashes,
       pgaudit.column_drift,
       pgaudit.note_verification, pgaudit.note_sealing, pgaudit.claim_heartbeat, pgaudit.claim_verification,
       pgaudit.claim_anchors, pgaudit.note_anchored, pgaudit.note_anchor_failure,
       pgaudit.try_lock_target_periods, pgaudit.sealed_targets, pgaudit.sorted_targets, pgaudit.add_target_tiles,
       pgaudit.add_target_period, pgaudit.prune_target_tiles, pgaudit.log_ends, pgaudit.log_partitions,
       pgaudit.schema_state TO {role}""",
    "GRANT SELECT ON pgaudit.anchor_stats, pgaudit.anchor_receipt TO {role}",
)

# Moves events from the queue to the log, through functions that do only that; looks at jobs and retries them.
WORKER: Final[tuple[LiteralString, ...]] = (
    *WRITER,
    *SEALER,
    """GRANT EXECUTE ON FUNCTION pgaudit.register_worker, pgaudit.unregister_worker, pgaudit.heartbeat,
       pgaudit.fetch_job, pgaudit.persist, pgaudit.record_failure, pgaudit.release_jobs, pgaudit.running_jobs,
       pgaudit.reclaim_stalled_jobs,
       pgaudit.ensure_partitions, pgaudit.requeue_skipped_jobs, pgaudit.prune_batches, pgaudit.prune_job_errors,
       pgaudit.prune_unrecorded_changes, pgaudit.claim_unrecorded_changes, pgaudit.tend_captures,
       pgaudit.retry_failed TO {role}""",
    "GRANT SELECT ON pgaudit.audit_jobs, pgaudit.job_error, pgaudit.acknowledged_jobs TO {role}",
    # What the health check and /metrics read: a worker serves its container's probe, and `pgaudit serve` retries jobs.
    """GRANT SELECT ON pgaudit.queue_stats, pgaudit.worker_stats, pgaudit.batch, pgaudit.conflicting_events,
       pgaudit.log_lock_holder, pgaudit.unrecorded_change, pgaudit.alembic_version TO {role}""",
    """GRANT EXECUTE ON FUNCTION pgaudit.stalled_workers_jobs, pgaudit.try_timestamptz, pgaudit.low_watermark,
       pgaudit.count_jobs, pgaudit.queue_state,
       pgaudit.lag_bucket_bounds, pgaudit.log_partitions, pgaudit.is_partition_ahead TO {role}""",
    "GRANT EXECUTE ON FUNCTION pgaudit.capture_problems TO {role}",
    # Sends the log to the destinations of streams.
    """GRANT SELECT ON pgaudit.audit_log, pgaudit.event_target, pgaudit.stream, pgaudit.stream_position,
       pgaudit.delivery, pgaudit.parked, pgaudit.stream_replay, pgaudit.stream_stats TO {role}""",
    """GRANT EXECUTE ON FUNCTION pgaudit.due_streams, pgaudit.look_at_stream, pgaudit.lock_stream, pgaudit.move_stream,
       pgaudit.note_stream_failure, pgaudit.pause_stream, pgaudit.blocked_targets, pgaudit.due_parked,
       pgaudit.settle_parked, pgaudit.note_parked_failure, pgaudit.prune_deliveries, pgaudit.index_ranges,
       pgaudit.look_at_replay, pgaudit.move_replay, pgaudit.note_replay_failure
       TO {role}""",
    # Gives processors their jobs, and runs them.
    "GRANT SELECT ON pgaudit.processor_jobs, pgaudit.processor_backfill, pgaudit.processor_stats TO {role}",
    """GRANT EXECUTE ON FUNCTION pgaudit.register_processor, pgaudit.due_processors, pgaudit.dispatch_events,
       pgaudit.dispatch_backfill, pgaudit.fetch_processor_jobs, pgaudit.succeed_processor_jobs,
       pgaudit.discard_processor_job, pgaudit.fail_processor_job, pgaudit.note_processor_overrun,
       pgaudit.release_processor_jobs, pgaudit.reclaim_stalled_processor_jobs TO {role}""",
)

# Looks at failed jobs, retries them, and gives up those that can never succeed. Not a worker's right: a worker can let
# each of its own jobs fail.
OPERATOR: Final[tuple[LiteralString, ...]] = (
    USAGE,
    """GRANT EXECUTE ON FUNCTION pgaudit.retry_failed, pgaudit.acknowledge_job, pgaudit.count_jobs,
       pgaudit.queue_state, pgaudit.schema_state TO {role}""",
    "GRANT SELECT ON pgaudit.audit_jobs, pgaudit.job_error, pgaudit.acknowledged_jobs TO {role}",
    """GRANT SELECT ON pgaudit.stream, pgaudit.stream_position, pgaudit.delivery, pgaudit.parked,
       pgaudit.stream_replay, pgaudit.stream_stats TO {role}""",
    """GRANT EXECUTE ON FUNCTION pgaudit.require_stream, pgaudit.pause_stream, pgaudit.resume_stream,
       pgaudit.rewind_stream, pgaudit.replay_stream, pgaudit.stop_replay, pgaudit.retry_parked,
       pgaudit.discard_parked TO {role}""",
    "GRANT SELECT ON pgaudit.processor_jobs, pgaudit.processor_backfill, pgaudit.processor_stats TO {role}",
    """GRANT EXECUTE ON FUNCTION pgaudit.backfill_processor, pgaudit.retry_processor_jobs, pgaudit.drop_processor_jobs
       TO {role}""",
)

# Reads the log, the queue with its errors, the views, and how healthy it all is; records that it has read; keeps
# searches of its users.
READER: Final[tuple[LiteralString, ...]] = (
    USAGE,
    """GRANT SELECT ON pgaudit.audit_log, pgaudit.event_key, pgaudit.event_target, pgaudit.event_sighting,
       pgaudit.event_conflict, pgaudit.conflicting_events,
       pgaudit.log_head, pgaudit.tile, pgaudit.checkpoint, pgaudit.verification,
       pgaudit.failed_verifications, pgaudit.sealing_stats,
       pgaudit.sealing_state, pgaudit.target_period, pgaudit.target_tile,
       pgaudit.queue_stats, pgaudit.worker_stats, pgaudit.failed_jobs, pgaudit.stalled_jobs,
       pgaudit.delayed_jobs, pgaudit.throughput, pgaudit.storage_stats, pgaudit.batch, pgaudit.log_lock_holder,
       pgaudit.acknowledged_jobs, pgaudit.audit_jobs, pgaudit.job_error, pgaudit.saved_search, pgaudit.settings,
       pgaudit.alembic_version TO {role}""",
    "GRANT SELECT ON pgaudit.anchor, pgaudit.anchor_stats, pgaudit.anchor_receipt TO {role}",
    """GRANT SELECT ON pgaudit.captured_table, pgaudit.guarded_table, pgaudit.unrecorded_change,
       pgaudit.table_coverage TO {role}""",
    """GRANT EXECUTE ON FUNCTION pgaudit.partition_tree, pgaudit.logged_actions,
       pgaudit.last_recorded_at, pgaudit.expected_actions TO {role}""",
    "GRANT SELECT ON pgaudit.capture_state, pgaudit.guard_state TO {role}",
    """GRANT SELECT ON pgaudit.stream, pgaudit.stream_position, pgaudit.delivery, pgaudit.parked,
       pgaudit.stream_replay, pgaudit.stream_stats TO {role}""",
    "GRANT EXECUTE ON FUNCTION pgaudit.open_cursor, pgaudit.lock_cursor, pgaudit.move_cursor TO {role}",
    "GRANT SELECT ON pgaudit.processor_jobs, pgaudit.processor_backfill, pgaudit.processor_stats TO {role}",
    "GRANT EXECUTE ON FUNCTION pgaudit.watched_tables, pgaudit.capture_problems TO {role}",
    """GRANT EXECUTE ON FUNCTION pgaudit.stalled_workers_jobs, pgaudit.try_timestamptz, pgaudit.low_watermark,
       pgaudit.count_jobs, pgaudit.queue_state,
       pgaudit.lag_bucket_bounds, pgaudit.log_partitions, pgaudit.is_partition_ahead, pgaudit.index_ranges,
       pgaudit.column_drift, pgaudit.leaf_hash, pgaudit.leaf_hashes,
       pgaudit.recomputed_hashes, pgaudit.stored_hashes, pgaudit.log_ends,
       pgaudit.target_key, pgaudit.sealed_targets, pgaudit.sorted_targets, pgaudit.record_access, pgaudit.save_search,
       pgaudit.delete_search, pgaudit.schema_state TO {role}""",
)

# Who may execute that function, or select from that view, is given the whole set again by every migration that changes
# something. A reader is known by a view: who was granted the log alone may be meant to see only their tenant's events.
SETS: Final[tuple[tuple[LiteralString, tuple[LiteralString, ...]], ...]] = (
    ("record", WRITER),
    ("record_inline", INLINE),
    ("persist", WORKER),
    ("acknowledge_job", OPERATOR),
    ("failed_jobs", READER),
)
RENEWAL: Final = """
DO $renewal$
DECLARE
    role text;
BEGIN
{loops}END $renewal$;
"""
LOOP: Final = """\
    FOR role IN SELECT DISTINCT grantee::regrole FROM (
                    SELECT proname, proacl, proowner FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace
                    UNION ALL
                    SELECT relname, relacl, relowner FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace
                ) AS object (name, acl, owner), aclexplode(acl)
                 WHERE name = '{name}' AND grantee NOT IN (0, owner) AND privilege_type IN ('EXECUTE', 'SELECT') LOOP
{grants}    END LOOP;
"""
GRANT: Final = "        EXECUTE format($${statement}$$, role);\n"

Roles = str | Sequence[str] | None
logger = logging.getLogger(__name__)


def grant(  # noqa: PLR0913 - one for each kind of role, all by name
    conn: psycopg.Connection[Any],
    *,
    writer: Roles = None,
    inline: Roles = None,
    worker: Roles = None,
    operator: Roles = None,
    reader: Roles = None,
) -> None:
    """Gives each role that is named what it needs, in the caller's transaction. Safe to repeat.

    :param inline: roles that may append their events to the log in their own transaction
    :param operator: roles that may retry and acknowledge failed jobs
    :raises psycopg.errors.UndefinedObject: there is no such role.
    :raises psycopg.errors.InsufficientPrivilege: the connection's role does not own the schema.
    """
    refuse_others(conn)
    given = ((writer, WRITER), (inline, INLINE), (worker, WORKER), (operator, OPERATOR), (reader, READER))
    for roles, statements in given:
        for role in listed(roles):
            for statement in statements:
                conn.execute(sql.SQL(statement).format(role=sql.Identifier(role)))
    for role in listed(writer):
        if owner.includes(conn, role):
            logger.warning("%s owns the schema pgaudit or can become its owner: it can change the log.", role)


def listed(roles: Roles) -> list[str]:
    """Returns the roles as a list."""
    return [roles] if isinstance(roles, str) else list(roles or ())


def renewal() -> str:
    """Returns a script that gives every role that was granted something the current set of rights."""
    loops = (LOOP.format(name=name, grants="".join(map(renewed, statements))) for name, statements in SETS)
    return RENEWAL.format(loops="".join(loops))


def renewed(statement: str) -> str:
    """Returns the command of the script that runs a statement for a role."""
    return GRANT.format(statement=statement.format(role="%1$s"))


def refuse_others(conn: psycopg.Connection[Any]) -> None:
    """Raises InsufficientPrivilege when the connection's role is not the owner: Postgres merely warns, and goes on."""
    owner.require(conn, "grant")
