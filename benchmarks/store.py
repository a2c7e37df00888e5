"""The plain log, copies of the log's tables with their indexes, and how the peers' jobs store an event in it.

Only pgaudit's functions write to the log itself, so those who are compared with it write to copies that no trigger
guards: the row with its five indexes, the event id in a table of its own, and the second and further targets.
"""

from typing import Final

LOG: Final = "pgaudit.audit_log"
PLAIN_LOG: Final = "public.plain_log"
TABLES: Final = """
    CREATE TABLE plain_log (LIKE pgaudit.audit_log INCLUDING ALL);
    CREATE TABLE plain_key (LIKE pgaudit.event_key INCLUDING ALL);
    CREATE TABLE plain_target (LIKE pgaudit.event_target INCLUDING ALL);
    CREATE SEQUENCE log_index MINVALUE 0;
"""
COLUMNS: Final = """index, event_id, occurred_at, recorded_at, persisted_at, action, outcome, actor_type, actor_id,
    target_type, target_id, tenant, event, leaf_hash"""
# A row of the log but for its hash, made of ``index`` and ``event``.
ROW: Final = """index, (event->>'id')::uuid AS event_id, (event->>'occurred_at')::timestamptz AS occurred_at,
    coalesce((event->>'recorded_at')::timestamptz, now()) AS recorded_at, clock_timestamp() AS persisted_at,
    event->>'action' AS action, event->>'outcome' AS outcome, event->'actor'->>'type' AS actor_type,
    event->'actor'->>'id' AS actor_id, event->'targets'->0->>'type' AS target_type,
    event->'targets'->0->>'id' AS target_id, event->>'tenant' AS tenant, event"""
FURTHER_TARGETS: Final = """
    INSERT INTO public.plain_target (type, id, index)
    SELECT DISTINCT target->>'type', target->>'id', index
      FROM {rows}, jsonb_array_elements(targets) WITH ORDINALITY AS listed (target, n) WHERE n > 1
"""
# Of ``taken``, which has events. Each is stored once; the index comes from a sequence, which has gaps and is not in
# commit order.
STORE_TAKEN: Final = f"""
    given AS (
        SELECT nextval('public.log_index') AS index, event, event->'targets' AS targets FROM taken
    ), keyed AS (
        INSERT INTO public.plain_key (event_id, index) SELECT (event->>'id')::uuid, index FROM given
        ON CONFLICT DO NOTHING RETURNING index
    ), further_targets AS ({FURTHER_TARGETS.format(rows="keyed JOIN given USING (index)")})
    INSERT INTO public.plain_log ({COLUMNS})
    SELECT {ROW}, pgaudit.leaf_hash(event) FROM keyed JOIN given USING (index)
"""
# $1 is the event's JSON.
STORE: Final = f"WITH taken AS (SELECT $1::text::jsonb AS event), {STORE_TAKEN}"
