-- Streams as people and health read them.

-- Each stream with its lag: the events that it has not got to yet, and the age of the oldest of them. That is the age of
-- its batch: a look at the log would lock all partitions, and wait for one that is being detached. The history is read
-- by statement_timestamp, for which an index can be used.
CREATE OR REPLACE VIEW pgaudit.stream_stats AS
    SELECT s.name, s.kind, s.url, s.query, s.form, s.ordered, s.allow_private,
           CASE WHEN s.paused_at IS NOT NULL THEN 'paused' WHEN p.attempts > 0 THEN 'failing' ELSE 'active' END AS state,
           s.paused_at, s.paused_by, s.pause_kind, s.pause_reason,
           p.next_index, greatest(size - p.next_index, 0) AS lag_events,
           CASE WHEN p.next_index < size THEN coalesce(
               (SELECT extract(epoch FROM clock_timestamp() - b.persisted_at)::double precision FROM pgaudit.batch b
                 WHERE b.first_index <= p.next_index ORDER BY b.first_index DESC LIMIT 1), 0) ELSE 0 END AS lag_seconds,
           p.delivered, p.delivered_at, p.attempts, p.failing_since,
           nullif(p.next_attempt_at, '-infinity') AS next_attempt_at, p.error,
           (SELECT coalesce(sum(d.events) / extract(epoch FROM statement_timestamp() - recent.minute), 0)
              FROM pgaudit.delivery d
             WHERE d.stream = s.name AND d.status = 'delivered' AND d.started_at >= recent.minute)::double precision
               AS events_per_second,
           (SELECT count(*) FROM pgaudit.delivery d
             WHERE d.stream = s.name AND d.status = 'failed'
               AND d.started_at > statement_timestamp() - interval '1 day') AS failures_last_day,
           (SELECT count(*) FROM pgaudit.parked k WHERE k.stream = s.name) AS parked,
           s.added_at, s.added_by,
           r.from_index AS replay_from, r.to_index AS replay_to, r.next_index AS replay_next, r.error AS replay_error
      FROM pgaudit.stream s JOIN pgaudit.stream_position p USING (name)
      LEFT JOIN pgaudit.stream_replay r ON r.stream = s.name, pgaudit.log_head,
           (SELECT date_trunc('minute', statement_timestamp()) - interval '5 minutes' AS minute) recent;
