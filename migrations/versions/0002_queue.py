"""Procrastinate's tables made fit for audit jobs: no NOTIFY, no row-by-row triggers, pinned functions."""

import importlib

from pgaudit.migrate import run_file, run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_file("queue.sql")


def downgrade() -> None:
    """Makes Procrastinate's tables anew, as they were; the revisions above have seen that they are empty."""
    run_sql("""
        DROP TABLE pgaudit.audit_jobs, pgaudit.queue_floor;
        DROP FUNCTION pgaudit.unlink_deleted_jobs, pgaudit.unlink_deleted_workers CASCADE;
    """)
    procrastinate = importlib.import_module("0001_procrastinate")
    procrastinate.downgrade()
    procrastinate.upgrade()
