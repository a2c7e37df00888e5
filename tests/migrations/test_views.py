"""Views: their documented columns and comments."""

import psycopg

PROMISED = {
    "queue_stats": "queue_name waiting active delayed failed completed stalled oldest_waiting_seconds",
    "worker_stats": "worker_id last_heartbeat heartbeat_age_seconds alive active_jobs",
    "failed_jobs": "job_id queue_name task_name event_id action attempts failed_at error_class error_message",
    "stalled_jobs": "job_id queue_name task_name event_id attempts worker_id heartbeat_age_seconds",
    "delayed_jobs": "job_id queue_name task_name event_id attempts scheduled_at last_error",
    "conflicting_events": "index event_id conflicts_with recorded_at",
    "log_lock_holder": "pid prepared_transaction role application_name since",
    "throughput": "minute events batches avg_lag_seconds max_lag_seconds",
    "log_head": "size",
    "anchor_stats": "name size anchored_at lag_seconds attempts failed_at error next_attempt_at",
    "sealing_stats": "size checkpoint_size signed_at unsigned_events unsigned_seconds refused refused_since verifying "
    "verified_end verified_at fully_verified_first fully_verified_end fully_verified_at level failed_at findings found",
    "failed_verifications": "id first_index end_index findings found verified_at verified_by",
    "storage_stats": "table_name estimated_rows total_bytes dead_rows last_autovacuum",
    "capture_state": "schema_name table_name target_type key_columns action columns excluded masked condition level "
    "level_reason children problem added_at added_by paused_at paused_by",
    "guard_state": "schema_name table_name target_type key_columns action on_missing actions with_changes columns "
    "excluded masked condition level level_reason children problem added_at added_by paused_at paused_by",
    "stream_stats": "name kind url query form ordered allow_private state paused_at paused_by pause_kind pause_reason "
    "next_index lag_events lag_seconds delivered delivered_at attempts failing_since next_attempt_at error "
    "events_per_second failures_last_day parked added_at added_by replay_from replay_to replay_next replay_error",
    "processor_stats": "name query state paused_at paused_by pause_kind pause_reason next_index lag_events lag_seconds "
    "waiting delayed running failed oldest_waiting_seconds longest_running_seconds succeeded discarded jobs_per_second "
    "failures_in_a_row last_error last_ended_at backfill_events concurrency rate break_after added_at known_at",
    "table_coverage": "schema_name table_name capture guard on_missing target_type estimated_rows changed_rows "
    "last_event_at unrecorded_changes added_at",
}
COLUMNS = """
    SELECT c.relname, string_agg(a.attname, ' ' ORDER BY a.attnum)
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
     WHERE c.relnamespace = 'pgaudit'::regnamespace AND c.relkind = 'v' GROUP BY 1
"""
WITHOUT_COMMENT = """
    SELECT c.relname, a.attname
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relnamespace = 'pgaudit'::regnamespace AND c.relkind IN ('v', 'r', 'p') AND NOT c.relispartition
       AND c.relname <> 'alembic_version' AND c.relname NOT LIKE 'procrastinate%' AND a.attinhcount = 0
       AND (coalesce(col_description(c.oid, a.attnum), '') !~ '[.]$'
            OR coalesce(obj_description(c.oid, 'pg_class'), '') !~ '[.]$')
"""


def test_views_have_their_documented_columns(conn: psycopg.Connection) -> None:
    """Names and order of the columns are fixed, and there is no other view."""
    assert dict(conn.execute(COLUMNS).fetchall()) == PROMISED


def test_every_view_and_column_has_a_comment(conn: psycopg.Connection) -> None:
    """Each view and table for DBAs, and each of their columns, has a sentence as comment."""
    assert conn.execute(WITHOUT_COMMENT).fetchall() == []


def test_views_of_an_empty_trail_can_be_read(conn: psycopg.Connection) -> None:
    """No view fails without rows; queue_stats has one row of zeros."""
    for view in PROMISED:
        conn.execute(f"SELECT * FROM pgaudit.{view}")
    assert conn.execute("SELECT * FROM pgaudit.queue_stats").fetchall() == [("audit", 0, 0, 0, 0, 0, 0, None)]
