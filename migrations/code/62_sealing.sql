-- Sealing: the tiles of the Merkle tree over the log, and signed checkpoints of it. Worker processes compute and sign;
-- these functions store the results. Through them a worker reads hashes and ids of events, and no content.

-- try_lock_sealing(): returns whether this transaction may seal; only one can at a time. (A row: any role could hold an
-- advisory lock.)
CREATE OR REPLACE FUNCTION pgaudit.try_lock_sealing() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM FROM sealing_state FOR UPDATE SKIP LOCKED;
    RETURN FOUND;
END $$;

-- lock_checkpoint(size): returns the note of a checkpoint, which no other transaction changes until this one ends.
CREATE OR REPLACE FUNCTION pgaudit.lock_checkpoint(size bigint) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS
$$ SELECT note FROM checkpoint c WHERE c.size = lock_checkpoint.size FOR UPDATE $$;

-- leaf_hashes(first_index, end_index): returns the leaf hashes of [first_index, end_index), one after the other. If rows
-- are missing, they are fewer.
CREATE OR REPLACE FUNCTION pgaudit.leaf_hashes(first_index bigint, end_index bigint) RETURNS bytea
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT coalesce(string_agg(leaf_hash, '' ORDER BY index), '') FROM audit_log
     WHERE index >= first_index AND index < end_index
$$;

-- add_tiles(level, first_number, hashes, roots): appends complete tiles to a level, the first of them with that number.
-- Raises 55000 unless the number is the next one of the level: another worker was faster.
CREATE OR REPLACE FUNCTION pgaudit.add_tiles(level smallint, first_number bigint, hashes bytea[], roots bytea[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    next_number bigint := coalesce((SELECT max(t.number) + 1 FROM tile t WHERE t.level = add_tiles.level), 0);
BEGIN
    IF first_number <> next_number THEN
        RAISE EXCEPTION 'the next tile of level % is %, not %', level, next_number, first_number
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO tile (level, number, hashes, root)
    SELECT add_tiles.level, first_number + n - 1, given.hashes, given.root
      FROM unnest(add_tiles.hashes, roots) WITH ORDINALITY AS given (hashes, root, n);
END $$;

-- add_checkpoint(size, note): stores a signed note. A note of that size is replaced only by one with the same text: with
-- further signatures below it.
-- Raises 55000 for another text, a tree that is larger than the log, or a new one that is smaller than the last.
CREATE OR REPLACE FUNCTION pgaudit.add_checkpoint(size bigint, note text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    last bigint := (SELECT max(size) FROM checkpoint);
    same text   := (SELECT c.note FROM checkpoint c WHERE c.size = add_checkpoint.size);
BEGIN
    IF add_checkpoint.size > (SELECT size FROM log_head) OR (same IS NULL AND add_checkpoint.size < last)
       OR split_part(add_checkpoint.note, E'\n\n', 1) <> split_part(same, E'\n\n', 1)
    THEN
        RAISE EXCEPTION 'a checkpoint of % events does not follow one of %', add_checkpoint.size, last
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO checkpoint (size, note) VALUES (add_checkpoint.size, add_checkpoint.note)
        ON CONFLICT (size) DO UPDATE SET note = excluded.note;
END $$;

-- event_bytes(event): returns the text of an event in UTF-8. As the output function makes it: a superuser can replace the
-- cast to text by another one.
CREATE OR REPLACE FUNCTION pgaudit.event_bytes(event jsonb) RETURNS bytea
LANGUAGE sql STABLE AS
$$ SELECT pg_catalog.convert_to(pg_catalog.textin(pg_catalog.jsonb_out(event)), 'UTF8') $$;

-- recomputed_hashes(first_index, end_index, careful): returns a row for each tile of level 0 that has events in
-- [first_index, end_index): how many they are, their leaf hashes, computed from the events, how many differ from the
-- stored ones, and how many have a column that differs from the event.
--   careful  whether an event may hold anything: without, a value that is no time raises; with it takes twice as long
CREATE OR REPLACE FUNCTION pgaudit.recomputed_hashes(first_index bigint, end_index bigint, careful boolean DEFAULT false)
RETURNS TABLE (number bigint, events bigint, hashes bytea, altered bigint, drifted bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan SET jit = off AS $$
BEGIN
    RETURN QUERY
    SELECT l.index / 256, count(*), string_agg(l.computed, '' ORDER BY l.index),
           count(*) FILTER (WHERE l.leaf_hash <> l.computed), count(*) FILTER (WHERE l.drifted)
      FROM (SELECT log.index, log.leaf_hash, sha256('\x00'::bytea || event_bytes(event)) AS computed,
                   log.event_id::text IS DISTINCT FROM event->>'id'
                   OR log.action IS DISTINCT FROM event->>'action'
                   OR log.outcome IS DISTINCT FROM event->>'outcome'
                   OR log.actor_type IS DISTINCT FROM event->'actor'->>'type'
                   OR log.actor_id IS DISTINCT FROM event->'actor'->>'id'
                   OR log.target_type IS DISTINCT FROM event->'targets'->0->>'type'
                   OR log.target_id IS DISTINCT FROM event->'targets'->0->>'id'
                   OR log.tenant IS DISTINCT FROM event->>'tenant'
                   OR log.occurred_at IS DISTINCT FROM CASE WHEN careful THEN try_timestamptz(event->>'occurred_at')
                                                            ELSE (event->>'occurred_at')::timestamptz END
                   OR log.recorded_at IS DISTINCT FROM CASE WHEN careful THEN try_timestamptz(event->>'recorded_at')
                                                            ELSE (event->>'recorded_at')::timestamptz END AS drifted
              FROM audit_log log
             WHERE log.index >= first_index AND log.index < end_index
            OFFSET 0) l  -- each hash is computed once, and what is sorted has no events
     GROUP BY 1 ORDER BY 1;
END $$;

-- note_verification(first_index, end_index, whole, level, findings, found): keeps the result of verifying
-- [first_index, end_index).
--   whole     whether that is all that the log has
--   level     the level of assurance that was reached; NULL if there are findings
--   findings  how many there were
--   found     the first of them: an array of objects with name, message, index and event_id
CREATE OR REPLACE FUNCTION pgaudit.note_verification(
    first_index bigint, end_index bigint, whole boolean, level text, findings bigint, found jsonb)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    INSERT INTO verification (first_index, end_index, whole, level, findings, found)
    VALUES (first_index, end_index, whole, level, findings, found)
$$;

-- stored_hashes(first_index, end_index): returns the leaf hash of each event in [first_index, end_index), as it is stored
-- and as it is computed from the event, and the index under which the event's id was appended.
CREATE OR REPLACE FUNCTION pgaudit.stored_hashes(first_index bigint, end_index bigint)
RETURNS TABLE (index bigint, event_id uuid, stored bytea, computed bytea, appended_as bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT l.index, l.event_id, l.leaf_hash, pg_catalog.sha256('\x00'::bytea || event_bytes(l.event)), k.index
      FROM audit_log l LEFT JOIN event_key k ON k.event_id = l.event_id
     WHERE l.index >= first_index AND l.index < end_index ORDER BY l.index
$$;

-- note_sealing(refused): notes that the log was sealed just now, or why it was not.
CREATE OR REPLACE FUNCTION pgaudit.note_sealing(refused text DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    UPDATE sealing_state s
       SET sealed_at = CASE WHEN note_sealing.refused IS NULL THEN clock_timestamp() ELSE s.sealed_at END,
           refused = left(note_sealing.refused, 2000),
           refused_since = CASE WHEN note_sealing.refused IS NOT NULL THEN coalesce(s.refused_since, clock_timestamp()) END
$$;

-- claim_heartbeat(every): returns whether it is time to record another heartbeat event, and notes that it is recorded.
CREATE OR REPLACE FUNCTION pgaudit.claim_heartbeat(every interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    UPDATE sealing_state SET heartbeat_at = clock_timestamp()
     WHERE heartbeat_at IS NULL OR heartbeat_at < clock_timestamp() - every;
    RETURN FOUND;
END $$;

-- claim_verification(every): returns whether it is time to verify again, and notes that the caller does. By time and not
-- by a lock, which a pooler would keep. A long verification claims it again with 0, so that no other one begins.
CREATE OR REPLACE FUNCTION pgaudit.claim_verification(every interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    UPDATE sealing_state SET verifying_at = clock_timestamp()
     WHERE verifying_at IS NULL OR verifying_at < clock_timestamp() - every;
    RETURN FOUND;
END $$;

-- log_ends(): returns where the log ends by its batches, by its rows, and by its complete tiles.
CREATE OR REPLACE FUNCTION pgaudit.log_ends(OUT head bigint, OUT rows bigint, OUT tiled bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT (SELECT size FROM log_head), coalesce((SELECT max(index) + 1 FROM audit_log), 0),
           coalesce((SELECT max(number) + 1 FROM tile WHERE level = 0), 0) * 256
$$;
