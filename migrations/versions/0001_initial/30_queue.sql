-- What pgaudit changes in Procrastinate's tables, and the queue of audit jobs.

-- Functions name their tables without a schema. Pinned, they work for every caller,
-- whatever its search_path, and no caller can put a table of its own in the way.
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN SELECT oid FROM pg_proc
                     WHERE pronamespace = 'pgaudit'::regnamespace AND proname LIKE 'procrastinate%' LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pgaudit, pg_temp', function);
    END LOOP;
END $$;

-- Audit jobs never NOTIFY: it takes a cluster-wide lock through the commit, and 16 writers fall to 0.07 of their rate
-- when a commit takes 2 ms. They live in a child table, which has none of the parent's triggers. In the parent they are
-- forbidden, so that every scan for audit jobs reads one table.
ALTER TABLE pgaudit.procrastinate_jobs ADD CONSTRAINT no_audit_jobs CHECK (queue_name <> 'audit') NO INHERIT;

-- The parent's foreign key does not reach the child: deleting a worker unlinks its jobs there, too.
CREATE TRIGGER unlink_deleted_workers
    AFTER DELETE ON pgaudit.procrastinate_workers REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.unlink_deleted_workers();

-- Postgres compiles a CHECK for each statement that inserts: an audit job is inserted as 'todo' by record() alone.
ALTER TABLE pgaudit.procrastinate_jobs DROP CONSTRAINT check_not_todo_abort_requested;
ALTER TABLE pgaudit.procrastinate_jobs ADD CONSTRAINT check_not_todo_abort_requested
    CHECK (NOT (status = 'todo' AND abort_requested)) NO INHERIT;

-- A job is fresh until it is first given back (scheduled_at IS NULL), then it waits for scheduled_at.
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

-- A fresh job is found by its id. This index holds all others: what runs, what has failed and, by its time, what waits.
CREATE INDEX audit_jobs_not_fresh_idx ON pgaudit.audit_jobs (status, scheduled_at)
    WHERE status <> 'todo' OR scheduled_at IS NOT NULL;

-- The queue is small and turns over all the time: vacuum it by count, not by share.
ALTER TABLE pgaudit.audit_jobs SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);

-- A worker's own limits, so that views, health and other workers judge it by them. Its token is known to it alone.
ALTER TABLE pgaudit.procrastinate_workers
    ADD token         uuid     NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    ADD stalled_after interval NOT NULL DEFAULT '30 s',
    ADD max_stalls    integer  NOT NULL DEFAULT 5;
ALTER TABLE pgaudit.procrastinate_workers SET (fillfactor = 50);

-- Where the scan for fresh jobs begins; the highest row counts. Without it the scan would read the rows of all finished
-- jobs that vacuum cannot remove yet, for hours if a snapshot is held that long.
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
    PRIMARY KEY (job_id, leaf_hash)  -- an emptied queue may count from 1 again
);
