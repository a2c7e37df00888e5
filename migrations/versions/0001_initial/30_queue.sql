-- Changes to Procrastinate's tables and functions, and the queue of audit jobs.

-- Procrastinate's functions name tables without a schema. A pinned search_path makes them independent of the caller's,
-- and keeps a caller from shadowing the tables with its own.
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN SELECT oid FROM pg_proc
                     WHERE pronamespace = 'pgaudit'::regnamespace AND proname LIKE 'procrastinate%' LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pgaudit, pg_temp', function);
    END LOOP;
END $$;

-- Audit jobs send no NOTIFY: it holds a cluster-wide lock through the commit, and reduces 16 writers to 0.07 of their
-- rate when a commit takes 2 ms. So they are in a child table, which has none of the parent's triggers. The parent
-- forbids them, so that every scan for audit jobs reads one table.
ALTER TABLE pgaudit.procrastinate_jobs ADD CONSTRAINT no_audit_jobs CHECK (queue_name <> 'audit') NO INHERIT;

-- A child table does not inherit the parent's foreign key: this trigger clears worker_id when a worker is deleted.
CREATE TRIGGER unlink_deleted_workers
    AFTER DELETE ON pgaudit.procrastinate_workers REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.unlink_deleted_workers();

-- NO INHERIT, because Postgres compiles a CHECK for each INSERT, and record() inserts no job for which it would fail.
ALTER TABLE pgaudit.procrastinate_jobs DROP CONSTRAINT check_not_todo_abort_requested;
ALTER TABLE pgaudit.procrastinate_jobs ADD CONSTRAINT check_not_todo_abort_requested
    CHECK (NOT (status = 'todo' AND abort_requested)) NO INHERIT;

-- scheduled_at is NULL while a job is fresh. A job that was given back to the queue is due at scheduled_at.
CREATE TABLE pgaudit.audit_jobs (
    event       jsonb   NOT NULL,
    leaf_hash   bytea   NOT NULL,
    event_bytes integer NOT NULL,
    stalls      integer NOT NULL DEFAULT 0,
    PRIMARY KEY (id)
) INHERITS (pgaudit.procrastinate_jobs);
ALTER TABLE pgaudit.audit_jobs
    ALTER queue_name SET DEFAULT 'audit',
    ALTER task_name SET DEFAULT 'pgaudit.persist';

-- Fresh jobs are found by their id. This index has all others: running, failed and, by scheduled_at, waiting ones.
CREATE INDEX audit_jobs_not_fresh_idx ON pgaudit.audit_jobs (status, scheduled_at)
    WHERE status <> 'todo' OR scheduled_at IS NOT NULL;

-- Failed jobs are listed by id, page by page, and nothing is paid for it until a job fails.
CREATE INDEX audit_jobs_failed_idx ON pgaudit.audit_jobs (id) WHERE status = 'failed';

-- The queue is small and changes all the time: vacuum it after a number of rows, not after a share of the table.
ALTER TABLE pgaudit.audit_jobs SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);

-- A worker's own limits, by which views, health and other workers decide whether it is stalled. Only the worker itself
-- knows its token.
ALTER TABLE pgaudit.procrastinate_workers
    ADD token         uuid     NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    ADD stalled_after interval NOT NULL DEFAULT '30 s',
    ADD max_stalls    integer  NOT NULL DEFAULT 5;
ALTER TABLE pgaudit.procrastinate_workers SET (fillfactor = 50);

-- Where the scan for fresh jobs begins; the highest row is in force. Without it the scan would read the rows of all
-- finished jobs that vacuum cannot remove yet: those of hours, if a snapshot is open for hours.
CREATE TABLE pgaudit.queue_watermark (
    low_watermark bigint PRIMARY KEY,
    max_issued_id bigint NOT NULL,
    safe_xid      xid8   NOT NULL,
    passed_xids   xid8[] NOT NULL DEFAULT '{}'
);
INSERT INTO pgaudit.queue_watermark (low_watermark, max_issued_id, safe_xid) VALUES (0, 0, '0');

CREATE TABLE pgaudit.job_error (
    id          bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    job_id      bigint      NOT NULL,
    event_id    text,
    task_name   text        NOT NULL,
    attempt     integer     NOT NULL,
    error_class text        NOT NULL,
    sqlstate    text,
    message     text        NOT NULL,
    traceback   text,
    failed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX job_error_job_idx ON pgaudit.job_error (job_id, id);
CREATE INDEX job_error_failed_at_idx ON pgaudit.job_error (failed_at);

CREATE TABLE pgaudit.acknowledged_jobs (
    job_id          bigint      NOT NULL,
    event           jsonb       NOT NULL,
    leaf_hash       bytea       NOT NULL,
    attempts        integer     NOT NULL,
    error_class     text,
    error_message   text,
    reason          text        NOT NULL,
    acknowledged_by text        NOT NULL,
    acknowledged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job_id, leaf_hash)  -- after a TRUNCATE of the queue, ids may begin at 1 again
);
