-- What an event is: its hash, what the server adds to it, what it must look like.
-- No backslashes in string literals: they would depend on the session's standard_conforming_strings.

-- leaf_hash(event): the RFC 6962 leaf hash of the event's canonical text (jsonb orders keys by length, then bytes).
-- STABLE, as convert_to is: declared IMMUTABLE it would not be inlined, and cost half as much again.
CREATE OR REPLACE FUNCTION pgaudit.leaf_hash(event jsonb) RETURNS bytea
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS
$$ SELECT pg_catalog.sha256(pg_catalog.decode('00', 'hex') || pg_catalog.convert_to(event::text, 'UTF8')) $$;

-- with_server_stamps(event): the event with what only the server can say. Whatever the application put into these keys
-- is replaced.
--   recorded_at  the server's clock in UTC. AT TIME ZONE interval: a named zone can be redefined by the session.
--   recorded_by  the database role that logged in
--   xid          the business transaction
-- VOLATILE, as clock_timestamp is: declared STABLE it would not be inlined.
CREATE OR REPLACE FUNCTION pgaudit.with_server_stamps(event jsonb) RETURNS jsonb
LANGUAGE sql AS $$
    SELECT event || jsonb_build_object(
        'recorded_at', (to_jsonb(clock_timestamp() AT TIME ZONE interval '0') #>> '{}') || 'Z',
        'recorded_by', session_user,
        'xid', pg_current_xact_id()::text)
$$;

-- has_long_number(event): whether it holds a number of more than 4,000 digits. jsonb keeps 1e131071 in eight bytes and
-- prints 131,072 digits: 8,191 of them are one gigabyte of text, which pg_dump cannot read.
CREATE OR REPLACE FUNCTION pgaudit.has_long_number(event jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT EXISTS (SELECT FROM jsonb_path_query(event, '$.** ? (@.type() == "number")') number
                    WHERE length(number::text) > 4000)
$$;

-- bad_target(targets): the first of the targets, from 1, that has no type and id of the right kind and length.
CREATE OR REPLACE FUNCTION pgaudit.bad_target(targets jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT min(n)::integer FROM jsonb_array_elements(targets) WITH ORDINALITY AS given (target, n)
     WHERE NOT coalesce(is_reference(target), false)
$$;

-- is_reference(value): whether an actor or a target is an object with a type of 1 to 100 and an id of 1 to 500 characters.
CREATE OR REPLACE FUNCTION pgaudit.is_reference(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_typeof(value->'type') = 'string' AND length(value->>'type') BETWEEN 1 AND 100
       AND jsonb_typeof(value->'id') = 'string' AND length(value->>'id') BETWEEN 1 AND 500
$$;

-- is_uuid(value): whether it is a UUID in lower case. A cast would raise for what is none, without the name of the field.
CREATE OR REPLACE FUNCTION pgaudit.is_uuid(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT value LIKE '________-____-____-____-____________' AND value ~ '^[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+$'
$$;

-- is_iso_time(value): whether it is ISO 8601 with an offset, between the years 1 and 9999 in every time zone.
-- 'Z' is replaced: since PostgreSQL 18 a session can give it another meaning. The cast alone would accept 'now', times
-- without a zone, and 24:00:00. The pattern has no counted repetitions: they take twice as long.
CREATE OR REPLACE FUNCTION pgaudit.is_iso_time(value text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN value ~ ('^[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]'
                              '([.][0-9][0-9]?[0-9]?[0-9]?[0-9]?[0-9]?)?(Z|[+-][0-9][0-9]:[0-9][0-9])$')
                     AND substr(value, 12, 2) < '24' AND substr(value, 18, 2) < '60'
                THEN pgaudit.try_timestamptz(replace(value, 'Z', '+00:00')) >= '0001-01-02T00:00:00+00:00'
                 AND pgaudit.try_timestamptz(replace(value, 'Z', '+00:00')) < '9999-12-31T00:00:00+00:00'
           END
$$;

-- event_problem(event, content): why the log could not keep the event; NULL if it can.
--   event    with the server's stamps
--   content  event::text, made once for size and hash
-- The checks are in the order of the event's fields; each costs a fraction of a microsecond, the time 3.
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
    END
$$;

-- is_usual(event, content): whether event_problem() has nothing to say about the event, decided for the usual kind at half the
-- cost: an actor with short strings, one target, a time in UTC with microseconds. Not true for all others: they may be valid.
-- Postgres prepares an expression in each transaction: what is one jsonpath here would be sixty nodes of it.
--   event    with the server's stamps
--   content  event::text
-- A jsonb of 120 bytes holds no string of more than 100. In strict mode a missing key or another type makes it NULL.
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
                     && !exists($ ? (@.tenant.type() != "string"))
                     && !exists($.**{65})'
       AND length(concat(event->>'action', event->>'tenant')) <= 200
       AND pg_column_size(event->'actor') <= 120 AND pg_column_size(event->'targets') <= 120
       AND octet_length(content) <= 4000 AND strpos(content, '"_sd"') = 0 AND strpos(content, '"..."') = 0
       AND event->>'occurred_at' LIKE '____-__-__T__:__:__.______Z' AND pgaudit.is_uuid(event->>'id')
$$;

-- comparable_content(event): what makes two events the same. A client that retries records later, in another transaction
-- and in a new span. STABLE and without a search_path, as content_hash: else they would not be inlined, and cost ten times
-- as much.
CREATE OR REPLACE FUNCTION pgaudit.comparable_content(event jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT event - '{recorded_at,recorded_by,xid,context}'::text[] || jsonb_build_object('context',
               CASE jsonb_typeof(event->'context') WHEN 'object' THEN (event->'context') - '{trace_id,span_id}'::text[]
               ELSE coalesce(event->'context', '{}') END)
$$;

-- content_hash(event): equal for events that are the same.
CREATE OR REPLACE FUNCTION pgaudit.content_hash(event jsonb) RETURNS bytea
LANGUAGE sql STABLE AS $$ SELECT pgaudit.leaf_hash(pgaudit.comparable_content(event)) $$;

-- try_timestamptz(value): NULL for what is no timestamp (a job inserted by hand may hold anything): views never raise.
CREATE OR REPLACE FUNCTION pgaudit.try_timestamptz(value text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN value::timestamptz;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;
