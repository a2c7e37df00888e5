-- Capture at run time.

-- context_of_application(): returns actor, tenant and context as the application has set them in audit.context, without
-- fields that no event has; NULL if it is not set or not valid. Each field has at most 1,000 characters: the number
-- 1e131071 is short in a setting, and long as text.
CREATE OR REPLACE FUNCTION pgaudit.context_of_application() RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    given text  := current_setting('audit.context', true);
    said  jsonb := CASE WHEN given <> '' AND octet_length(given) <= 8000 THEN try_jsonb(given) END;
    actor jsonb := said->'actor';
BEGIN
    IF jsonb_typeof(said) IS DISTINCT FROM 'object' THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'actor', CASE WHEN is_reference(actor) THEN jsonb_build_object('type', actor->>'type', 'id', actor->>'id',
                      'name', left(actor->>'name', 500), 'on_behalf_of', left(actor->>'on_behalf_of', 500)) END,
        'tenant', left(said->>'tenant', 500),
        'context', (SELECT jsonb_object_agg(key, left(value, 1000)) FROM jsonb_each_text(
                        CASE WHEN jsonb_typeof(said->'context') = 'object' THEN said->'context' ELSE '{}' END)
                     WHERE key = ANY ('{request_id,trace_id,span_id,session_id,ip,user_agent,correlation_id,causation_id}'))));
END $$;

-- captured_head(action): returns the beginning of a captured event: all that does not depend on the row, and the first
-- 15 characters of its id, a UUIDv7: the time and the version. substr(gen_random_uuid()::text, 16) is the rest of one.
--   context.source  application, if audit.context names the actor; database, if only the role is known
--   context         session_user, current_user, client_address and application_name, as the server knows them
-- It joins text, and calls context_of_application only if audit.context is set, because each changing statement pays
-- for it. It has no SET, which would take a fifth longer; so all names have their schema.
CREATE OR REPLACE FUNCTION pgaudit.captured_head(action text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    clock   timestamptz := pg_catalog.clock_timestamp();
    millis  text  := pg_catalog.lpad(pg_catalog.to_hex((extract(epoch FROM clock) * 1000)::bigint), 12, '0');
    moment  text  := pg_catalog.to_char(clock AT TIME ZONE interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
    login   text  := pg_catalog.to_json(session_user)::text;
    actor   text  := '{"type":"db_user","id":' || login || '}';
    context text  := pg_catalog.concat('{"source":"database","session_user":', login,
        ',"current_user":' || coalesce(pg_catalog.to_json(nullif(pg_catalog.current_setting('role'), 'none'))::text, login),
        ',"client_address":"' || pg_catalog.host(pg_catalog.inet_client_addr()) || '"',
        ',"application_name":' || pg_catalog.to_json(nullif(pg_catalog.current_setting('application_name'), ''))::text, '}');
    said    jsonb;
BEGIN
    IF pg_catalog.current_setting('audit.context', true) <> '' THEN
        said := pgaudit.context_of_application();
        actor := coalesce(said->>'actor', actor);
        context := coalesce(said->'context', '{}') || context::jsonb
                || CASE WHEN said ? 'actor' THEN '{"source": "application"}' ELSE '{}' END::jsonb;
    END IF;
    RETURN pg_catalog.concat('{"action":', pg_catalog.to_json(action), ',"outcome":"success","schema_version":1,"occurred_at":"', moment,
        '","recorded_at":"', moment, '","recorded_by":', login, ',"xid":"', pg_catalog.pg_current_xact_id(), '","actor":', actor,
        ',"context":', context, ',"tenant":' || (said->'tenant')::text, ',"id":"', pg_catalog.left(millis, 8), '-',
        pg_catalog.right(millis, 4), '-7');
END $$;

-- is_replicated(): returns whether the change comes from a publisher, where it was captured. session_replication_role
-- alone does not say so: a role that may set it would evade every capture.
CREATE OR REPLACE FUNCTION pgaudit.is_replicated() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN current_setting('session_replication_role') = 'replica'
       AND EXISTS (SELECT FROM pg_stat_subscription WHERE pid = pg_backend_pid());
END $$;

-- event_about_table(action, relation, data): returns the text of an event about a table as a whole, by its number if it
-- was dropped.
CREATE OR REPLACE FUNCTION pgaudit.event_about_table(action text, relation regclass, data jsonb DEFAULT NULL) RETURNS text
LANGUAGE sql SET search_path = pgaudit, pg_temp AS $$
    SELECT ((captured_head(action) || substr(gen_random_uuid()::text, 16) || '"}')::jsonb || jsonb_build_object(
               'targets', jsonb_build_array(jsonb_build_object(
                   'type', 'table', 'id', coalesce(table_name(relation), relation::text))))
            || CASE WHEN data IS NULL THEN '{}' ELSE jsonb_build_object('data', data) END)::text
$$;

-- record_about_table(action, relation, data): records an event about a table as a whole.
CREATE OR REPLACE FUNCTION pgaudit.record_about_table(action text, relation regclass, data jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql SET search_path = pgaudit, pg_temp AS
$$ SELECT record_contents(ARRAY[event_about_table(action, relation, data)]) $$;

-- record_contents(contents): records captured events, each given as its text.
CREATE OR REPLACE FUNCTION pgaudit.record_contents(contents text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    receipts text := CASE WHEN current_setting('audit.wal_receipts', true) = 'on' THEN receipt_prefix() END;
BEGIN
    INSERT INTO audit_jobs (event, leaf_hash, event_bytes)
    SELECT event, CASE WHEN receipts IS NULL THEN sha256(decode('00', 'hex') || convert_to(event::text, 'UTF8'))
                       ELSE hash_with_receipt(event::text, receipts) END, octet_length(event::text)
      FROM (SELECT CASE WHEN octet_length(content) > 8000 THEN fitting_event(content) ELSE content::jsonb END AS event
              FROM unnest(contents) content OFFSET 0) given;
END $$;

-- table_name(relation): returns its name with its schema.
CREATE OR REPLACE FUNCTION pgaudit.table_name(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT nspname || '.' || relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = relation
$$;

-- check_columns(relation, names): raises if a transaction's snapshot is older than the columns of a table that it
-- changes: it cannot see which columns they were, so it has to be repeated.
--   names  JSON with the columns of the changed rows as they are now
CREATE OR REPLACE FUNCTION pgaudit.check_columns(relation regclass, names json) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF (SELECT jsonb_object_agg(name, 0) FROM json_object_keys(names) name)
       <> (SELECT jsonb_object_agg(name, 0) FROM jsonb_object_keys(numbered_columns(relation)) name) THEN
        RAISE EXCEPTION 'could not serialize access: the columns of % have changed since the transaction began', relation
            USING ERRCODE = 'serialization_failure', HINT = 'Repeat the transaction.';
    END IF;
END $$;

-- captured_operations(relation): returns the operations whose capture is enabled, such as {insert,update,delete}. Any
-- role may ask: the catalog is readable for everyone.
CREATE OR REPLACE FUNCTION pgaudit.captured_operations(relation oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(array_agg(substr(tgname, 19) ORDER BY tgname), '{}') FROM pg_trigger
     WHERE tgrelid = relation AND NOT tgisinternal AND starts_with(tgname, '0_pgaudit_capture_') AND tgenabled = 'A'
$$;

-- record_uncaptured(changes): records the events of changes that no trigger captures, so that a change that an ORM and
-- a trigger see is recorded once. For a JSON array of {"table": "public.claims", "operation": "update", "event": {…}}.
-- Returns how many it has recorded; raises as record does.
CREATE OR REPLACE FUNCTION pgaudit.record_uncaptured(changes jsonb) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    events jsonb := (
        SELECT coalesce(jsonb_agg(change->'event' ORDER BY n), '[]')
          FROM jsonb_array_elements(changes) WITH ORDINALITY AS given (change, n)
         WHERE change->>'operation' <> ALL (pgaudit.captured_operations((change->>'table')::regclass)));
BEGIN
    IF events <> '[]' THEN
        PERFORM pgaudit.record(events);
    END IF;
    RETURN jsonb_array_length(events);
END $$;
