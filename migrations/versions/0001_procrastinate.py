"""Procrastinate's tables, from the installed package's own migration files."""

from alembic import op
from procrastinate.schema import migrations_path

from pgaudit.migrate import run_file, run_sql

revision = "0001"
down_revision = None

LAST = "03.04.00_50_post_add_retry_failed_job_procedure.sql"


# What an attempt that broke off has left goes first. One block: a script that is run by hand is run twice some day,
# and must then stop before anything is dropped, in psql or elsewhere.
CLEAR = """
    DO $$ DECLARE function regprocedure; BEGIN
        IF to_regclass('pgaudit.audit_log') IS NOT NULL THEN
            RAISE EXCEPTION 'pgaudit is installed already' USING HINT = 'pgaudit migrate applies what is missing.';
        END IF;
        DROP TABLE IF EXISTS pgaudit.procrastinate_events, pgaudit.procrastinate_periodic_defers,
                             pgaudit.procrastinate_jobs, pgaudit.procrastinate_workers CASCADE;
        FOR function IN SELECT oid FROM pg_proc
                         WHERE pronamespace = 'pgaudit'::regnamespace AND proname LIKE 'procrastinate%' LOOP
            EXECUTE format('DROP FUNCTION %s CASCADE', function);
        END LOOP;
        DROP TYPE IF EXISTS pgaudit.procrastinate_job_to_defer_v1, pgaudit.procrastinate_job_event_type,
                            pgaudit.procrastinate_job_status;
    END $$;
"""


def upgrade() -> None:
    # Until PostgreSQL 16 a new enum value cannot be used before it is committed, and Procrastinate's files
    # count on that: one transaction a file.
    with op.get_context().autocommit_block():
        run_sql(CLEAR)
        run_sql("SET search_path = pgaudit, pg_temp")
        for path in sorted(migrations_path.glob("*.sql")):
            if path.name <= LAST:
                run_file(path)
        run_sql("RESET search_path")


def downgrade() -> None:
    run_sql(CLEAR)
