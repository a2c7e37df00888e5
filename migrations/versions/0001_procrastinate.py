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
    DO $$ DECLARE command text; BEGIN
        IF to_regclass('pgaudit.audit_log') IS NOT NULL THEN
            RAISE EXCEPTION 'pgaudit is installed already' USING HINT = 'pgaudit migrate applies what is missing.';
        END IF;
        FOREACH command IN ARRAY array(  -- all names first: each command may take others along
            SELECT format('DROP %s IF EXISTS %s CASCADE', kind, name)
              FROM (SELECT 'TABLE' AS kind, oid::regclass::text AS name, relname, relnamespace AS schema FROM pg_class
                     WHERE relkind = 'r'
                    UNION ALL SELECT 'ROUTINE', oid::regprocedure::text, proname, pronamespace FROM pg_proc
                    UNION ALL SELECT 'TYPE', oid::regtype::text, typname, typnamespace FROM pg_type
                     WHERE typtype = 'e' OR typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c')) object
             WHERE schema = 'pgaudit'::regnamespace AND relname LIKE 'procrastinate%')
        LOOP
            EXECUTE command;
        END LOOP;
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
