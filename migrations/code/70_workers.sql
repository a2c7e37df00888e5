-- Workers: their registration, their heartbeats, and the jobs that are reclaimed from stalled ones.

-- register_worker(stalled_after, max_stalls): adds a worker.
--   stalled_after  time without a heartbeat after which its jobs are reclaimed; at most a day
--   max_stalls     number of times that a job is reclaimed; the next stall ends it as failed
-- Returns its id, for people, and its token, which the worker passes to the other functions.
CREATE OR REPLACE FUNCTION pgaudit.register_worker(stalled_after interval DEFAULT '30 s', max_stalls integer DEFAULT 5)
RETURNS TABLE (worker_id bigint, token uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    INSERT INTO procrastinate_workers (last_heartbeat, stalled_after, max_stalls)
    VALUES (clock_timestamp(), least(greatest(stalled_after, '0'), '1 day'), greatest(max_stalls, 0)) RETURNING id, token
$$;

-- unregister_worker(worker): removes a worker that shuts down. Jobs that it still runs are stalled.
CREATE OR REPLACE FUNCTION pgaudit.unregister_worker(worker uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS
$$ DELETE FROM procrastinate_workers WHERE token = worker $$;

-- worker_id_of(worker): returns the id of the worker with that token; NULL if there is none.
CREATE OR REPLACE FUNCTION pgaudit.worker_id_of(worker uuid) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN (SELECT id FROM procrastinate_workers WHERE token = worker);
END $$;

-- heartbeat(worker): notes that the worker is alive.
-- Returns false if its row was deleted: then it has to register again.
CREATE OR REPLACE FUNCTION pgaudit.heartbeat(worker uuid) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH seen AS (UPDATE procrastinate_workers SET last_heartbeat = clock_timestamp() WHERE token = worker RETURNING 1)
    SELECT EXISTS (SELECT FROM seen)
$$;

-- running_jobs(worker): returns the ids of the jobs that the queue marks as run by the worker.
CREATE OR REPLACE FUNCTION pgaudit.running_jobs(worker uuid) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS
$$ SELECT id FROM audit_jobs WHERE status = 'doing' AND worker_id = worker_id_of(worker) $$;

-- unlink_deleted_workers(): trigger; clears worker_id of the jobs of deleted workers, as the foreign key of
-- Procrastinate's table does for other jobs.
CREATE OR REPLACE FUNCTION pgaudit.unlink_deleted_workers() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    UPDATE audit_jobs j SET worker_id = NULL FROM deleted d WHERE j.worker_id = d.id AND j.status = 'doing';
    RETURN NULL;
END $$;

-- take_back_heartbeats(): a heartbeat that is still to come, because the clock was set back, counts as one of this moment:
-- the jobs of a worker that is gone must not wait until that time.
CREATE OR REPLACE FUNCTION pgaudit.take_back_heartbeats() RETURNS void
LANGUAGE sql SET search_path = pgaudit, pg_temp AS $$
    UPDATE procrastinate_workers SET last_heartbeat = clock_timestamp() WHERE id IN (
        SELECT id FROM procrastinate_workers WHERE last_heartbeat > clock_timestamp() FOR UPDATE SKIP LOCKED)
$$;

-- reclaim_stalled_jobs(): gives the jobs of stalled workers back to the queue, where they run alone from now on; ends
-- those as failed that have stalled more often than their worker's max_stalls. Of several concurrent callers, one gets
-- each job. (No advisory lock: any role could hold it.) Deletes workers without a heartbeat for a day.
-- Returns the reclaimed jobs, the worker of each, and how often each has stalled.
CREATE OR REPLACE FUNCTION pgaudit.reclaim_stalled_jobs()
RETURNS TABLE (job_id bigint, worker_id bigint, stalls integer, failed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM take_back_heartbeats();
    RETURN QUERY
    WITH stalled AS (
        SELECT j.id, s.worker_id AS lost_worker, s.heartbeat_age_seconds, s.max_stalls
          FROM stalled_workers_jobs() s JOIN audit_jobs j ON j.id = s.job_id AND j.status = 'doing'
           FOR UPDATE OF j SKIP LOCKED
    ), reclaimed AS (
        UPDATE audit_jobs j
           SET status = CASE WHEN j.stalls + 1 > s.max_stalls THEN 'failed' ELSE 'todo' END::procrastinate_job_status,
               stalls = j.stalls + 1, scheduled_at = clock_timestamp(), worker_id = NULL, abort_requested = false
          FROM stalled s WHERE j.id = s.id
        RETURNING j.*, s.lost_worker, s.heartbeat_age_seconds, s.max_stalls
    ), noted AS (
        INSERT INTO job_error (job_id, event_id, task_name, attempt, error_class, message)
        SELECT id, left(event->>'id', 100), task_name, attempts + 1, 'JobStalled',
               format('worker %s %s while it ran this job (stall %s of at most %s)', coalesce(lost_worker::text, 'unknown'),
                      coalesce('sent no heartbeat for ' || heartbeat_age_seconds::integer || ' s', 'vanished'),
                      stalls, max_stalls)
          FROM reclaimed
    )
    SELECT id, lost_worker, stalls, status = 'failed' FROM reclaimed;
    DELETE FROM procrastinate_workers WHERE id IN (
        SELECT id FROM procrastinate_workers
         WHERE last_heartbeat < clock_timestamp() - greatest(stalled_after, interval '1 day') FOR UPDATE SKIP LOCKED);
END $$;

-- stalled_workers_jobs(): returns the running jobs whose worker was deleted, or has sent no heartbeat for longer than
-- its stalled_after.
CREATE OR REPLACE FUNCTION pgaudit.stalled_workers_jobs()
RETURNS TABLE (job_id bigint, worker_id bigint, heartbeat_age_seconds double precision, max_stalls integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT j.id, j.worker_id, extract(epoch FROM clock_timestamp() - w.last_heartbeat)::double precision,
           coalesce(w.max_stalls, 5)
      FROM audit_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
     WHERE j.status = 'doing' AND (w.id IS NULL OR w.last_heartbeat < clock_timestamp() - w.stalled_after)
$$;
