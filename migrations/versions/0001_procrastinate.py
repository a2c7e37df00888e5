"""Procrastinate's tables, from the installed package's own migration files."""

from procrastinate.schema import migrations_path

from pgaudit.migrate import run_file, run_sql

revision = "0001"
down_revision = None

LAST = "03.04.00_50_post_add_retry_failed_job_procedure.sql"


def upgrade() -> None:
    run_sql("SET LOCAL search_path = pgaudit, pg_temp")
    for path in sorted(migrations_path.glob("*.sql")):
        if path.name <= LAST:
            run_file(path)
    run_sql("RESET search_path")


def downgrade() -> None:
    run_sql("""
        DROP TABLE pgaudit.procrastinate_events, pgaudit.procrastinate_periodic_defers,
                   pgaudit.procrastinate_jobs, pgaudit.procrastinate_workers CASCADE;
        DO $$ DECLARE function regprocedure; BEGIN
            FOR function IN SELECT oid FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace LOOP
                EXECUTE format('DROP FUNCTION %s CASCADE', function);
            END LOOP;
        END $$;
        DROP TYPE pgaudit.procrastinate_job_to_defer_v1, pgaudit.procrastinate_job_event_type,
                  pgaudit.procrastinate_job_status;
    """)
