"""What health asks the database: one query."""

from dataclasses import dataclass
from typing import Any, Final

from pgaudit.health.anchor_checks import AnchorLag
from pgaudit.health.archive_checks import ArchiveSlot
from pgaudit.health.capture_checks import CaptureProblem
from pgaudit.health.processor_checks import ProcessorState
from pgaudit.health.stream_checks import StreamState


@dataclass(frozen=True, slots=True)
class Observation:
    """The answer: counts, ages in seconds, and names of what stands in the way."""

    workers: int
    oldest_waiting: float | None
    failed: int
    stalled: int
    conflicts: int
    partition_ahead: bool
    log_holder: str | None
    publications: str | None
    longest_transaction: float | None
    sees_all_sessions: bool
    idle_slots: str | None
    row_security: str | None
    sealing_refused: str | None
    signed_size: int | None
    unsigned_seconds: float
    signing_seconds: float | None
    verifying: bool
    verification_failed: str | None
    newly_verified_events: int | None
    verified_seconds: float | None
    fully_verified_events: int | None
    fully_verified_seconds: float | None
    level: str | None
    anchors: list[dict[str, Any]]
    archives: list[dict[str, Any]]
    captures: list[dict[str, Any]]
    processors: list[dict[str, Any]]
    unrecorded_changes: int
    unrecorded_tables: str | None
    streams: list[dict[str, Any]]

    @property
    def anchor_lags(self) -> list[AnchorLag]:
        """How far each anchor is behind."""
        return [AnchorLag(**anchor) for anchor in self.anchors]

    @property
    def archive_slots(self) -> list[ArchiveSlot]:
        """The replication slots of archives."""
        return [ArchiveSlot(**slot) for slot in self.archives]

    @property
    def capture_problems(self) -> list[CaptureProblem]:
        """What is wrong with captured and guarded tables."""
        return [CaptureProblem(**problem) for problem in self.captures]

    @property
    def stream_states(self) -> list[StreamState]:
        """How each stream to a destination does."""
        return [StreamState(**stream) for stream in self.streams]

    @property
    def processor_states(self) -> list[ProcessorState]:
        """How each processor does."""
        return [ProcessorState(**processor) for processor in self.processors]


OBSERVE: Final = """
    SELECT (SELECT count(*) FROM pgaudit.worker_stats WHERE alive) AS workers,
           oldest_waiting_seconds AS oldest_waiting,
           failed,
           stalled,
           (SELECT count(*) FROM pgaudit.conflicting_events
             WHERE recorded_at > clock_timestamp() - interval '1 day') AS conflicts,
           pgaudit.is_partition_ahead() AS partition_ahead,
           (SELECT string_agg(coalesce('process ' || pid, prepared_transaction) || ' of role ' || role, ', ')
              FROM pgaudit.log_lock_holder
             -- Without pg_read_all_stats the start is unknown: then the holder is named if events wait.
             WHERE coalesce(since < clock_timestamp() - interval '10 s', oldest_waiting_seconds > 10)) AS log_holder,
           -- A new partition is published as a table that the subscriber does not have, and stops it.
           (SELECT string_agg(pubname, ', ') FROM pg_publication p
             WHERE NOT pubviaroot
               AND (puballtables
                    OR 'pgaudit'::regnamespace IN (SELECT pnnspid FROM pg_publication_namespace WHERE pnpubid = p.oid)
                    OR 'pgaudit.audit_log'::regclass IN (SELECT prrelid FROM pg_publication_rel WHERE prpubid = p.oid))
           ) AS publications,
           -- Only what the role may see: its own sessions, or, with pg_monitor, all of them; and what is prepared.
           (SELECT max(extract(epoch FROM clock_timestamp() - start))::double precision
              FROM (SELECT xact_start AS start FROM pg_stat_activity
                     WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
                       AND backend_type = 'client backend' AND pid <> pg_backend_pid()
                    UNION ALL
                    SELECT prepared FROM pg_prepared_xacts WHERE database = current_database()) open
           ) AS longest_transaction,
           pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all_sessions,
           (SELECT string_agg(slot_name::text, ', ') FROM pg_replication_slots
             WHERE NOT active AND xmin IS NOT NULL) AS idle_slots,
           (SELECT string_agg(relname::text, ', ' ORDER BY relname) FROM pg_class
             WHERE relnamespace = 'pgaudit'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
               AND row_security_active(oid) AND has_table_privilege(oid, 'SELECT')
               AND NOT EXISTS (SELECT FROM pg_policy  -- one that shows this role every row
                                WHERE polrelid = pg_class.oid AND polpermissive AND polcmd IN ('r', '*')
                                  AND pg_get_expr(polqual, polrelid) = 'true'
                                  AND (polroles = '{0}' OR EXISTS (SELECT FROM unnest(polroles) AS given (role)
                                                                    WHERE pg_has_role(given.role, 'USAGE'))))
           ) AS row_security,
           refused AS sealing_refused,
           checkpoint_size AS signed_size,
           unsigned_seconds,
           (SELECT extract(epoch FROM clock_timestamp() - signed_at)::double precision FROM pgaudit.checkpoint
             ORDER BY size LIMIT 1) AS signing_seconds,
           verifying,
           CASE WHEN failed_at IS NOT NULL THEN coalesce(found->0->>'message', findings || ' findings') END
               AS verification_failed,
           verified_end - fully_verified_end AS newly_verified_events,
           extract(epoch FROM clock_timestamp() - verified_at)::double precision AS verified_seconds,
           fully_verified_end - fully_verified_first AS fully_verified_events,
           extract(epoch FROM clock_timestamp() - fully_verified_at)::double precision AS fully_verified_seconds,
           level,
           (SELECT coalesce(json_agg(json_build_object('name', name, 'lag', lag_seconds, 'error', error) ORDER BY name),
                            '[]')
              FROM pgaudit.anchor_stats) AS anchors,
           (SELECT coalesce(json_agg(json_build_object(
                       'name', slot_name, 'active', active, 'wal_status', wal_status, 'safe', safe_wal_size,
                       'kept', CASE WHEN NOT pg_is_in_recovery()
                                    THEN pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint END)
                                     ORDER BY slot_name), '[]')
              FROM pg_replication_slots
             WHERE database = current_database() AND slot_name ~ '^pgaudit_archive(_|$)') AS archives,
           (SELECT coalesce(json_agg(json_build_object('purpose', purpose, 'table', table_name, 'problem', problem)),
                            '[]')
              FROM pgaudit.capture_problems()) AS captures,
           (SELECT coalesce(json_agg(json_build_object(
                       'name', name, 'pause_kind', pause_kind, 'failed', failed,
                       'late', greatest(lag_seconds, oldest_waiting_seconds),
                       'unknown_seconds', extract(epoch FROM clock_timestamp() - known_at)) ORDER BY name), '[]')
              FROM pgaudit.processor_stats) AS processors,
           unrecorded_changes,
           unrecorded_tables,
           (SELECT coalesce(json_agg(json_build_object(
                       'name', name, 'pause_kind', pause_kind, 'reason', coalesce(pause_reason, error),
                       'failing_seconds', coalesce(extract(epoch FROM clock_timestamp() - failing_since), 0),
                       'lag_seconds', lag_seconds, 'parked', parked,
                       'is_report', coalesce(starts_with(url, 'report+'), false)) ORDER BY name), '[]')
              FROM pgaudit.stream_stats WHERE kind = 'destination') AS streams
      FROM pgaudit.queue_stats, pgaudit.sealing_stats,
           (SELECT coalesce(sum(count), 0)::bigint AS unrecorded_changes,
                   string_agg(DISTINCT relation::text, ', ') AS unrecorded_tables
              FROM (SELECT relation, count FROM pgaudit.unrecorded_change  -- a guard may let thousands pass each second
                     WHERE found_at > clock_timestamp() - interval '1 day' ORDER BY found_at DESC LIMIT 10000) latest
           ) unrecorded
"""
