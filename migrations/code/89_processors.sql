-- Processors: what workers and people do with them. The functions for their jobs are in 89_processor_jobs.sql.

-- follow_clock(name): if the clock was set back, sets back what the jobs of a processor, its rate and its probes wait for,
-- too: that may be hours ahead. A job waits since its last attempt has failed; one that was not tried waits for nothing.
CREATE OR REPLACE FUNCTION pgaudit.follow_clock(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    moment timestamptz := clock_timestamp();
BEGIN
    UPDATE processor p
       SET next_at = least(p.next_at, moment + make_interval(secs => least(1 / coalesce(p.rate, 1e6), 1e6))),
           probe_at = least(p.probe_at, moment + interval '1 minute')
     WHERE p.name = follow_clock.name AND greatest(p.next_at, p.probe_at) > moment;
    UPDATE processor_jobs j SET scheduled_at = j.scheduled_at - (ahead.noted_at - moment)
      FROM (SELECT t.id, coalesce((SELECT e.failed_at FROM job_error e WHERE e.job_id = t.id ORDER BY e.id DESC LIMIT 1),
                                  t.scheduled_at) AS noted_at
              FROM processor_jobs t
             WHERE t.task_name = follow_clock.name AND t.status = 'todo' AND t.scheduled_at > moment) ahead
     WHERE j.id = ahead.id AND j.status = 'todo' AND ahead.noted_at > moment;
END $$;

-- register_processor(name, query, start, concurrency, rate, break_after): notes that a worker knows a processor. A new
-- one begins with the event of the index `start`; with the next one that is appended if that is NULL.
CREATE OR REPLACE FUNCTION pgaudit.register_processor(
    name text, query text, start bigint, concurrency integer, rate double precision, break_after integer)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    log_size bigint := (SELECT size FROM log_head);
BEGIN
    INSERT INTO stream (name, kind, query) VALUES (register_processor.name, 'processor', register_processor.query)
        ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO stream_position (name, next_index)
        VALUES (register_processor.name, least(coalesce(register_processor.start, log_size), log_size));
    ELSIF (SELECT kind FROM stream s WHERE s.name = register_processor.name) <> 'processor' THEN
        RAISE EXCEPTION 'there is a stream % already, which is no processor', register_processor.name
            USING ERRCODE = 'PA003', HINT = 'Give the processor another name.';
    END IF;
    UPDATE stream s SET query = register_processor.query
     WHERE s.name = register_processor.name AND s.query <> register_processor.query;
    PERFORM follow_clock(name);
    INSERT INTO processor AS p (name, concurrency, rate, break_after)
    VALUES (register_processor.name, register_processor.concurrency, register_processor.rate,
            register_processor.break_after)
        ON CONFLICT (name) DO UPDATE
       SET concurrency = excluded.concurrency, rate = excluded.rate, break_after = excluded.break_after,
           known_at = excluded.known_at;
END $$;

-- due_processors(names): returns what is to be dispatched for the processors that a worker knows: what comes after their
-- position, and the backfills, with their number. A processor with 10,000 jobs that wait gets no more of them.
CREATE OR REPLACE FUNCTION pgaudit.due_processors(names text[])
RETURNS TABLE (name text, backfill bigint, next_index bigint, end_index bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT due.* FROM (
        SELECT d.name, NULL::bigint AS backfill, NULL::bigint AS next_index, NULL::bigint AS end_index
          FROM due_streams() d WHERE d.kind = 'processor' AND d.name = ANY (names)
        UNION ALL
        (SELECT DISTINCT ON (b.processor) b.processor, b.id, b.next_index, b.to_index + 1
           FROM processor_backfill b JOIN stream s ON s.name = b.processor
          WHERE b.ended_at IS NULL AND s.paused_at IS NULL AND b.processor = ANY (names) ORDER BY b.processor, b.id)
    ) due
     WHERE NOT EXISTS (SELECT FROM processor_jobs j WHERE j.task_name = due.name AND j.status = 'todo'
                       ORDER BY j.scheduled_at OFFSET 9999)
     ORDER BY due.backfill NULLS FIRST, due.name
$$;

-- defer_processor_jobs(processor, indexes, unchecked): adds a job for each of these events, unless it has one that
-- waits, runs or has failed. Those in `unchecked` still have to be asked whether the processor wants them. Returns how
-- many were added.
CREATE OR REPLACE FUNCTION pgaudit.defer_processor_jobs(processor text, indexes bigint[], unchecked bigint[])
RETURNS bigint
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    added bigint;
BEGIN
    INSERT INTO processor_jobs (task_name, index, args)
    SELECT processor, i, jsonb_build_object('index', i, 'unchecked', i = ANY (unchecked))
      FROM unnest(indexes) i ORDER BY i
        ON CONFLICT (task_name, index) DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN added;
END $$;

-- dispatch_events(name, next_index, moved_to, indexes, unchecked, last_index, last_hash): adds the jobs for the events of a
-- chunk, and moves the position behind the chunk. Returns false, and does nothing, if another worker has moved it.
CREATE OR REPLACE FUNCTION pgaudit.dispatch_events(
    name text, next_index bigint, moved_to bigint, indexes bigint[], unchecked bigint[], last_index bigint,
    last_hash bytea)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    added bigint;
BEGIN
    IF NOT lock_stream(name, next_index) THEN
        RETURN false;
    END IF;
    added := defer_processor_jobs(name, indexes, unchecked);
    PERFORM move_stream(name, moved_to, last_index, last_hash, added, 0, '[]', NULL);
    RETURN true;
END $$;

-- dispatch_backfill(id, next_index, moved_to, indexes, unchecked): the same for a backfill, which ends at its last index.
CREATE OR REPLACE FUNCTION pgaudit.dispatch_backfill(
    id bigint, next_index bigint, moved_to bigint, indexes bigint[], unchecked bigint[])
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    at processor_backfill;
BEGIN
    SELECT * INTO at FROM processor_backfill b
     WHERE b.id = dispatch_backfill.id AND b.next_index = dispatch_backfill.next_index AND b.ended_at IS NULL
       FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE processor_backfill b
       SET next_index = least(moved_to, at.to_index + 1),
           jobs = at.jobs + defer_processor_jobs(at.processor, indexes, unchecked),
           ended_at = CASE WHEN moved_to > at.to_index THEN clock_timestamp() END
     WHERE b.id = at.id;
    RETURN true;
END $$;

-- require_processor(name): raises PA003 if there is no processor of that name.
CREATE OR REPLACE FUNCTION pgaudit.require_processor(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM processor p WHERE p.name = require_processor.name) THEN
        RAISE EXCEPTION 'there is no processor %', require_processor.name
            USING ERRCODE = 'PA003', HINT = 'pgaudit processors list names them all.';
    END IF;
END $$;

-- backfill_processor(name, from_index, to_index): lets workers add jobs for the events of that range, both ends
-- included; up to the position of the processor if to_index is NULL. Returns the number of the backfill.
CREATE OR REPLACE FUNCTION pgaudit.backfill_processor(name text, from_index bigint, to_index bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    position bigint;
    added    bigint;
BEGIN
    PERFORM require_processor(name);
    position := (SELECT next_index FROM stream_position p WHERE p.name = backfill_processor.name FOR UPDATE);
    to_index := coalesce(backfill_processor.to_index, position - 1);
    IF backfill_processor.from_index < 0 OR to_index < backfill_processor.from_index OR to_index >= position THEN
        RAISE EXCEPTION 'the processor % is at index %, so it cannot be given % to %', backfill_processor.name, position,
                        backfill_processor.from_index, to_index
            USING ERRCODE = 'PA003', HINT = 'Events from there on come by themselves.';
    END IF;
    INSERT INTO processor_backfill (processor, from_index, to_index, next_index)
    VALUES (backfill_processor.name, backfill_processor.from_index, to_index, backfill_processor.from_index)
    RETURNING id INTO added;
    PERFORM record_about_stream('audit.processor_backfilled', name,
                                jsonb_build_object('from', from_index, 'to', to_index));
    RETURN added;
END $$;

-- remove_processor(name): removes a processor that no code has any more, with its jobs.
CREATE OR REPLACE FUNCTION pgaudit.remove_processor(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM require_processor(name);
    DELETE FROM processor_jobs j WHERE j.task_name = remove_processor.name;
    PERFORM remove_stream(name);
END $$;
