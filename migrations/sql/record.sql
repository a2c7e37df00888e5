-- From the business transaction into the queue, or, inline, into the log at once.

-- RFC 6962 leaf over jsonb's own text (keys ordered by length, then bytes).
-- STABLE, as convert_to is: declared IMMUTABLE it would not be inlined, and cost half as much again.
CREATE FUNCTION pgaudit.leaf_hash(event jsonb) RETURNS bytea
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS  -- E'': whatever standard_conforming_strings says
$$ SELECT pg_catalog.sha256(E'\\x00'::bytea || pg_catalog.convert_to(event::text, 'UTF8')) $$;

-- The event with the time at which it is recorded. ISO 8601 whatever DateStyle says, and for less than to_char takes.
-- VOLATILE, as clock_timestamp is: declared STABLE it would not be inlined.
CREATE FUNCTION pgaudit.stamped(event jsonb) RETURNS jsonb
LANGUAGE sql AS $$
    SELECT jsonb_set(event, '{recorded_at}',
                     to_jsonb((to_jsonb(clock_timestamp() AT TIME ZONE 'UTC') #>> '{}') || 'Z'))
$$;

-- What travels as the args of a job: the event, its hash, the business transaction.
CREATE FUNCTION pgaudit.entry(event jsonb, xid text) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('event', event, 'leaf_hash', encode(pgaudit.leaf_hash(event), 'hex'), 'xid', xid)
$$;

CREATE FUNCTION pgaudit.entries(events jsonb, xid text) RETURNS SETOF jsonb
LANGUAGE sql STABLE AS $$  -- as VOLATILE it would not be inlined
    SELECT pgaudit.entry(event, xid)
      FROM (SELECT pgaudit.stamped(given) AS event FROM jsonb_array_elements(events) given
            OFFSET 0) stamped  -- stamps each event once: hash and event must not see two clocks
$$;

-- SECURITY DEFINER: a writer needs EXECUTE on this function and nothing else.
CREATE FUNCTION pgaudit.record(events jsonb, inline boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    xid   text := pg_current_xact_id()::text;  -- before a job gets its number: raise_floor counts on that order
    event jsonb;
BEGIN
    IF inline THEN
        PERFORM append_inline(array(SELECT entries(events, xid)));
    ELSIF jsonb_array_length(events) = 1 THEN  -- nearly always: a query over the array costs it a tenth
        event := stamped(events->0);
        INSERT INTO audit_jobs (queue_name, task_name, args) VALUES ('audit', 'pgaudit.persist', entry(event, xid));
    ELSE
        INSERT INTO audit_jobs (queue_name, task_name, args)
        SELECT 'audit', 'pgaudit.persist', entry FROM entries(events, xid) entry;
    END IF;
END $$;

COMMENT ON FUNCTION pgaudit.record IS 'Records a JSON array of audit events in the current transaction: queued, or appended at once when inline.';
