-- Completeness: the index of targets of each closed day and year. docs/concepts/completeness.md has the layout of bytes.

-- try_lock_target_periods(): returns whether this transaction may close periods; only one can at a time.
CREATE OR REPLACE FUNCTION pgaudit.try_lock_target_periods() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM FROM target_lock FOR UPDATE SKIP LOCKED;
    RETURN FOUND;
END $$;

-- target_key(type, id): returns the key under which a target is sorted. Neither text can contain the byte 0.
CREATE OR REPLACE FUNCTION pgaudit.target_key(type text, id text) RETURNS bytea
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.sha256(pg_catalog.convert_to(type, 'UTF8') || pg_catalog.decode('00', 'hex')
                             || pg_catalog.convert_to(id, 'UTF8'))
$$;

-- sealed_targets(from_index): returns the events audit.targets_sealed from an index on, with what they say. An event with
-- an actor was recorded by an application, which cannot record one without.
CREATE OR REPLACE FUNCTION pgaudit.sealed_targets(from_index bigint) RETURNS TABLE (index bigint, data jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT l.index, l.event->'data' FROM audit_log l
     WHERE l.action = 'audit.targets_sealed' AND l.index >= from_index AND l.actor_id IS NULL ORDER BY l.index
$$;

-- sorted_targets(first_index, end_index): returns all targets of the events in [first_index, end_index), in ascending
-- order of their keys, 256 in a row: their keys, and the hashes of their lists of indexes. Reads the events themselves,
-- because only these are hashed into the log's tree: not the columns, and not event_target.
-- Raises XX001 if events are missing.
CREATE OR REPLACE FUNCTION pgaudit.sorted_targets(first_index bigint, end_index bigint)
RETURNS TABLE (number integer, keys bytea, digests bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan SET jit = off AS $$
DECLARE
    missing bigint := end_index - first_index - (SELECT count(*) FROM audit_log l
                                                  WHERE l.index >= first_index AND l.index < end_index);
BEGIN
    IF missing <> 0 THEN
        RAISE EXCEPTION '% of the events % to % are missing from the log', missing, first_index, end_index - 1
            USING ERRCODE = 'data_corrupted', HINT = 'Run pgaudit verify.';
    END IF;
    RETURN QUERY
    WITH occurrence AS (
        SELECT DISTINCT target_key(target->>'type', target->>'id') AS key, l.index
          FROM audit_log l,
               jsonb_array_elements(CASE jsonb_typeof(l.event->'targets') WHEN 'array' THEN l.event->'targets' ELSE '[]' END) target
         WHERE l.index >= first_index AND l.index < end_index
    ), leaf AS (
        SELECT o.key, pg_catalog.sha256(string_agg(int8send(o.index), '' ORDER BY o.index)) AS digest,
               row_number() OVER (ORDER BY o.key) - 1 AS position
          FROM occurrence o GROUP BY o.key
    )
    SELECT (position / 256)::integer, string_agg(key, '' ORDER BY position), string_agg(digest, '' ORDER BY position)
      FROM leaf GROUP BY 1 ORDER BY 1;
END $$;

-- add_target_tiles(period, first_number, keys, digests, roots): stores leaves of a period that is not closed yet.
-- Raises 55000 if it is.
CREATE OR REPLACE FUNCTION pgaudit.add_target_tiles(
    period text, first_number integer, keys bytea[], digests bytea[], roots bytea[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM target_period p WHERE p.period = add_target_tiles.period) THEN
        RAISE EXCEPTION 'the period % is closed', period USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO target_tile (period, first_key, number, keys, digests, root)
    SELECT add_target_tiles.period, substr(given.keys, 1, 32), first_number + n - 1, given.keys, given.digests, given.root
      FROM unnest(add_target_tiles.keys, add_target_tiles.digests, roots) WITH ORDINALITY AS given (keys, digests, root, n);
END $$;

-- add_target_period(period, first_index, end_index, targets, root, event_id): closes a period.
-- Raises 55000 unless a day begins where the day before it ended, in the log and in the calendar.
CREATE OR REPLACE FUNCTION pgaudit.add_target_period(
    period text, first_index bigint, end_index bigint, targets bigint, root bytea, event_id uuid
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    last target_period;
BEGIN
    SELECT * INTO last FROM target_period WHERE length(period) = 10 ORDER BY period DESC LIMIT 1;
    IF length(add_target_period.period) = 10 AND last.period IS NOT NULL
       AND (last.end_index, last.period::date + 1) <> (add_target_period.first_index, add_target_period.period::date)
    THEN
        RAISE EXCEPTION 'the day %, from event % on, does not follow %, which ended before event %',
                        add_target_period.period, add_target_period.first_index, last.period, last.end_index
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO target_period (period, first_index, end_index, targets, root, event_id)
    VALUES (add_target_period.period, add_target_period.first_index, add_target_period.end_index,
            add_target_period.targets, add_target_period.root, add_target_period.event_id);
END $$;

-- prune_target_tiles(): removes the leaves of days whose year is closed, once the year's event is in a signed tree.
CREATE OR REPLACE FUNCTION pgaudit.prune_target_tiles() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    DELETE FROM target_tile WHERE length(period) = 10 AND left(period, 4) IN (
        SELECT p.period FROM target_period p JOIN event_key k ON k.event_id = p.event_id
         WHERE length(p.period) = 4 AND k.index < (SELECT max(size) FROM checkpoint))
$$;
