-- Streams: adding, pausing and setting them back.

-- acting_user(): returns who acts: the user that the application has named, as "type:id", or the role of the session.
CREATE OR REPLACE FUNCTION pgaudit.acting_user() RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce((actor->>'type') || ':' || (actor->>'id'), session_user)
      FROM (SELECT context_of_application()->'actor' AS actor) said
$$;

-- record_about_stream(action, name, data): records an event about a stream: who changes what leaves the database is seen
-- in the log, and by whom the events are sent to.
CREATE OR REPLACE FUNCTION pgaudit.record_about_stream(action text, name text, data jsonb DEFAULT '{}') RETURNS void
LANGUAGE sql SET search_path = pgaudit, pg_temp AS $$
    SELECT record_contents(ARRAY[(
        (captured_head(action) || substr(gen_random_uuid()::text, 16) || '"}')::jsonb || jsonb_build_object(
            'targets', jsonb_build_array(jsonb_build_object('type', 'stream', 'id', name)),
            'data', jsonb_strip_nulls(data)))::text])
$$;

-- add_stream(name, kind, url, query, form, ordered, allow_private, start): adds a stream that begins with the event of
-- that index, or with the first one of the log if that is later; with the next one that is appended if it is NULL.
-- Returns the index. Raises PA003 if there is a stream of that name.
CREATE OR REPLACE FUNCTION pgaudit.add_stream(
    name text, kind text, url text, query text, form text, ordered boolean, allow_private boolean, start bigint)
RETURNS bigint
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    log_size bigint := (SELECT size FROM log_head);
    first    bigint := CASE WHEN start IS NULL THEN log_size
                            ELSE greatest(start, least((SELECT min(first_index) FROM log_partitions()), log_size)) END;
BEGIN
    IF start > log_size THEN
        RAISE EXCEPTION 'the log has % events, so a stream cannot begin with index %', log_size, start
            USING ERRCODE = 'PA003';
    END IF;
    INSERT INTO stream (name, kind, url, query, form, ordered, allow_private)
    VALUES (add_stream.name, add_stream.kind, add_stream.url, add_stream.query, add_stream.form, add_stream.ordered,
            add_stream.allow_private)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is a stream % already', add_stream.name
            USING ERRCODE = 'PA003', HINT = 'Remove it first, or choose another name.';
    END IF;
    INSERT INTO stream_position (name, next_index) VALUES (add_stream.name, first);
    RETURN first;
END $$;

-- require_stream(name): raises PA003 if there is no stream of that name.
CREATE OR REPLACE FUNCTION pgaudit.require_stream(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM stream s WHERE s.name = require_stream.name) THEN
        RAISE EXCEPTION 'there is no stream %', require_stream.name
            USING ERRCODE = 'PA003', HINT = 'pgaudit stream list names them all.';
    END IF;
END $$;

-- remove_stream(name): removes a stream, what it has parked, and the history of its deliveries.
CREATE OR REPLACE FUNCTION pgaudit.remove_stream(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM require_stream(name);
    DELETE FROM stream s WHERE s.name = remove_stream.name;
    DELETE FROM parked p WHERE p.stream = remove_stream.name;
    DELETE FROM delivery d WHERE d.stream = remove_stream.name;
END $$;

-- pause_stream(name, kind, reason): keeps workers from sending more than the chunk that is on its way. The first reason
-- stays until the stream is resumed. The pause is an event itself. Workers give any other kind than 'asked'.
CREATE OR REPLACE FUNCTION pgaudit.pause_stream(name text, kind text DEFAULT 'asked', reason text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM require_stream(name);
    UPDATE stream s
       SET paused_at = clock_timestamp(), pause_kind = pause_stream.kind,
           paused_by = CASE pause_stream.kind WHEN 'asked' THEN acting_user() ELSE 'worker' END,
           pause_reason = left(pause_stream.reason, 1000)
     WHERE s.name = pause_stream.name AND s.paused_at IS NULL;
    IF FOUND THEN
        PERFORM record_about_stream('audit.stream_paused', name,
                                    jsonb_build_object('kind', kind, 'reason', left(reason, 1000)));
    END IF;
END $$;

-- resume_stream(name): ends the pause, and tries again at once.
CREATE OR REPLACE FUNCTION pgaudit.resume_stream(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM require_stream(name);
    UPDATE stream s SET paused_at = NULL, paused_by = NULL, pause_kind = NULL, pause_reason = NULL
     WHERE s.name = resume_stream.name AND s.paused_at IS NOT NULL;
    IF FOUND THEN
        PERFORM record_about_stream('audit.stream_resumed', name);
    END IF;
    UPDATE stream_position p SET attempts = 0, failing_since = NULL, next_attempt_at = '-infinity', error = NULL
     WHERE p.name = resume_stream.name;
END $$;

-- rewind_stream(name, index): lets a stream go on with the event of that index, which may lie ahead too. Raises PA003 if
-- the log does not have it, and it is not the next one that is appended. Waits for the chunk that is on its way. What
-- was parked from there on comes again, so it is parked no longer.
CREATE OR REPLACE FUNCTION pgaudit.rewind_stream(name text, index bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    log_size bigint := (SELECT size FROM log_head);
    first    bigint := least((SELECT min(first_index) FROM log_partitions()), log_size);
    before   bigint;
BEGIN
    PERFORM require_stream(name);
    IF rewind_stream.index NOT BETWEEN first AND log_size THEN
        RAISE EXCEPTION 'stream % can go on with index % to %, and not with %', name, first, log_size, rewind_stream.index
            USING ERRCODE = 'PA003';
    END IF;
    SELECT next_index INTO before FROM stream_position p WHERE p.name = rewind_stream.name FOR UPDATE;
    UPDATE stream_position p
       SET next_index = rewind_stream.index, last_index = NULL, last_hash = NULL, attempts = 0, failing_since = NULL,
           next_attempt_at = '-infinity', error = NULL, started_at = clock_timestamp()
     WHERE p.name = rewind_stream.name;
    DELETE FROM parked p WHERE p.stream = rewind_stream.name AND p.index >= rewind_stream.index;
    INSERT INTO delivery (stream, status, from_index, to_index, events)
    VALUES (rewind_stream.name, 'rewound', before, rewind_stream.index, 0);
    PERFORM record_about_stream('audit.stream_rewound', name, jsonb_build_object('from', before, 'to', index));
END $$;

-- retry_parked(name, index): lets workers send the parked event of that index again; all of them if it is NULL. Returns
-- how many: those that wait behind another one follow it.
CREATE OR REPLACE FUNCTION pgaudit.retry_parked(name text, index bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    retried bigint;
BEGIN
    PERFORM require_stream(name);
    UPDATE parked p SET retry_at = clock_timestamp()
     WHERE p.stream = retry_parked.name AND p.behind IS NULL
       AND (retry_parked.index IS NULL OR p.index = retry_parked.index);
    GET DIAGNOSTICS retried = ROW_COUNT;
    RETURN retried;
END $$;

-- discard_parked(name, index, reason): gives up a parked event; the events of its target that wait behind it are sent.
-- Returns whether there was one.
CREATE OR REPLACE FUNCTION pgaudit.discard_parked(name text, index bigint, reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM require_stream(name);
    IF settle_parked(name, ARRAY[discard_parked.index]) = 0 THEN
        RETURN false;
    END IF;
    INSERT INTO delivery (stream, status, from_index, to_index, events, error)
    VALUES (discard_parked.name, 'discarded', discard_parked.index, discard_parked.index, 1,
            concat(left(reason, 900), ', by ', acting_user()));
    PERFORM record_about_stream('audit.stream_event_discarded', name,
                                jsonb_build_object('index', index, 'reason', left(reason, 900)));
    RETURN true;
END $$;
