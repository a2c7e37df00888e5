"""How the peers' jobs store an event: the row that pgaudit's worker appends, by one statement."""

from typing import Final

# $1 is the event's JSON; the index comes from a sequence, which has gaps and is not in commit order.
STORE: Final = """
    INSERT INTO pgaudit.audit_log (index, event_id, occurred_at, recorded_at, persisted_at, action, outcome,
                                   actor_type, actor_id, target_type, target_id, tenant, event, leaf_hash)
    SELECT nextval('public.log_index'), (event->>'id')::uuid, (event->>'occurred_at')::timestamptz,
           coalesce((event->>'recorded_at')::timestamptz, now()), clock_timestamp(), event->>'action',
           event->>'outcome', event->'actor'->>'type', event->'actor'->>'id', event->'targets'->0->>'type',
           event->'targets'->0->>'id', event->>'tenant', event, pgaudit.leaf_hash(event)
      FROM (SELECT $1::text::jsonb AS event OFFSET 0) given
    ON CONFLICT DO NOTHING
"""
