"""The append-only log, its head, its batches and the errors of jobs."""

from pgaudit.migrate import run_file, run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_file("log.sql")


def downgrade() -> None:
    run_sql("""
        DROP VIEW pgaudit.log_head;
        DROP TABLE pgaudit.audit_log, pgaudit.log_lock, pgaudit.batch, pgaudit.job_error;
        DROP FUNCTION pgaudit.refuse_change, pgaudit.guard_partition, pgaudit.guard_partitions,
                      pgaudit.create_partition, pgaudit.revoke_defaults,
                      pgaudit.keep_partitions, pgaudit.lag_bounds, pgaudit.keep_last_batch;
    """)
