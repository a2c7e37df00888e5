"""The views that DBAs read, and the rights of everybody else: none."""

from pgaudit.migrate import run_file, run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_file("views.sql")
    run_file("rights.sql")


def downgrade() -> None:
    """Refuses to take away a trail: whoever means it drops the schema by hand."""
    run_sql("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pgaudit.audit_log) OR EXISTS (SELECT FROM pgaudit.procrastinate_jobs) THEN
                RAISE EXCEPTION 'the audit trail is not empty'
                    USING HINT = 'Export it, then DROP SCHEMA pgaudit CASCADE by hand.';
            END IF;
        END $$;
        DROP VIEW pgaudit.queue_stats, pgaudit.worker_stats, pgaudit.failed_jobs, pgaudit.stalled_jobs,
                  pgaudit.delayed_jobs, pgaudit.throughput, pgaudit.storage_stats;
        DROP FUNCTION pgaudit.as_time;
    """)
