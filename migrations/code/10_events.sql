-- Events: their hashes, the fields that the server adds, and the checks.
-- No backslashes in string literals: their meaning depends on the session's standard_conforming_strings.

-- leaf_hash(event): returns the RFC 6962 leaf hash of the event's canonical text (jsonb orders keys by length, then by
-- bytes). STABLE, because convert_to is: declared IMMUTABLE it would not be inlined, and would cost 50 % more.
CREATE OR REPLACE FUNCTION pgaudit.leaf_hash(event jsonb) RETURNS bytea
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS
$$ SELECT pg_catalog.sha256(pg_catalog.decode('00', 'hex') || pg_catalog.convert_to(event::text, 'UTF8')) $$;

-- with_server_stamps(event): returns the event with the fields that only the server can know. Replaces what the
-- application put into them.
--   recorded_at  the server's clock in UTC. AT TIME ZONE interval, because a session can redefine a named zone.
--   recorded_by  the database role that logged in
--   xid          id of the business transaction
-- VOLATILE, because clock_timestamp is: declared STABLE it would not be inlined.
CREATE OR REPLACE FUNCTION pgaudit.with_server_stamps(event jsonb) RETURNS jsonb
LANGUAGE sql AS $$
    SELECT event || jsonb_build_object(
        'recorded_at', (to_jsonb(clock_timestamp() AT TIME ZONE interval '0') #>> '{}') || 'Z',
        'recorded_by', session_user,
        'xid', pg_current_xact_id()::text)
$$;

-- has_long_number(event): returns whether it contains a number of more than 4,000 digits. jsonb stores 1e131071 in 8
-- bytes and prints 131,072 digits: 8,191 such numbers make a gigabyte of text, which pg_dump cannot read.
-- As one array: jsonb_path_query moves all remaining items for each one that it returns.
CREATE OR REPLACE FUNCTION pgaudit.has_long_number(event jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT EXISTS (SELECT FROM jsonb_array_elements(jsonb_path_query_array(event, '$.** ? (@.type() == "number")')) number
                    WHERE length(number::text) > 4000)
$$;

-- bad_target(targets): returns the position, from 1, of the first target that is_reference() rejects; NULL if none.
CREATE OR REPLACE FUNCTION pgaudit.bad_target(targets jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT min(n)::integer FROM jsonb_array_elements(targets) WITH ORDINALITY AS given (target, n)
     WHERE NOT coalesce(is_reference(target), false)
$$;

-- is_reference(value): returns whether an actor or a target is an object with a type of 1 to 100 and an id of 1 to 500
-- characters.
CREATE OR REPLACE FUNCTION pgaudit.is_reference(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_typeof(value->'type') = 'string' AND length(value->>'type') BETWEEN 1 AND 100
       AND jsonb_typeof(value->'id') = 'string' AND length(value->>'id') BETWEEN 1 AND 500
$$;

-- is_uuid(value): returns whether it is a UUID in lower case. A cast would raise an error that does not name the field.
CREATE OR REPLACE FUNCTION pgaudit.is_uuid(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT value LIKE '________-____-____-____-____________' AND value ~ '^[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+$'
$$;

-- is_iso_time(value): returns whether it is ISO 8601 with an offset, between the years 1 and 9999 in every time zone.
-- Replaces 'Z', because since PostgreSQL 18 a session can give it another meaning. The cast alone would accept 'now',
-- times without a zone, and 24:00:00. The pattern has no counted repetitions, because they take twice as long.
CREATE OR REPLACE FUNCTION pgaudit.is_iso_time(value text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN value ~ ('^[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]'
                              '([.][0-9][0-9]?[0-9]?[0-9]?[0-9]?[0-9]?)?(Z|[+-][0-9][0-9]:[0-9][0-9])$')
                     AND substr(value, 12, 2) < '24' AND substr(value, 18, 2) < '60'
                THEN pgaudit.try_timestamptz(replace(value, 'Z', '+00:00')) >= '0001-01-02T00:00:00+00:00'
                 AND pgaudit.try_timestamptz(replace(value, 'Z', '+00:00')) < '9999-12-31T00:00:00+00:00'
           END
$$;

-- may_seal_targets(): returns whether the session's role seals the index of targets, as workers do.
CREATE OR REPLACE FUNCTION pgaudit.may_seal_targets() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.has_function_privilege(
        session_user, 'pgaudit.add_target_period(text, bigint, bigint, bigint, bytea, uuid)', 'EXECUTE')
$$;

-- event_problem(event, content): returns why the event is invalid; NULL if it is valid.
--   event    with the server's stamps
--   content  event::text, computed once for size and hash
-- The checks are in the order of the event's fields. Each takes a fraction of a microsecond, is_iso_time 3 us.
CREATE OR REPLACE FUNCTION pgaudit.event_problem(event jsonb, content text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN NOT coalesce(pgaudit.is_uuid(event->>'id'), false)
            THEN 'id must be a UUID in lower case, such as 0190a5b4-7c3e-7d3a-8f00-0123456789ab'
        WHEN coalesce(length(event->>'action') > 200 OR event->>'action' !~ '^[a-z][a-z0-9_]*(?:[.][a-z][a-z0-9_]*)+$', true)
            THEN 'action must be "resource.verb", lower case and dotted, of at most 200 characters, such as "claim.approved"'
        WHEN coalesce(event->>'outcome' NOT IN ('success', 'failure', 'denied'), true)
            THEN 'outcome must be success, failure or denied'
        WHEN NOT coalesce(pgaudit.is_iso_time(event->>'occurred_at'), false)
            THEN 'occurred_at must be ISO 8601 with an offset and at most six decimals, between the years 1 and 9999, '
                 'such as 2026-01-31T12:00:00.000000Z'
        WHEN coalesce(event->'actor', 'null') <> 'null' AND NOT coalesce(pgaudit.is_reference(event->'actor'), false)
            THEN 'actor must be an object with a type of 1 to 100 and an id of 1 to 500 characters'
        WHEN event ? 'targets' AND jsonb_typeof(event->'targets') <> 'array'
            THEN 'targets must be an array'
        WHEN jsonb_array_length(event->'targets') = 1 AND NOT coalesce(pgaudit.is_reference(event->'targets'->0), false)
             OR jsonb_array_length(event->'targets') > 1 AND pgaudit.bad_target(event->'targets') IS NOT NULL
            THEN format('targets: number %s must be an object with a type of 1 to 100 and an id of 1 to 500 characters',
                        pgaudit.bad_target(event->'targets'))
        WHEN coalesce(event->'tenant', 'null') <> 'null'
             AND (jsonb_typeof(event->'tenant') <> 'string' OR length(event->>'tenant') > 500)
            THEN 'tenant must be a string of at most 500 characters'
        WHEN event @? '$.**{65}'
            THEN 'it is nested more than 64 levels deep'
        WHEN (strpos(content, '"_sd"') > 0 OR strpos(content, '"..."') > 0)
             AND (event @? '$.data.**."_sd"' OR event @? '$.data.**."..."'
                  OR event @? '$.changes.**."_sd"' OR event @? '$.changes.**."..."')
            THEN 'the keys "_sd" and "..." are reserved in data and changes'
        WHEN event->'context' ? 'source'
            THEN 'context.source is reserved for captured events'
        WHEN event->>'action' = 'audit.targets_sealed' AND NOT pgaudit.may_seal_targets()
            THEN 'the action audit.targets_sealed is reserved for workers'
    END
$$;

-- is_usual(event, content): returns true if the event is valid and of the usual kind: an actor with short strings, one
-- target, a time in UTC with microseconds. Costs half as much as event_problem(), which has to check an event for which
-- this is not true: it may still be valid. One jsonpath instead of some sixty expression nodes, because Postgres
-- prepares an expression again in each transaction.
--   event    with the server's stamps
--   content  event::text
-- A jsonb of 120 bytes cannot hold a string of more than 100 characters. In strict mode the jsonpath is NULL if a key
-- is missing or has another type.
CREATE OR REPLACE FUNCTION pgaudit.is_usual(event jsonb, content text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT event @@ 'strict $.action like_regex "^[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)+$"
                     && ($.outcome == "success" || $.outcome == "failure" || $.outcome == "denied")
                     && $.occurred_at like_regex "^2[0-9]+-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]+Z$"
                     && $.actor.type.type() == "string" && $.actor.type != ""
                     && $.actor.id.type() == "string" && $.actor.id != ""
                     && $.targets.size() == 1
                     && $.targets[0].type.type() == "string" && $.targets[0].type != ""
                     && $.targets[0].id.type() == "string" && $.targets[0].id != ""
                     && !exists($ ? (exists(@.context.source))) && !exists($ ? (@.tenant.type() != "string"))
                     && !exists($.**{65})'
       AND length(concat(event->>'action', event->>'tenant')) <= 200
       AND pg_column_size(event->'actor') <= 120 AND pg_column_size(event->'targets') <= 120
       AND octet_length(content) <= 4000 AND strpos(content, '"_sd"') = 0 AND strpos(content, '"..."') = 0
       AND event->>'occurred_at' LIKE '____-__-__T__:__:__.______Z' AND pgaudit.is_uuid(event->>'id')
$$;

-- comparable_content(event): returns the event without the fields that differ when a client retries: it records later,
-- in another transaction and in a new span. Two events are the same if their comparable content is equal.
-- STABLE and without a search_path, like content_hash: otherwise it would not be inlined, and would cost ten times as
-- much.
CREATE OR REPLACE FUNCTION pgaudit.comparable_content(event jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT event - '{recorded_at,recorded_by,xid,context}'::text[] || jsonb_build_object('context',
               CASE jsonb_typeof(event->'context') WHEN 'object' THEN (event->'context') - '{trace_id,span_id}'::text[]
               ELSE coalesce(event->'context', '{}') END)
$$;

-- content_hash(event): returns the hash of the comparable content: equal for two events that are the same.
CREATE OR REPLACE FUNCTION pgaudit.content_hash(event jsonb) RETURNS bytea
LANGUAGE sql STABLE AS $$ SELECT pgaudit.leaf_hash(pgaudit.comparable_content(event)) $$;

-- try_timestamptz(value): returns the timestamp, or NULL if it is not one (a job inserted by hand may hold anything),
-- so that the views never raise.
CREATE OR REPLACE FUNCTION pgaudit.try_timestamptz(value text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN value::timestamptz;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;
