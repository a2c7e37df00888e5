-- The low watermark: where the scan for fresh jobs begins.
--
-- It must not pass the id of a job that an open transaction may still commit. A transaction that inserts a job takes,
-- in this order: its xid, RowExclusiveLock on audit_jobs (until it ends), the job's id. So only transactions that hold
-- this lock and have an xid below safe_xid matter.

-- max_issued_id(): returns the highest job id issued so far. Call it before this transaction has an xid: then every
-- transaction that holds an id up to it has a smaller xid. Returns NULL if this transaction has an xid already.
CREATE OR REPLACE FUNCTION pgaudit.max_issued_id() RETURNS bigint
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN (SELECT last_value - (NOT is_called)::integer FROM procrastinate_jobs_id_seq
             WHERE pg_current_xact_id_if_assigned() IS NULL);
END $$;

-- open_recorders(before): returns the xids below `before` of the open transactions, prepared ones included, that may
-- hold a job id. A transaction also holds the xids of its subtransactions; its own is the smallest. pg_locks shows the
-- low 32 bits of an xid: they identify it, because a held xid is at most 2^31 behind the next one.
CREATE OR REPLACE FUNCTION pgaudit.open_recorders(before xid8) RETURNS xid8[]
LANGUAGE sql SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(array_agg(xid), '{}') FROM (
        SELECT (next - max((next - held.transactionid::text::bigint) & 4294967295))::text::xid8 AS xid
          FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint) AS clock (next),
               pg_locks recording JOIN pg_locks held USING (virtualtransaction)
         WHERE recording.locktype = 'relation' AND recording.mode = 'RowExclusiveLock'
           AND recording.relation = 'audit_jobs'::regclass
           AND recording.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND held.locktype = 'transactionid' AND held.mode = 'ExclusiveLock' AND held.granted
         GROUP BY virtualtransaction, next) open
     WHERE xid < before
$$;

-- advance_watermark(issued, reached): advances the low watermark to the oldest fresh job, but not past an id that an
-- open transaction may still commit. If a transaction stays open while 5,000 ids are taken, the watermark passes it and
-- stores its xid; requeue_jobs_of_passed_transactions() finds its jobs when it has ended. So a scan reads at most a few
-- thousand finished jobs, however long transactions stay open.
--   issued   max_issued_id(), called before this transaction had an xid
--   reached  the last id of the batch that was just taken
CREATE OR REPLACE FUNCTION pgaudit.advance_watermark(issued bigint, reached bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp SET enable_seqscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    last   queue_watermark;
    open   xid8[] := '{}';
    oldest bigint;
BEGIN
    IF issued IS NULL OR current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN;
    END IF;
    SELECT * INTO last FROM queue_watermark ORDER BY low_watermark DESC LIMIT 1;
    IF NOT FOUND THEN
        last := ROW (0, 0, '0', '{}')::queue_watermark;
    END IF;
    IF last.safe_xid > pg_snapshot_xmin(pg_current_snapshot()) THEN
        open := open_recorders(last.safe_xid);
        IF NOT open <@ last.passed_xids AND reached < last.low_watermark + 5000 THEN
            RETURN;
        END IF;
    END IF;
    -- A new snapshot, taken after pg_locks was read: it sees the jobs of each transaction that was not open there.
    SELECT min(id) INTO oldest FROM audit_jobs WHERE id >= last.low_watermark AND status = 'todo' AND scheduled_at IS NULL;
    INSERT INTO queue_watermark (low_watermark, max_issued_id, safe_xid, passed_xids)
    VALUES (least(last.max_issued_id + 1, oldest), issued, pg_current_xact_id(),
            array(SELECT unnest(last.passed_xids) UNION SELECT unnest(open)))
    ON CONFLICT (low_watermark) DO UPDATE  -- the watermark stays: renew its limits, so that it can advance
        SET max_issued_id = excluded.max_issued_id, safe_xid = excluded.safe_xid, passed_xids = excluded.passed_xids;
    DELETE FROM queue_watermark WHERE low_watermark < last.low_watermark;
END $$;

-- requeue_jobs_of_passed_transactions(): once a transaction that the watermark has passed has ended, makes the jobs due
-- that it has committed below the watermark. Otherwise does nothing.
CREATE OR REPLACE FUNCTION pgaudit.requeue_jobs_of_passed_transactions() RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    ended xid8[] := array(
        SELECT xid FROM (SELECT safe_xid, passed_xids FROM queue_watermark ORDER BY low_watermark DESC LIMIT 1) last,
                        unnest(passed_xids) xid
         WHERE safe_xid <= pg_snapshot_xmax(pg_current_snapshot()) AND pg_xact_status(xid) IS DISTINCT FROM 'in progress');
BEGIN
    -- The older snapshot of another isolation level would not see the jobs that they have committed.
    IF cardinality(ended) > 0 AND current_setting('transaction_isolation') = 'read committed' THEN
        PERFORM requeue_skipped_jobs();
        UPDATE queue_watermark SET passed_xids = array(SELECT unnest(passed_xids) EXCEPT SELECT unnest(ended));
    END IF;
END $$;

-- requeue_skipped_jobs(): makes the jobs due that no scan would find: fresh ones below the watermark (of a transaction
-- that it has passed, or inserted by hand), and those scheduled further ahead than any retry.
-- Returns how many.
CREATE OR REPLACE FUNCTION pgaudit.requeue_skipped_jobs() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET enable_seqscan = off SET jit = off AS $$
    WITH invalid_watermark AS (  -- from before a restore: above the sequence, or with an xid that is not issued yet
        DELETE FROM queue_watermark
         WHERE low_watermark > (SELECT last_value + 1 FROM procrastinate_jobs_id_seq)
            OR safe_xid > pg_snapshot_xmax(pg_current_snapshot()) RETURNING 1
    ), reset AS (
        INSERT INTO queue_watermark (low_watermark, max_issued_id, safe_xid)
        SELECT 0, 0, '0' FROM invalid_watermark LIMIT 1 ON CONFLICT DO NOTHING
    ), below_watermark AS (
        UPDATE audit_jobs SET scheduled_at = now()
         WHERE id < (SELECT max(low_watermark) FROM queue_watermark) AND status = 'todo' AND scheduled_at IS NULL RETURNING 1
    ), far_ahead AS (
        UPDATE audit_jobs SET scheduled_at = now()
         WHERE status = 'todo' AND scheduled_at > clock_timestamp() + interval '25 hours' RETURNING 1)
    SELECT (SELECT count(*) FROM below_watermark) + (SELECT count(*) FROM far_ahead)
$$;
