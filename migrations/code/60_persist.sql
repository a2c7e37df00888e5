-- Persisting: from the queue into the log, one batch in one transaction.

-- persist(worker, first_job, max_jobs, max_attempts, retry_delay, max_retry_delay, traced): appends a batch and deletes
-- its jobs, or does neither.
--   worker           the worker's token; NULL to drain without one
--   first_job        the job that the worker has fetched; NULL for the oldest fresh ones
--   max_jobs         largest number of jobs in the batch
--   max_attempts, retry_delay, max_retry_delay
--                    see record_failures
--   traced           whether to return traceparents
-- Returns:
--   taken            number of jobs that were taken
--   failures         the jobs that could not be appended, as record_failures returns them
--   traceparents     W3C traceparents of the events taken, each once, at most 128
CREATE OR REPLACE FUNCTION pgaudit.persist(
    worker uuid, first_job bigint, max_jobs integer,
    max_attempts integer DEFAULT NULL, retry_delay interval DEFAULT NULL, max_retry_delay interval DEFAULT NULL,
    traced boolean DEFAULT false,
    OUT taken integer, OUT failures jsonb[], OUT traceparents text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'postgres'
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    issued bigint   := max_issued_id();  -- before this transaction has an xid
    holder bigint   := worker_id_of(worker);
    jobs   bigint[] := take_batch(holder, first_job, max_jobs);
BEGIN
    taken := cardinality(jobs);
    failures := '{}';
    IF taken > 0 THEN
        IF traced THEN
            traceparents := traceparents(jobs);
        END IF;
        failures := tampered_jobs(jobs);
        PERFORM lock_log();  -- before duplicates are looked for, so that events appended meanwhile are seen
        failures := failures || append(without_failed(jobs, failures), holder);
        PERFORM delete_logged_jobs(jobs, failures);
        failures := record_failures(failures, max_attempts, retry_delay, max_retry_delay);
        IF jobs[taken] > low_watermark() + 1000 THEN
            PERFORM advance_watermark(issued, jobs[taken]);
        END IF;
    END IF;
END $$;

-- delete_logged_jobs(jobs, failures): deletes the jobs that did not fail: their events are in the log.
CREATE OR REPLACE FUNCTION pgaudit.delete_logged_jobs(jobs bigint[], failures jsonb[]) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    deleted integer;
BEGIN
    jobs := without_failed(jobs, failures);
    DELETE FROM audit_jobs WHERE id = ANY (jobs);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    IF deleted <> cardinality(jobs) THEN
        RAISE EXCEPTION 'a trigger or rule keeps jobs in pgaudit.audit_jobs whose events are in the audit log'
            USING ERRCODE = 'triggered_data_change_violation',
                  HINT = 'Drop the trigger or rule: pgaudit health names those that are not pgaudit''s.';
    END IF;
END $$;

-- traceparents(jobs): returns W3C traceparents of the events, each once; at most 128, the limit of links of a span.
CREATE OR REPLACE FUNCTION pgaudit.traceparents(jobs bigint[]) RETURNS text[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT traceparent
          FROM (SELECT DISTINCT format('00-%s-%s-01', context->>'trace_id', context->>'span_id') AS traceparent
                  FROM (SELECT event->'context' AS context FROM audit_jobs WHERE id = ANY (jobs) OFFSET 0) opened
                OFFSET 0) named  -- OFFSET: evaluates the expression, which costs more than the rest, once for each row
         WHERE traceparent ~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-01$'
         LIMIT 128);
END $$;
