-- What becomes of a job that was not persisted: retried, failed or released.

-- Writes down a failed attempt and what follows from it: a retry in retry_in seconds, or, when that is
-- NULL, the end. A failure that does not count (counted = false) leaves attempts as they are.
-- Does nothing, and says so, when the job has moved on meanwhile.
CREATE FUNCTION pgaudit.settle_failure(job bigint, worker bigint, seen_attempts integer, counted boolean,
                                       retry_in double precision, error_class text, sqlstate text,
                                       message text, traceback text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    settled procrastinate_jobs;
BEGIN
    UPDATE procrastinate_jobs
       SET status = CASE WHEN retry_in IS NULL THEN 'failed' ELSE 'todo' END::procrastinate_job_status,
           attempts = attempts + counted::integer,
           scheduled_at = clock_timestamp() + make_interval(secs => retry_in),
           priority = CASE WHEN retry_in IS NULL THEN priority ELSE least(priority, -1) END,
           worker_id = NULL, abort_requested = false
     WHERE id = job AND attempts = seen_attempts AND (status = 'todo' OR status = 'doing' AND worker_id = worker)
    RETURNING * INTO settled;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO job_error (job_id, event_id, task_name, attempt, error_class, sqlstate, message, traceback)
    VALUES (job, settled.args->'event'->>'id', settled.task_name, seen_attempts + 1, error_class, sqlstate, message, traceback);
    RETURN true;
END $$;

-- Gives a worker's own jobs back: nothing was tried, nothing is counted. They are due at once, and found by their
-- time, for the floor may have risen above them.
CREATE FUNCTION pgaudit.release(jobs bigint[], worker bigint) RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH released AS (
        UPDATE procrastinate_jobs
           SET status = 'todo', scheduled_at = clock_timestamp(), worker_id = NULL, abort_requested = false
         WHERE id = ANY (jobs) AND status = 'doing' AND worker_id = worker RETURNING id)
    SELECT coalesce(array_agg(id), '{}') FROM released
$$;

-- Runs failed jobs again, from their first attempt; NULL means all. Returns the ids of those that had failed.
CREATE FUNCTION pgaudit.retry_failed(jobs bigint[]) RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH retried AS (
        UPDATE procrastinate_jobs
           SET status = 'todo', attempts = 0, priority = -1, scheduled_at = clock_timestamp(), worker_id = NULL
         WHERE status = 'failed' AND (jobs IS NULL OR id = ANY (jobs)) RETURNING id)
    SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM retried
$$;
