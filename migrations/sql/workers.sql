-- Which workers live, what they run, and what is taken from those that do not.

-- The jobs that a worker is said to be running.
CREATE FUNCTION pgaudit.jobs_of(worker bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS
$$ SELECT id FROM procrastinate_jobs WHERE worker_id = worker AND status = 'doing' $$;

-- A sign of life. A worker whose row was pruned while it lived gets it back.
CREATE FUNCTION pgaudit.beat(worker bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    INSERT INTO procrastinate_workers (id, last_heartbeat) OVERRIDING SYSTEM VALUE VALUES (worker, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET last_heartbeat = excluded.last_heartbeat
$$;

-- Running jobs whose worker is gone or silent for longer than that.
CREATE FUNCTION pgaudit.stalled(after interval) RETURNS TABLE (job_id bigint, worker_id bigint, silent interval)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT j.id, j.worker_id, clock_timestamp() - w.last_heartbeat
      FROM procrastinate_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
     WHERE j.status = 'doing' AND (w.id IS NULL OR w.last_heartbeat < clock_timestamp() - after)
$$;

-- Puts stalled jobs back in the queue, to run alone from now on, or fails them after max_stalls. Of several callers
-- at once each job has one. (No advisory lock: any role could hold it.) Workers that were silent for a day are forgotten.
CREATE FUNCTION pgaudit.reclaim_stalled(after interval, max_stalls integer)
RETURNS TABLE (job_id bigint, worker_id bigint, stalls integer, failed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH stalled AS (
        SELECT j.id, s.worker_id, s.silent, greatest(-1 - j.priority, 0) + 1 AS stalls
          FROM stalled(after) s JOIN procrastinate_jobs j ON j.id = s.job_id AND j.status = 'doing'
           FOR UPDATE OF j SKIP LOCKED
    ), reclaimed AS (
        UPDATE procrastinate_jobs j
           SET status = CASE WHEN stalls > max_stalls THEN 'failed' ELSE 'todo' END::procrastinate_job_status,
               priority = -1 - stalls, scheduled_at = clock_timestamp(), worker_id = NULL, abort_requested = false
          FROM stalled s WHERE j.id = s.id
        RETURNING j.*, s.stalls, s.worker_id AS lost_worker, s.silent
    ), noted AS (
        INSERT INTO job_error (job_id, event_id, task_name, attempt, error_class, message)
        SELECT id, args->'event'->>'id', task_name, attempts + 1, 'JobStalled',
               format('worker %s %s while it ran this job (stall %s of at most %s)', coalesce(lost_worker::text, 'unknown'),
                      coalesce('gave no sign of life for ' || extract(epoch FROM silent)::integer || ' s', 'vanished'),
                      stalls, max_stalls)
          FROM reclaimed
    )
    SELECT id, lost_worker, stalls, status = 'failed' FROM reclaimed;
    DELETE FROM procrastinate_workers WHERE id IN (
        SELECT id FROM procrastinate_workers
         WHERE last_heartbeat < clock_timestamp() - greatest(after, interval '1 day') FOR UPDATE SKIP LOCKED);
END $$;
