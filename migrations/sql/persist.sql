-- From the queue into the log.
--
-- A job's priority is its lane:   0  fresh: travels in batches
--                                -1  waits for a retry: travels with others that are due
--                            -1 - n  its worker vanished n times: runs alone
-- A fresh job has no scheduled_at; whatever comes back into the queue gets one.

-- An edited event must not enter the log looking genuine.
CREATE FUNCTION pgaudit.refuse_tampered(event_id text) RETURNS bytea
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'event % was changed in the queue: its text no longer matches its leaf hash', event_id
        USING ERRCODE = 'data_corrupted';
END $$;

-- The entries as rows of the log, but for when they are persisted; index is their place among the entries, from 1.
CREATE FUNCTION pgaudit.prepared(entries jsonb[]) RETURNS pgaudit.audit_log[]
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT ROW (n, event->>'id', event->>'occurred_at', event->>'recorded_at', NULL, event->>'action', event->>'outcome',
                    event->'actor'->>'type', event->'actor'->>'id', target->>'type', target->>'id', event->>'tenant',
                    event, CASE WHEN hash = encode(leaf, 'hex') THEN leaf ELSE refuse_tampered(event->>'id') END)::audit_log
          FROM (SELECT n, event, hash, leaf_hash(event) AS leaf, event->'targets'->0 AS target
                  FROM (SELECT n, entry->'event' AS event, entry->>'leaf_hash' AS hash
                          FROM unnest(entries) WITH ORDINALITY AS given (entry, n)
                        OFFSET 0) opened
                OFFSET 0) hashed);  -- each OFFSET 0: once for each entry, not once for each column
END $$;

-- Appends the rows in their order, or raises and appends none. The caller holds log_lock.
CREATE FUNCTION pgaudit.append_all(rows pgaudit.audit_log[], worker bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    last      batch;
    head      bigint;
    persisted timestamptz := clock_timestamp();
BEGIN
    SELECT * INTO last FROM batch ORDER BY first_index DESC LIMIT 1;
    head := coalesce(last.first_index + last.count, 0);
    WITH appended AS (
        INSERT INTO audit_log
        SELECT head + r.index - 1, r.event_id, r.occurred_at, r.recorded_at, persisted, r.action, r.outcome, r.actor_type,
               r.actor_id, r.target_type, r.target_id, r.tenant, r.event, r.leaf_hash
          FROM unnest(rows) r
        RETURNING recorded_at
    ), lag AS (
        SELECT width_bucket(persisted - recorded_at, lag_bounds()) AS class, count(*) AS events,
               min(recorded_at) AS oldest, max(recorded_at) AS newest, sum(persisted - recorded_at) AS total
          FROM appended GROUP BY 1
    )
    INSERT INTO batch
    SELECT head, sum(events), persisted, min(oldest), max(newest), worker,
           array(SELECT coalesce(last.lags[class + 1], 0) + coalesce(events, 0)
                   FROM generate_series(0, cardinality(lag_bounds())) class LEFT JOIN lag USING (class) ORDER BY class),
           coalesce(last.lag_sum, '0') + sum(total)
      FROM lag
    -- Only a snapshot that is older than the lock can meet a batch it does not see: Postgres then says 40001.
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'batch % is there already: the history of batches was changed', head USING ERRCODE = 'data_corrupted';
    END IF;
END $$;

-- What makes an event the same: not when it was recorded, nor in which span. Who tries again does so in another.
CREATE FUNCTION pgaudit.content_of(event jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT event - '{recorded_at,context}'::text[] || jsonb_build_object('context',
               CASE jsonb_typeof(event->'context') WHEN 'object' THEN (event->'context') - '{trace_id,span_id}'::text[]
               ELSE coalesce(event->'context', '{}') END)
$$;

-- Whether the log holds this very event: the same id with other content is not a duplicate but a
-- mistake, or an attempt to have an event dropped.
CREATE FUNCTION pgaudit.is_logged(sought jsonb) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT EXISTS (SELECT FROM audit_log
                    WHERE event_id = (sought->>'id')::uuid AND occurred_at = (sought->>'occurred_at')::timestamptz
                      AND content_of(event) = content_of(sought))
$$;

-- A connection, transaction, resource, lock, operator or server error, or a database that is not migrated:
-- the event is not to blame.
CREATE FUNCTION pgaudit.is_infrastructure(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT left(state, 2) IN ('08', '25', '40', '42', '53', '55', '57', '58') $$;

-- Appends what can be appended and skips what is in the log already. What cannot is split off, half by
-- half, and returned: {"entry": its place, "sqlstate", "message", "context"}. The caller holds log_lock.
CREATE FUNCTION pgaudit.append(entries jsonb[], worker bigint, rows pgaudit.audit_log[] DEFAULT NULL, first integer DEFAULT 1)
RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    half    integer := cardinality(entries) / 2;
    state   text;
    message text;
    context text;
BEGIN
    BEGIN
        PERFORM append_all(coalesce(rows, prepared(entries)), worker);
        RETURN '{}';
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
        IF is_infrastructure(state) THEN
            RAISE;
        END IF;
    END;
    IF half > 0 THEN
        RETURN append(entries[:half], worker, NULL, first) || append(entries[half + 1:], worker, NULL, first + half);
    ELSIF state = '23505' AND is_logged(entries[1]->'event') THEN
        RETURN '{}';
    ELSE
        RETURN ARRAY[jsonb_build_object('entry', first, 'sqlstate', state, 'message', message, 'context', context)];
    END IF;
END $$;

-- PGAUDIT_MODE=inline: one transaction at a time, the head is locked until the caller commits.
CREATE FUNCTION pgaudit.append_inline(entries jsonb[]) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    failures jsonb[];
BEGIN
    PERFORM FROM log_lock FOR UPDATE;
    failures := append(entries, NULL);
    IF cardinality(failures) > 0 THEN
        RAISE EXCEPTION '%', failures[1]->>'message' USING ERRCODE = failures[1]->>'sqlstate';
    END IF;
END $$;

-- Marks the next job as this worker's: a retry that is due, or else the oldest fresh one.
CREATE FUNCTION pgaudit.fetch_lead(worker bigint) RETURNS SETOF pgaudit.procrastinate_jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp
-- The queue's statistics are always stale: never scan it, never sort it. Before PostgreSQL 18 a plan that does what
-- is forbidden costs 1e10, and with jit every call would be compiled, for half a second.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    lead bigint;
BEGIN
    SELECT id INTO lead FROM procrastinate_jobs
     WHERE status = 'todo' AND scheduled_at <= now() AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
     ORDER BY scheduled_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF lead IS NULL THEN
        SELECT id INTO lead FROM procrastinate_jobs
         WHERE id >= (SELECT coalesce(max(floor), 0) FROM queue_floor) AND status = 'todo' AND scheduled_at IS NULL
           AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
         ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;
    RETURN QUERY UPDATE procrastinate_jobs SET status = 'doing', worker_id = worker WHERE id = lead RETURNING *;
END $$;

-- Raises the floor to the oldest fresh job, as far as every transaction is over to which a lower number was given:
-- its jobs are seen by now, or will never be.
CREATE FUNCTION pgaudit.raise_floor() RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp SET enable_seqscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    last    queue_floor;
    given   bigint := (SELECT last_value FROM procrastinate_jobs_id_seq);
    oldest  bigint;
BEGIN
    SELECT * INTO last FROM queue_floor ORDER BY floor DESC LIMIT 1;
    -- The numbers first, then, in a later snapshot, the transactions: one that is not seen by then got a higher one.
    IF last.before > pg_snapshot_xmin(pg_current_snapshot()) OR current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN;
    END IF;
    SELECT min(id) INTO oldest FROM procrastinate_jobs
      WHERE id >= last.floor AND status = 'todo' AND scheduled_at IS NULL;
    INSERT INTO queue_floor VALUES (least(last.issued + 1, oldest), given, pg_snapshot_xmax(pg_current_snapshot()))
    ON CONFLICT (floor) DO UPDATE SET issued = excluded.issued, before = excluded.before;  -- so that it can rise next time
    DELETE FROM queue_floor WHERE floor < last.floor;
END $$;

-- One batch, one transaction: the lead and its followers leave the queue and are in the log, or neither.
-- Without a lead, the oldest fresh jobs. claimed: how many jobs were taken; failures: those that stay, as
-- [{"job_id", "event_id", "attempts", "sqlstate", "message", "context"}]; traces, if traced: W3C traceparents of what
-- was taken, each once, as many as a span has links.
CREATE FUNCTION pgaudit.persist(worker bigint, lead bigint, batch_size integer, traced boolean DEFAULT false,
                                OUT claimed integer, OUT failures jsonb[], OUT traces text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    ids     bigint[] := '{}';
    entries jsonb[]  := '{}';
    lane    integer  := 0;
    rows    audit_log[];
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
    IF lane >= 0 THEN
        SELECT ids || array_agg(id), entries || array_agg(args) INTO ids, entries FROM (
            SELECT id, args FROM procrastinate_jobs
             WHERE id >= (SELECT coalesce(max(floor), 0) FROM queue_floor) AND status = 'todo' AND scheduled_at IS NULL
               AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
             ORDER BY id LIMIT batch_size FOR UPDATE SKIP LOCKED) followers;
    ELSIF lane = -1 THEN
        SELECT ids || array_agg(id), entries || array_agg(args) INTO ids, entries FROM (
            SELECT id, args FROM procrastinate_jobs
             WHERE status = 'todo' AND priority = -1 AND scheduled_at <= now()
               AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
             ORDER BY scheduled_at LIMIT batch_size FOR UPDATE SKIP LOCKED) followers;
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
            SELECT f || jsonb_build_object('job_id', j.id, 'attempts', j.attempts, 'event_id', j.args->'event'->'id')
              FROM unnest(append(entries, worker, rows)) f,
                   LATERAL (SELECT * FROM procrastinate_jobs WHERE id = ids[(f->>'entry')::integer] OFFSET 0) j);
        DELETE FROM procrastinate_jobs
         WHERE id = ANY (array(SELECT unnest(ids) EXCEPT SELECT (f->>'job_id')::bigint FROM unnest(failures) f));
        IF ids[claimed] > (SELECT coalesce(max(floor), 0) FROM queue_floor) + 1000 THEN
            PERFORM raise_floor();
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
