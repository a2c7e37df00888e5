-- What DBAs read. Views belong to their owner: a reader needs no right on the tables behind them.

-- What is no time, in an event that was made by hand, is NULL: a view that raises tells nobody anything.
CREATE FUNCTION pgaudit.as_time(value text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN value::timestamptz;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

-- Fresh jobs are counted as what is left of all, which reads no columns; the others by the index that holds them.
CREATE VIEW pgaudit.queue_stats AS
SELECT queue_name,
       total - unusual + due AS waiting,
       active,
       delayed,
       failed,
       (SELECT size FROM pgaudit.log_head) AS completed,
       (SELECT count(*) FROM pgaudit.stalled('30 s')) AS stalled,
       extract(epoch FROM clock_timestamp() - (
           SELECT pgaudit.as_time(args->'event'->>'recorded_at') FROM pgaudit.procrastinate_jobs
            WHERE id = least(oldest_fresh, oldest_other)  -- numbers are given in the order of recording
            LIMIT 1  -- the parent may hold a job of the same number, made by hand
       ))::double precision AS oldest_waiting_seconds
  FROM (VALUES ('audit')) AS queue (queue_name),
       (SELECT count(*) AS total FROM pgaudit.procrastinate_jobs) everything,
       (SELECT count(*) AS unusual,
               count(*) FILTER (WHERE status = 'todo' AND scheduled_at <= clock_timestamp()) AS due,
               count(*) FILTER (WHERE status = 'todo' AND scheduled_at > clock_timestamp()) AS delayed,
               count(*) FILTER (WHERE status = 'doing') AS active,
               count(*) FILTER (WHERE status = 'failed') AS failed,
               min(id) FILTER (WHERE status <> 'failed') AS oldest_other
          FROM pgaudit.procrastinate_jobs WHERE status <> 'todo' OR scheduled_at IS NOT NULL) others,
       (SELECT (SELECT id FROM pgaudit.procrastinate_jobs
                 WHERE id >= (SELECT max(floor) FROM pgaudit.queue_floor) AND status = 'todo' AND scheduled_at IS NULL
                 ORDER BY id LIMIT 1) AS oldest_fresh) fresh;
COMMENT ON VIEW pgaudit.queue_stats IS 'The queue in one line: how many jobs in each state, and how old the oldest is.';
COMMENT ON COLUMN pgaudit.queue_stats.queue_name IS 'Name of the queue.';
COMMENT ON COLUMN pgaudit.queue_stats.waiting IS 'Jobs that a worker could take now.';
COMMENT ON COLUMN pgaudit.queue_stats.active IS 'Jobs that a worker has taken as the lead of a batch.';
COMMENT ON COLUMN pgaudit.queue_stats.delayed IS 'Jobs that wait for the time of their retry.';
COMMENT ON COLUMN pgaudit.queue_stats.failed IS 'Jobs whose attempts are used up. They stay until somebody retries them.';
COMMENT ON COLUMN pgaudit.queue_stats.completed IS 'Events in the log.';
COMMENT ON COLUMN pgaudit.queue_stats.stalled IS 'Active jobs whose worker is gone or silent for 30 s.';
COMMENT ON COLUMN pgaudit.queue_stats.oldest_waiting_seconds IS 'Age of the oldest event that is not in the log yet, in seconds, whether it waits for a worker or for its retry, or a worker has it; failed jobs do not count. NULL when there is none.';

CREATE VIEW pgaudit.worker_stats AS
SELECT w.id AS worker_id, w.last_heartbeat,
       extract(epoch FROM clock_timestamp() - w.last_heartbeat)::double precision AS heartbeat_age_seconds,
       w.last_heartbeat > clock_timestamp() - interval '30 s' AS alive,
       count(j.id) AS active_jobs
  FROM pgaudit.procrastinate_workers w
  LEFT JOIN pgaudit.procrastinate_jobs j ON j.worker_id = w.id AND j.status = 'doing'
 GROUP BY w.id;
COMMENT ON VIEW pgaudit.worker_stats IS 'Workers that run, and those of the last day that vanished without a word.';
COMMENT ON COLUMN pgaudit.worker_stats.worker_id IS 'Number of the worker.';
COMMENT ON COLUMN pgaudit.worker_stats.last_heartbeat IS 'Its last sign of life.';
COMMENT ON COLUMN pgaudit.worker_stats.heartbeat_age_seconds IS 'How long ago that was, in seconds.';
COMMENT ON COLUMN pgaudit.worker_stats.alive IS 'Whether that was less than 30 s ago.';
COMMENT ON COLUMN pgaudit.worker_stats.active_jobs IS 'How many jobs it is running.';

-- The last error of each job, by job_error_job_idx.
CREATE VIEW pgaudit.failed_jobs AS
SELECT j.id AS job_id, j.queue_name::text, j.task_name::text, j.args->'event'->>'id' AS event_id,
       j.args->'event'->>'action' AS action, j.attempts, e.at AS failed_at, e.error_class, e.message AS error_message
  FROM pgaudit.procrastinate_jobs j
  LEFT JOIN LATERAL (SELECT * FROM pgaudit.job_error WHERE job_id = j.id ORDER BY id DESC LIMIT 1) e ON true
 WHERE j.status = 'failed';
COMMENT ON VIEW pgaudit.failed_jobs IS 'Jobs whose attempts are used up, with their last error. pgaudit jobs retry runs them again.';
COMMENT ON COLUMN pgaudit.failed_jobs.job_id IS 'Number of the job.';
COMMENT ON COLUMN pgaudit.failed_jobs.queue_name IS 'Its queue.';
COMMENT ON COLUMN pgaudit.failed_jobs.task_name IS 'Its task.';
COMMENT ON COLUMN pgaudit.failed_jobs.event_id IS 'The event it carries; text, for a broken event may hold anything.';
COMMENT ON COLUMN pgaudit.failed_jobs.action IS 'The action of that event.';
COMMENT ON COLUMN pgaudit.failed_jobs.attempts IS 'How often it was tried.';
COMMENT ON COLUMN pgaudit.failed_jobs.failed_at IS 'When it failed for good.';
COMMENT ON COLUMN pgaudit.failed_jobs.error_class IS 'Name of its last error.';
COMMENT ON COLUMN pgaudit.failed_jobs.error_message IS 'What the last error said.';

CREATE VIEW pgaudit.stalled_jobs AS
SELECT j.id AS job_id, j.queue_name::text, j.task_name::text, j.args->'event'->>'id' AS event_id, j.attempts,
       s.worker_id, extract(epoch FROM s.silent)::double precision AS heartbeat_age_seconds
  FROM pgaudit.stalled('30 s') s JOIN pgaudit.procrastinate_jobs j ON j.id = s.job_id;
COMMENT ON VIEW pgaudit.stalled_jobs IS 'Running jobs whose worker is gone or silent for 30 s. The next worker''s round reclaims them.';
COMMENT ON COLUMN pgaudit.stalled_jobs.job_id IS 'Number of the job.';
COMMENT ON COLUMN pgaudit.stalled_jobs.queue_name IS 'Its queue.';
COMMENT ON COLUMN pgaudit.stalled_jobs.task_name IS 'Its task.';
COMMENT ON COLUMN pgaudit.stalled_jobs.event_id IS 'The event it carries.';
COMMENT ON COLUMN pgaudit.stalled_jobs.attempts IS 'How often it was tried before.';
COMMENT ON COLUMN pgaudit.stalled_jobs.worker_id IS 'The worker that took it; NULL when that worker is forgotten.';
COMMENT ON COLUMN pgaudit.stalled_jobs.heartbeat_age_seconds IS 'For how long that worker has been silent; NULL when it is gone.';

CREATE VIEW pgaudit.delayed_jobs AS
SELECT j.id AS job_id, j.queue_name::text, j.task_name::text, j.args->'event'->>'id' AS event_id, j.attempts,
       j.scheduled_at, e.message AS last_error
  FROM pgaudit.procrastinate_jobs j
  LEFT JOIN LATERAL (SELECT * FROM pgaudit.job_error WHERE job_id = j.id ORDER BY id DESC LIMIT 1) e ON true
 WHERE j.status = 'todo' AND j.scheduled_at > clock_timestamp();
COMMENT ON VIEW pgaudit.delayed_jobs IS 'Jobs that wait for the time of their retry.';
COMMENT ON COLUMN pgaudit.delayed_jobs.job_id IS 'Number of the job.';
COMMENT ON COLUMN pgaudit.delayed_jobs.queue_name IS 'Its queue.';
COMMENT ON COLUMN pgaudit.delayed_jobs.task_name IS 'Its task.';
COMMENT ON COLUMN pgaudit.delayed_jobs.event_id IS 'The event it carries.';
COMMENT ON COLUMN pgaudit.delayed_jobs.attempts IS 'How often it was tried.';
COMMENT ON COLUMN pgaudit.delayed_jobs.scheduled_at IS 'When it runs again.';
COMMENT ON COLUMN pgaudit.delayed_jobs.last_error IS 'Why it has to.';

CREATE VIEW pgaudit.throughput AS
SELECT date_trunc('minute', persisted_at) AS minute, sum(count)::bigint AS events, count(*) AS batches,
       (sum(count * extract(epoch FROM persisted_at - oldest_recorded
                                       + (persisted_at - newest_recorded))) / 2 / sum(count))::double precision AS avg_lag_seconds,
       max(extract(epoch FROM persisted_at - oldest_recorded))::double precision AS max_lag_seconds
  FROM pgaudit.batch
 WHERE persisted_at > now() - interval '24 hours'
 GROUP BY 1 ORDER BY 1 DESC;
COMMENT ON VIEW pgaudit.throughput IS 'Events and lag, minute by minute, over the last 24 hours; the newest minute first.';
COMMENT ON COLUMN pgaudit.throughput.minute IS 'Start of the minute.';
COMMENT ON COLUMN pgaudit.throughput.events IS 'Events that reached the log in it.';
COMMENT ON COLUMN pgaudit.throughput.batches IS 'In how many batches.';
COMMENT ON COLUMN pgaudit.throughput.avg_lag_seconds IS 'Seconds from recorded to persisted: the middle of each batch''s oldest and newest, averaged over events.';
COMMENT ON COLUMN pgaudit.throughput.max_lag_seconds IS 'Seconds from recorded to persisted for the slowest event.';

CREATE VIEW pgaudit.storage_stats AS
SELECT c.relname::text AS table_name,
       greatest(c.reltuples, 0)::bigint AS estimated_rows,
       pg_total_relation_size(c.oid) AS total_bytes,
       s.n_dead_tup AS dead_rows,
       s.last_autovacuum
  FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
 WHERE c.relnamespace = 'pgaudit'::regnamespace AND c.relkind = 'r'
 ORDER BY total_bytes DESC;
COMMENT ON VIEW pgaudit.storage_stats IS 'Size and bloat of every table and partition of the schema; the largest first.';
COMMENT ON COLUMN pgaudit.storage_stats.table_name IS 'Table or partition.';
COMMENT ON COLUMN pgaudit.storage_stats.estimated_rows IS 'Rows, as of the last vacuum or analyze.';
COMMENT ON COLUMN pgaudit.storage_stats.total_bytes IS 'Bytes on disk, with indexes and TOAST.';
COMMENT ON COLUMN pgaudit.storage_stats.dead_rows IS 'Rows that vacuum has still to remove.';
COMMENT ON COLUMN pgaudit.storage_stats.last_autovacuum IS 'Last vacuum by itself.';
