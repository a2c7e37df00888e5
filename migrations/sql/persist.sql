-- From the queue into the log.
--
-- A job's priority is its lane:   0  fresh: travels in batches
--                                -1  waits for a retry: travels with others that are due
--                            -1 - n  its worker vanished n times: runs alone
-- A fresh job has no scheduled_at; whatever comes back into the queue gets one.

-- Marks the next job as this worker's: a retry that is due, or else the oldest fresh one. spared: how many fresh jobs
-- are left to a run that is at work already, which would be overtaken.
CREATE FUNCTION pgaudit.fetch_lead(worker bigint, spared integer DEFAULT 0) RETURNS SETOF pgaudit.procrastinate_jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp
-- The queue's statistics are always stale: never scan it, never sort it. Before PostgreSQL 18 a plan that does what
-- is forbidden costs 1e10, and with jit every call would be compiled, for half a second.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    first bigint := (SELECT coalesce(max(floor), 0) FROM queue_floor);
    lead  bigint;
BEGIN
    SELECT id INTO lead FROM procrastinate_jobs
     WHERE status = 'todo' AND scheduled_at <= now() AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
     ORDER BY scheduled_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF lead IS NULL AND spared > 0 THEN  -- before the search that locks: it would lock what it passes over, too
        first := (SELECT id FROM procrastinate_jobs
                   WHERE id >= first AND status = 'todo' AND scheduled_at IS NULL
                     AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
                   ORDER BY id OFFSET spared LIMIT 1);
    END IF;
    IF lead IS NULL AND first IS NOT NULL THEN
        SELECT id INTO lead FROM procrastinate_jobs
         WHERE id >= first AND status = 'todo' AND scheduled_at IS NULL
           AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
         ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;
    RETURN QUERY UPDATE procrastinate_jobs SET status = 'doing', worker_id = worker WHERE id = lead RETURNING *;
END $$;

-- Raises the floor to the oldest fresh job, as far as every transaction is over to which a lower number was given:
-- its jobs are seen by now, or will never be. given: the highest number given before this transaction had its own
-- xid, so that whoever was given it, or a lower one, has an older xid than this transaction.
CREATE FUNCTION pgaudit.raise_floor(given bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp SET enable_seqscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    last   queue_floor;
    oldest bigint;
BEGIN
    SELECT * INTO last FROM queue_floor ORDER BY floor DESC LIMIT 1;
    last := coalesce(last, ROW (0, 0, '0')::queue_floor);
    IF last.before > pg_snapshot_xmin(pg_current_snapshot()) OR current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN;
    END IF;
    SELECT min(id) INTO oldest FROM procrastinate_jobs
      WHERE id >= last.floor AND status = 'todo' AND scheduled_at IS NULL;
    INSERT INTO queue_floor VALUES (least(last.issued + 1, oldest), given, pg_current_xact_id())
    ON CONFLICT (floor) DO UPDATE SET issued = excluded.issued, before = excluded.before;  -- so that it can rise next time
    DELETE FROM queue_floor WHERE floor < last.floor;
END $$;

-- Makes fresh jobs due that the scan for fresh jobs passes by, for they are below the floor: somebody has put them
-- there by hand. How many there were.
CREATE FUNCTION pgaudit.readmit_strays() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET enable_seqscan = off SET jit = off AS $$
    WITH lost AS (  -- of before a restore: above what the sequence has given, or of transactions yet to come
        DELETE FROM queue_floor
         WHERE floor > (SELECT last_value + 1 FROM procrastinate_jobs_id_seq)
            OR before > pg_snapshot_xmax(pg_current_snapshot()) RETURNING 1
    ), ground AS (
        INSERT INTO queue_floor SELECT 0, 0, '0' FROM lost LIMIT 1 ON CONFLICT DO NOTHING
    ), readmitted AS (
        UPDATE procrastinate_jobs SET scheduled_at = clock_timestamp(), priority = least(priority, -1)
         WHERE id < (SELECT max(floor) FROM queue_floor) AND status = 'todo' AND scheduled_at IS NULL
           AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
        RETURNING 1)
    SELECT count(*) FROM readmitted
$$;

-- One batch, one transaction: the lead and its followers leave the queue and are in the log, or neither.
-- Without a lead, the oldest fresh jobs; one of them, however large. claimed: how many jobs were taken; failures:
-- those that stay, as [{"job_id", "event_id", "attempts", "sqlstate", "message", "context"}]; traces, if traced: W3C
-- traceparents of what was taken, each once, as many as a span has links.
CREATE FUNCTION pgaudit.persist(worker bigint, lead bigint, batch_size integer, traced boolean DEFAULT false,
                                OUT claimed integer, OUT failures jsonb[], OUT traces text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    -- As they are stored. Unpacked it is 255 times as much at the most, and no array can have more than 1 GB.
    most_bytes CONSTANT integer := 4000000;
    -- Whether an event has ever been too large for its row: if not, weighing them would be a twentieth of the work.
    large   boolean  := (SELECT pg_relation_size(reltoastrelid) > 0 FROM pg_class WHERE oid = 'audit_jobs'::regclass);
    ids     bigint[] := '{}';
    entries jsonb[]  := '{}';
    lane    integer  := 0;
    rows    audit_log[];
    given   bigint   := (SELECT last_value - (NOT is_called)::integer FROM procrastinate_jobs_id_seq
                          WHERE pg_current_xact_id_if_assigned() IS NULL);
BEGIN
    failures := '{}';
    IF lead IS NOT NULL THEN
        -- Only its own worker may go on with a lead: after a stall it may be somebody else's.
        SELECT ARRAY[id], ARRAY[args], priority INTO ids, entries, lane FROM procrastinate_jobs
         WHERE id = lead AND status = 'doing' AND worker_id = worker FOR UPDATE;
        IF NOT FOUND THEN
            claimed := 0;
            RETURN;
        END IF;
        batch_size := batch_size - 1;
    END IF;
    IF lane >= 0 AND NOT large THEN
        SELECT ids || array_agg(id), entries || array_agg(args) INTO ids, entries FROM (
            SELECT id, args FROM procrastinate_jobs
             WHERE id >= greatest(lead, (SELECT coalesce(max(floor), 0) FROM queue_floor))
               AND status = 'todo' AND scheduled_at IS NULL
               AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
             ORDER BY id LIMIT batch_size FOR UPDATE SKIP LOCKED) followers;
    ELSIF lane >= 0 THEN
        SELECT ids || array_agg(id), entries || array_agg(args) INTO ids, entries FROM (
            SELECT id, args, sum(pg_column_size(args)) OVER (ROWS UNBOUNDED PRECEDING) - pg_column_size(args) AS before
              FROM (SELECT id, args FROM procrastinate_jobs
                     WHERE id >= greatest(lead, (SELECT coalesce(max(floor), 0) FROM queue_floor))
                       AND status = 'todo' AND scheduled_at IS NULL
                       AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
                     ORDER BY id LIMIT batch_size FOR UPDATE SKIP LOCKED) followers) weighed
         WHERE before < most_bytes;
    ELSIF lane = -1 THEN
        SELECT ids || array_agg(id), entries || array_agg(args) INTO ids, entries FROM (
            SELECT id, args, sum(pg_column_size(args)) OVER (ROWS UNBOUNDED PRECEDING) - pg_column_size(args) AS before
              FROM (SELECT id, args FROM procrastinate_jobs
                     WHERE status = 'todo' AND priority = -1 AND scheduled_at <= now()
                       AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
                     ORDER BY scheduled_at LIMIT batch_size FOR UPDATE SKIP LOCKED) followers) weighed
         WHERE before < most_bytes;
    END IF;
    claimed := cardinality(ids);
    IF claimed > 0 THEN
        BEGIN
            rows := prepared(entries);  -- while another worker appends: nothing of this needs the lock
        EXCEPTION WHEN OTHERS THEN
            rows := NULL;  -- append will see why, and whose fault it is
        END;
        -- The lock first, then the look for duplicates: what was appended meanwhile is seen.
        PERFORM FROM log_lock FOR UPDATE;
        failures := array(
            SELECT f || jsonb_build_object('job_id', j.id, 'attempts', j.attempts,
                                           'event_id', left(j.args->'event'->>'id', 100))
              FROM unnest(append(entries, worker, rows)) f,
                   LATERAL (SELECT * FROM procrastinate_jobs WHERE id = ids[(f->>'entry')::integer] OFFSET 0) j);
        DELETE FROM procrastinate_jobs
         WHERE id = ANY (array(SELECT unnest(ids) EXCEPT SELECT (f->>'job_id')::bigint FROM unnest(failures) f));
        IF given IS NOT NULL AND ids[claimed] > (SELECT coalesce(max(floor), 0) FROM queue_floor) + 1000 THEN
            PERFORM raise_floor(given);
        END IF;
    END IF;
    IF traced THEN
        traces := array(
            SELECT traceparent
              FROM (SELECT DISTINCT format('00-%s-%s-01', context->>'trace_id', context->>'span_id') AS traceparent
                      FROM (SELECT entry->'event'->'context' AS context FROM unnest(entries) entry OFFSET 0) opened
                    OFFSET 0) named  -- the expression costs more than the rest: no more of it than is needed
             WHERE traceparent ~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-01$'
             LIMIT 128);
    END IF;
END $$;
