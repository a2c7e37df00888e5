-- The low watermark: where the scan for fresh jobs begins.
--
-- It may not pass an id that an open transaction can still commit. A transaction that inserts a job takes, in this
-- order: its transaction's id, RowExclusiveLock on audit_jobs (to its end), the job's id. So only transactions that hold that lock
-- matter, and only those with an older id than safe_xid.

-- max_issued_id(): the highest job id issued so far; NULL when this transaction has an xid already: then others with a
-- smaller one may still be issued ids up to it.
CREATE OR REPLACE FUNCTION pgaudit.max_issued_id() RETURNS bigint
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN (SELECT last_value - (NOT is_called)::integer FROM procrastinate_jobs_id_seq
             WHERE pg_current_xact_id_if_assigned() IS NULL);
END $$;

-- open_recorders(before): the open transactions, prepared ones included, that may hold a job id and are older than that.
-- A subtransaction's id is held along with its transaction's, which is the smallest of them. pg_locks has 32 bits of an
-- id: none that is held is more than 2^31 behind the next one.
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

-- advance_watermark(issued, reached): moves the low watermark up to the oldest fresh job, but never past an id that an open
-- transaction may still commit. When one stays open while 5,000 ids are taken, the watermark passes it and remembers its
-- xid; requeue_jobs_of_passed_transactions() finds its jobs when it has ended. So a scan reads some thousand finished
-- jobs at most, whatever others keep open.
--   issued   the highest job id issued before this transaction had an xid: every transaction with an id up to it has a
--            smaller xid
--   reached  the highest id of the batch that was taken last
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
    -- A new snapshot, after the look at the locks: it sees what any transaction that was not found there has committed.
    SELECT min(id) INTO oldest FROM audit_jobs WHERE id >= last.low_watermark AND status = 'todo' AND scheduled_at IS NULL;
    INSERT INTO queue_watermark (low_watermark, max_issued_id, safe_xid, passed_xids)
    VALUES (least(last.max_issued_id + 1, oldest), issued, pg_current_xact_id(),
            array(SELECT unnest(last.passed_xids) UNION SELECT unnest(open)))
    ON CONFLICT (low_watermark) DO UPDATE  -- so that it can advance next time
        SET max_issued_id = excluded.max_issued_id, safe_xid = excluded.safe_xid, passed_xids = excluded.passed_xids;
    DELETE FROM queue_watermark WHERE low_watermark < last.low_watermark;
END $$;

-- requeue_jobs_of_passed_transactions(): does nothing until a transaction that the watermark has passed is over; then it
-- makes the jobs due that it has left below the watermark.
CREATE OR REPLACE FUNCTION pgaudit.requeue_jobs_of_passed_transactions() RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    over xid8[] := array(
        SELECT xid FROM (SELECT safe_xid, passed_xids FROM queue_watermark ORDER BY low_watermark DESC LIMIT 1) last,
                        unnest(passed_xids) xid
         WHERE safe_xid <= pg_snapshot_xmax(pg_current_snapshot()) AND pg_xact_status(xid) IS DISTINCT FROM 'in progress');
BEGIN
    -- An older snapshot does not see what they have committed.
    IF cardinality(over) > 0 AND current_setting('transaction_isolation') = 'read committed' THEN
        PERFORM requeue_skipped_jobs();
        UPDATE queue_watermark SET passed_xids = array(SELECT unnest(passed_xids) EXCEPT SELECT unnest(over));
    END IF;
END $$;

-- requeue_skipped_jobs(): makes jobs due that no scan would find: fresh ones below the watermark (of a transaction that it
-- has passed, or inserted by hand), and those scheduled for later than any retry is.
-- Returns how many.
CREATE OR REPLACE FUNCTION pgaudit.requeue_skipped_jobs() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET enable_seqscan = off SET jit = off AS $$
    WITH foreign_watermark AS (  -- of before a restore: above the sequence, or of an xid that this cluster has not reached
        DELETE FROM queue_watermark
         WHERE low_watermark > (SELECT last_value + 1 FROM procrastinate_jobs_id_seq)
            OR safe_xid > pg_snapshot_xmax(pg_current_snapshot()) RETURNING 1
    ), reset AS (
        INSERT INTO queue_watermark (low_watermark, max_issued_id, safe_xid)
        SELECT 0, 0, '0' FROM foreign_watermark LIMIT 1 ON CONFLICT DO NOTHING
    ), below AS (
        UPDATE audit_jobs SET scheduled_at = now()
         WHERE id < (SELECT max(low_watermark) FROM queue_watermark) AND status = 'todo' AND scheduled_at IS NULL RETURNING 1
    ), far AS (
        UPDATE audit_jobs SET scheduled_at = now()
         WHERE status = 'todo' AND scheduled_at > clock_timestamp() + interval '25 hours' RETURNING 1)
    SELECT (SELECT count(*) FROM below) + (SELECT count(*) FROM far)
$$;
