-- Processors as people and health read them.

-- Each processor with its lag, which is what was not dispatched yet, and with its jobs. Its age is that of its batch, as
-- for streams: a look at the log would wait for a partition that is being detached.
CREATE OR REPLACE VIEW pgaudit.processor_stats AS
    SELECT s.name, s.query, CASE WHEN s.paused_at IS NULL THEN 'active' ELSE 'paused' END AS state,
           s.paused_at, s.paused_by, s.pause_kind, s.pause_reason,
           at.next_index, greatest(size - at.next_index, 0) AS lag_events,
           CASE WHEN at.next_index < size THEN coalesce(
               (SELECT extract(epoch FROM clock_timestamp() - b.persisted_at)::double precision FROM pgaudit.batch b
                 WHERE b.first_index <= at.next_index ORDER BY b.first_index DESC LIMIT 1), 0) ELSE 0 END AS lag_seconds,
           jobs.waiting, jobs.delayed, jobs.running, jobs.failed,
           extract(epoch FROM clock_timestamp() - jobs.oldest_due)::double precision AS oldest_waiting_seconds,
           extract(epoch FROM clock_timestamp() - jobs.oldest_started)::double precision AS longest_running_seconds,
           p.succeeded, p.discarded,
           p.per_second * exp(least(extract(epoch FROM p.ended_at - clock_timestamp())::double precision / 300, 0)) AS jobs_per_second,
           p.failures AS failures_in_a_row, p.error AS last_error, p.ended_at AS last_ended_at,
           (SELECT coalesce(sum(b.to_index + 1 - b.next_index), 0)::bigint FROM pgaudit.processor_backfill b
             WHERE b.processor = p.name AND b.ended_at IS NULL) AS backfill_events,
           p.concurrency, p.rate, p.break_after, s.added_at, p.known_at
      FROM pgaudit.processor p JOIN pgaudit.stream s USING (name) JOIN pgaudit.stream_position at USING (name),
           LATERAL (SELECT count(*) FILTER (WHERE j.status = 'todo' AND j.scheduled_at <= clock_timestamp()) AS waiting,
                           count(*) FILTER (WHERE j.status = 'todo' AND j.scheduled_at > clock_timestamp()) AS delayed,
                           count(*) FILTER (WHERE j.status = 'doing') AS running,
                           count(*) FILTER (WHERE j.status = 'failed') AS failed,
                           min(j.scheduled_at) FILTER (WHERE j.status = 'todo' AND j.scheduled_at <= clock_timestamp())
                               AS oldest_due,
                           min(j.started_at) FILTER (WHERE j.status = 'doing') AS oldest_started
                      FROM pgaudit.processor_jobs j WHERE j.task_name = p.name) jobs,
           pgaudit.log_head;
