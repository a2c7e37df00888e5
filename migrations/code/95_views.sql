-- Views for DBAs; their comments are in 97_comments.sql. They run with their owner's rights: a reader needs none on the
-- tables behind them.

-- Computed from the last batch: a counter would have to be updated by each append.
CREATE OR REPLACE VIEW pgaudit.log_head AS
SELECT coalesce((SELECT first_index + count FROM pgaudit.batch ORDER BY first_index DESC LIMIT 1), 0) AS size;

-- Fresh jobs are counted as all jobs minus the others.
CREATE OR REPLACE VIEW pgaudit.queue_stats AS
SELECT queue_name,
       pgaudit.count_jobs() - not_fresh + due AS waiting,
       active,
       delayed,
       failed,
       (SELECT size FROM pgaudit.log_head) AS completed,
       (SELECT count(*) FROM pgaudit.stalled_workers_jobs()) AS stalled,
       extract(epoch FROM clock_timestamp() - oldest_recorded)::double precision AS oldest_waiting_seconds
  FROM (VALUES ('audit')) AS queue (queue_name), pgaudit.queue_state();

CREATE OR REPLACE VIEW pgaudit.worker_stats AS
SELECT w.id AS worker_id, w.last_heartbeat,
       extract(epoch FROM clock_timestamp() - w.last_heartbeat)::double precision AS heartbeat_age_seconds,
       w.last_heartbeat > clock_timestamp() - w.stalled_after AS alive,
       count(j.id) AS active_jobs
  FROM pgaudit.procrastinate_workers w
  LEFT JOIN pgaudit.audit_jobs j ON j.worker_id = w.id AND j.status = 'doing'
 GROUP BY w.id;

-- The last error of each job, by job_error_job_idx.
CREATE OR REPLACE VIEW pgaudit.failed_jobs AS
SELECT j.id AS job_id, j.queue_name::text, j.task_name::text, left(j.event->>'id', 100) AS event_id,
       left(j.event->>'action', 200) AS action, j.attempts, e.failed_at, e.error_class, e.message AS error_message
  FROM pgaudit.audit_jobs j
  LEFT JOIN LATERAL (SELECT * FROM pgaudit.job_error WHERE job_id = j.id ORDER BY id DESC LIMIT 1) e ON true
 WHERE j.status = 'failed';

CREATE OR REPLACE VIEW pgaudit.stalled_jobs AS
SELECT j.id AS job_id, j.queue_name::text, j.task_name::text, left(j.event->>'id', 100) AS event_id, j.attempts,
       s.worker_id, s.heartbeat_age_seconds
  FROM pgaudit.stalled_workers_jobs() s JOIN pgaudit.audit_jobs j ON j.id = s.job_id;

CREATE OR REPLACE VIEW pgaudit.delayed_jobs AS
SELECT j.id AS job_id, j.queue_name::text, j.task_name::text, left(j.event->>'id', 100) AS event_id, j.attempts,
       j.scheduled_at, e.message AS last_error
  FROM pgaudit.audit_jobs j
  LEFT JOIN LATERAL (SELECT * FROM pgaudit.job_error WHERE job_id = j.id ORDER BY id DESC LIMIT 1) e ON true
 WHERE j.status = 'todo' AND j.scheduled_at > clock_timestamp();

CREATE OR REPLACE VIEW pgaudit.conflicting_events AS
SELECT index, event_id, conflicts_with, recorded_at FROM pgaudit.event_conflict;

CREATE OR REPLACE VIEW pgaudit.throughput AS
SELECT date_trunc('minute', persisted_at) AS minute, sum(count)::bigint AS events, sum(batches)::bigint AS batches,
       (sum(count * extract(epoch FROM persisted_at - oldest_recorded
                                       + (persisted_at - newest_recorded))) / 2 / sum(count))::double precision AS avg_lag_seconds,
       max(extract(epoch FROM persisted_at - oldest_recorded))::double precision AS max_lag_seconds
  FROM pgaudit.batch
 WHERE persisted_at > now() - interval '24 hours'
 GROUP BY 1 ORDER BY 1 DESC;

-- xmax of the row of log_lock is the transaction that locked it last. While that is open, pg_locks has it.
CREATE OR REPLACE VIEW pgaudit.log_lock_holder AS
SELECT held.pid, prepared.gid AS prepared_transaction, coalesce(activity.usename, prepared.owner)::text AS role,
       activity.application_name::text, coalesce(activity.xact_start, prepared.prepared) AS since
  FROM pgaudit.log_lock
  JOIN pg_locks held ON held.locktype = 'transactionid' AND held.mode = 'ExclusiveLock' AND held.granted
                    AND held.transactionid = log_lock.xmax
  LEFT JOIN pg_stat_activity activity ON activity.pid = held.pid
  LEFT JOIN pg_prepared_xacts prepared ON prepared.transaction = held.transactionid;

CREATE OR REPLACE VIEW pgaudit.storage_stats AS
SELECT c.relname::text AS table_name,
       greatest(c.reltuples, 0)::bigint AS estimated_rows,
       pg_total_relation_size(c.oid) AS total_bytes,
       s.n_dead_tup AS dead_rows,
       s.last_autovacuum
  FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
 WHERE c.relnamespace = 'pgaudit'::regnamespace AND c.relkind = 'r'
 ORDER BY total_bytes DESC;

-- A finding stands until a later verification of the same events finds nothing: one that began behind them says nothing
-- about them. One of all that the log has settles those about partitions that were detached since.
CREATE OR REPLACE VIEW pgaudit.failed_verifications AS
SELECT id, first_index, end_index, findings, found, verified_at, verified_by
  FROM pgaudit.verification failed
 WHERE findings > 0
   AND NOT EXISTS (SELECT FROM pgaudit.verification later
                    WHERE later.id > failed.id AND later.findings = 0
                      AND (later.whole OR later.first_index <= failed.first_index));

CREATE OR REPLACE VIEW pgaudit.sealing_stats AS
SELECT head.size,
       newest.size AS checkpoint_size,
       newest.signed_at,
       greatest(head.size - coalesce(newest.size, 0), 0) AS unsigned_events,
       -- Since the first batch behind the last checkpoint.
       coalesce((SELECT extract(epoch FROM clock_timestamp() - persisted_at) FROM pgaudit.batch
                  WHERE first_index + count > newest.size AND first_index >= newest.size - 100000
                  ORDER BY first_index LIMIT 1), 0)::double precision AS unsigned_seconds,
       state.refused,
       state.refused_since,
       -- A worker that verifies says so each minute.
       coalesce(state.verifying_at > clock_timestamp() - interval '2 minutes'
                AND state.verifying_at > ALL (SELECT verified_at FROM pgaudit.verification ORDER BY id DESC LIMIT 1),
                false) AS verifying,
       latest.end_index AS verified_end,
       latest.verified_at,
       whole.first_index AS fully_verified_first,
       whole.end_index AS fully_verified_end,
       whole.verified_at AS fully_verified_at,
       whole.level,
       failed.verified_at AS failed_at,
       failed.findings,
       failed.found
  FROM pgaudit.log_head head
 CROSS JOIN pgaudit.sealing_state state
  LEFT JOIN LATERAL (SELECT size, signed_at FROM pgaudit.checkpoint ORDER BY size DESC LIMIT 1) newest ON true
  LEFT JOIN LATERAL (SELECT end_index, verified_at FROM pgaudit.verification
                      WHERE findings = 0 ORDER BY id DESC LIMIT 1) latest ON true
  LEFT JOIN LATERAL (SELECT first_index, end_index, verified_at, level FROM pgaudit.verification v
                      WHERE findings = 0 AND v.whole ORDER BY id DESC LIMIT 1) whole ON true
  LEFT JOIN LATERAL (SELECT verified_at, findings, found FROM pgaudit.failed_verifications
                      ORDER BY id DESC LIMIT 1) failed ON true;

-- Creates the first partition and the one ahead of it: ensure_partitions() needs the view log_head.
DO $$ BEGIN PERFORM pgaudit.ensure_partitions(); END $$;
