-- What pgaudit changes in Procrastinate's tables, and why.
-- The tables stay Procrastinate's own: same names, same columns, same functions.

-- Functions name their tables without a schema. Pinned, they work for every caller,
-- whatever its search_path, and no caller can put a table of its own in the way.
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN SELECT oid FROM pg_proc
                     WHERE pronamespace = 'pgaudit'::regnamespace AND proname LIKE 'procrastinate%' LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pgaudit, pg_temp', function);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END $$;

-- NOTIFY takes a cluster-wide lock through the commit: 16 writers fall to 0.07 of their
-- rate when a commit takes 2 ms. Audit jobs are polled for instead.
DROP TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1 ON pgaudit.procrastinate_jobs;
CREATE TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1
    AFTER INSERT ON pgaudit.procrastinate_jobs
    FOR EACH ROW WHEN (NEW.queue_name <> 'audit')
    EXECUTE FUNCTION pgaudit.procrastinate_notify_queue_job_inserted_v1();

-- A second row for every audit job ("deferred") would double the cost of recording. Postgres compiles the
-- condition anew for each statement: Procrastinate's own test, that a new job is 'todo', would cost 2 µs more.
DROP TRIGGER procrastinate_trigger_status_events_insert_v1 ON pgaudit.procrastinate_jobs;
CREATE TRIGGER procrastinate_trigger_status_events_insert_v1
    AFTER INSERT ON pgaudit.procrastinate_jobs
    FOR EACH ROW WHEN (NEW.queue_name <> 'audit')
    EXECUTE FUNCTION pgaudit.procrastinate_trigger_function_status_events_insert_v1();

-- Foreign keys and the delete trigger run once per job; the statement triggers below do
-- the same work once per batch, and a drain is 1.6 times as fast for it.
ALTER TABLE pgaudit.procrastinate_jobs DROP CONSTRAINT procrastinate_jobs_worker_id_fkey;
ALTER TABLE pgaudit.procrastinate_events DROP CONSTRAINT procrastinate_events_job_id_fkey;
ALTER TABLE pgaudit.procrastinate_periodic_defers DROP CONSTRAINT procrastinate_periodic_defers_job_id_fkey;
DROP TRIGGER procrastinate_trigger_delete_jobs_v1 ON pgaudit.procrastinate_jobs;

CREATE FUNCTION pgaudit.unlink_deleted_jobs() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM procrastinate_events) THEN  -- audit jobs have none
        DELETE FROM procrastinate_events e USING deleted d WHERE e.job_id = d.id;
    END IF;
    IF EXISTS (SELECT FROM procrastinate_periodic_defers) THEN
        UPDATE procrastinate_periodic_defers p SET job_id = NULL FROM deleted d WHERE p.job_id = d.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER unlink_deleted_jobs
    AFTER DELETE ON pgaudit.procrastinate_jobs REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.unlink_deleted_jobs();

CREATE FUNCTION pgaudit.unlink_deleted_workers() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    UPDATE procrastinate_jobs j SET worker_id = NULL
      FROM deleted d WHERE j.worker_id = d.id AND j.status = 'doing';
    RETURN NULL;
END $$;
CREATE TRIGGER unlink_deleted_workers
    AFTER DELETE ON pgaudit.procrastinate_workers REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.unlink_deleted_workers();

-- Audit jobs have no locks and one queue: an index entry for either buys nothing.
DROP INDEX pgaudit.procrastinate_jobs_queueing_lock_idx_v1;
CREATE UNIQUE INDEX procrastinate_jobs_queueing_lock_idx_v1 ON pgaudit.procrastinate_jobs (queueing_lock)
    WHERE status = 'todo' AND queueing_lock IS NOT NULL;
DROP INDEX pgaudit.procrastinate_jobs_lock_idx_v1;
CREATE UNIQUE INDEX procrastinate_jobs_lock_idx_v1 ON pgaudit.procrastinate_jobs (lock)
    WHERE status = 'doing' AND lock IS NOT NULL;
DROP INDEX pgaudit.procrastinate_jobs_id_lock_idx_v1;
CREATE INDEX procrastinate_jobs_id_lock_idx_v1 ON pgaudit.procrastinate_jobs (id, lock)
    WHERE status IN ('todo', 'doing') AND lock IS NOT NULL;
DROP INDEX pgaudit.procrastinate_jobs_queue_name_idx_v1;

-- Audit jobs live in a child of Procrastinate's table. Who reads, changes or deletes jobs there finds them, while an
-- INSERT pays for none of the parent's checks, triggers and partial indexes, whose conditions Postgres compiles anew
-- for each statement: they are 19 of the 28 µs that a job costs in the parent.
ALTER TABLE pgaudit.procrastinate_jobs DROP CONSTRAINT check_not_todo_abort_requested;
ALTER TABLE pgaudit.procrastinate_jobs ADD CONSTRAINT check_not_todo_abort_requested
    CHECK (NOT (status = 'todo' AND abort_requested)) NO INHERIT;
CREATE TABLE pgaudit.audit_jobs () INHERITS (pgaudit.procrastinate_jobs);
COMMENT ON TABLE pgaudit.audit_jobs IS 'The audit jobs among procrastinate_jobs, whose child it is.';

-- A fresh job is found by its number; this index holds all others: what runs, what has failed, and, by its time,
-- what waits for a retry. The parent has it too, for a job that somebody puts there.
ALTER TABLE pgaudit.audit_jobs ADD PRIMARY KEY (id);
CREATE INDEX audit_jobs_unusual_idx ON pgaudit.audit_jobs (status, scheduled_at)
    WHERE status <> 'todo' OR scheduled_at IS NOT NULL;
CREATE INDEX jobs_unusual_idx ON pgaudit.procrastinate_jobs (status, scheduled_at)
    WHERE status <> 'todo' OR scheduled_at IS NOT NULL;

CREATE TRIGGER unlink_deleted_jobs
    AFTER DELETE ON pgaudit.audit_jobs REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.unlink_deleted_jobs();

-- The queue is small and turns over all the time: vacuum it by count, not by share.
ALTER TABLE pgaudit.audit_jobs SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE pgaudit.procrastinate_workers SET (fillfactor = 50);

-- Where the scan for fresh jobs begins: below the highest floor there are none and will be none. While vacuum cannot
-- remove the rows of jobs that are done, for a snapshot that is held for hours, the scan would else read all of them.
CREATE TABLE pgaudit.queue_floor (
    floor  bigint PRIMARY KEY,
    issued bigint NOT NULL,
    "before" xid8 NOT NULL
);
INSERT INTO pgaudit.queue_floor VALUES (0, 0, '0');
COMMENT ON TABLE pgaudit.queue_floor IS 'Where the scan for fresh jobs begins; the highest floor counts.';
COMMENT ON COLUMN pgaudit.queue_floor.floor IS 'No fresh job has, or will have, a lower number.';
COMMENT ON COLUMN pgaudit.queue_floor.issued IS 'The highest number that a job had been given when the floor was raised.';
COMMENT ON COLUMN pgaudit.queue_floor."before" IS 'Every transaction to which a number up to issued was given is older than this one.';
