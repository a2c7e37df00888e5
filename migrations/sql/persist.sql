-- From the queue into the log.
--
-- A job's priority is its lane:   0  fresh: travels in batches
--                                -1  waits for a retry: travels with others that are due
--                            -1 - n  its worker vanished n times: runs alone

-- An edited event must not enter the log looking genuine.
CREATE FUNCTION pgaudit.refuse_tampered(event_id text) RETURNS bytea
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'event % was changed in the queue: its text no longer matches its leaf hash', event_id
        USING ERRCODE = 'data_corrupted';
END $$;

-- Appends the entries in their order, or raises and appends none. The caller holds log_head.
CREATE FUNCTION pgaudit.append_all(entries jsonb[], worker bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    head bigint := (SELECT size FROM log_head);
    persisted timestamptz := clock_timestamp();
BEGIN
    WITH appended AS (
        INSERT INTO audit_log
        SELECT head + n - 1, (event->>'id')::uuid, (event->>'occurred_at')::timestamptz,
               (event->>'recorded_at')::timestamptz, persisted, event->>'action', event->>'outcome',
               event->'actor'->>'type', event->'actor'->>'id', target->>'type', target->>'id', event->>'tenant',
               event, CASE WHEN hash = encode(leaf, 'hex') THEN leaf ELSE refuse_tampered(event->>'id') END
          FROM (SELECT n, event, hash, leaf_hash(event) AS leaf, event->'targets'->0 AS target
                  FROM (SELECT n, entry->'event' AS event, entry->>'leaf_hash' AS hash
                          FROM unnest(entries) WITH ORDINALITY AS given (entry, n)
                        OFFSET 0) opened
                OFFSET 0) hashed  -- each OFFSET 0: once for each entry, not once for each column
        RETURNING recorded_at
    )
    INSERT INTO batch
    SELECT head, count(*), persisted, min(recorded_at), max(recorded_at), worker FROM appended;
    UPDATE log_head SET size = head + cardinality(entries);
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
-- half, and returned: {"entry": its place, "sqlstate", "message", "context"}. The caller holds log_head.
CREATE FUNCTION pgaudit.append(entries jsonb[], worker bigint, first integer DEFAULT 1) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    half    integer := cardinality(entries) / 2;
    state   text;
    message text;
    context text;
BEGIN
    BEGIN
        PERFORM append_all(entries, worker);
        RETURN '{}';
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
        IF is_infrastructure(state) THEN
            RAISE;
        END IF;
    END;
    IF half > 0 THEN
        RETURN append(entries[:half], worker, first) || append(entries[half + 1:], worker, first + half);
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
    PERFORM FROM log_head FOR UPDATE;
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
         WHERE status = 'todo' AND priority >= 0 AND scheduled_at IS NULL
           AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
         ORDER BY priority DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;
    RETURN QUERY UPDATE procrastinate_jobs SET status = 'doing', worker_id = worker WHERE id = lead RETURNING *;
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
             WHERE status = 'todo' AND priority >= 0 AND scheduled_at IS NULL
               AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
             ORDER BY priority DESC, id LIMIT batch_size FOR UPDATE SKIP LOCKED) followers;
    ELSIF lane = -1 THEN
        SELECT ids || array_agg(id), entries || array_agg(args) INTO ids, entries FROM (
            SELECT id, args FROM procrastinate_jobs
             WHERE status = 'todo' AND priority = -1 AND scheduled_at <= now()
               AND queue_name = 'audit' AND task_name = 'pgaudit.persist'
             ORDER BY scheduled_at LIMIT batch_size FOR UPDATE SKIP LOCKED) followers;
    END IF;
    claimed := cardinality(ids);
    IF claimed > 0 THEN
        -- The head first, then the look for duplicates: what was appended meanwhile is seen.
        PERFORM FROM log_head FOR UPDATE;
        failures := array(
            SELECT f || jsonb_build_object('job_id', j.id, 'attempts', j.attempts, 'event_id', j.args->'event'->'id')
              FROM unnest(append(entries, worker)) f,
                   LATERAL (SELECT * FROM procrastinate_jobs WHERE id = ids[(f->>'entry')::integer] OFFSET 0) j);
        DELETE FROM procrastinate_jobs
         WHERE id = ANY (array(SELECT unnest(ids) EXCEPT SELECT (f->>'job_id')::bigint FROM unnest(failures) f));
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
