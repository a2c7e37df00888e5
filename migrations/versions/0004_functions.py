"""The way of an event: record, persist, and what becomes of a job that was not persisted."""

from pgaudit.migrate import run_file, run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for name in ("record.sql", "append.sql", "persist.sql", "guards.sql", "outcome.sql", "workers.sql"):
        run_file(name)


def downgrade() -> None:
    """Looks once more, with the queue locked: whoever records meanwhile waits, and then finds no function to do so."""
    run_sql("""
        LOCK TABLE pgaudit.procrastinate_jobs IN ACCESS EXCLUSIVE MODE;
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pgaudit.procrastinate_jobs) THEN
                RAISE EXCEPTION 'the queue is not empty' USING HINT = 'pgaudit migrate, and let a worker drain it.';
            END IF;
        END $$;
        DROP FUNCTION pgaudit.keep_unlogged_jobs, pgaudit.keep_queued_jobs, pgaudit.refuse_other_end,
                      pgaudit.refuse_edit CASCADE;
        DROP FUNCTION pgaudit.record, pgaudit.entries, pgaudit.entry, pgaudit.stamped, pgaudit.append_inline,
                      pgaudit.persist, pgaudit.fetch_lead, pgaudit.append, pgaudit.append_all, pgaudit.prepared,
                      pgaudit.is_logged, pgaudit.content_of, pgaudit.is_infrastructure,
                      pgaudit.refuse_tampered, pgaudit.leaf_hash, pgaudit.settle_failure, pgaudit.release,
                      pgaudit.jobs_of, pgaudit.forget_batches, pgaudit.raise_floor, pgaudit.readmit_strays,
                      pgaudit.retry_failed, pgaudit.beat, pgaudit.reclaim_stalled, pgaudit.stalled;
    """)
