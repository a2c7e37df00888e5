"""A log of years: many targets, actors, actions and tenants, in a realistic distribution, and a rival's table of it.

200,000 claims and 3,000 actors, of which few have many events; 60 actions of 12 resources; 8 tenants; 24 months. One
event of 65 is a failure or denied, one of five has a second target, three belong to one request.
"""

from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg import sql

from benchmarks.support.plain_log import UNGUARD
from benchmarks.support.server import Bench

RESOURCES: Final = (
    "claim", "policy", "payment", "document", "user", "party", "reserve", "task", "note", "quote", "report", "letter",
)  # fmt: skip
VERBS: Final = ("viewed", "updated", "approved", "denied", "created")
STEP: Final = 250_000
PARTITION: Final = 10_485_760  # as installed
PARTITIONS: Final = "SELECT partition::text FROM pgaudit.log_partitions()"
CREATE_PARTITIONS: Final = "SELECT pgaudit.create_partition(%s)"
EVENTS: Final = """
    CREATE FUNCTION public.generated_events(first bigint, last bigint, total bigint, resources text[], verbs text[])
    RETURNS SETOF public.generated_event LANGUAGE sql AS $$
        SELECT index, (lpad(to_hex(index), 12, '0') || '7' || substr(hash, 14, 3) || '8' || substr(hash, 18))::uuid, at,
               resources[1 + action / 5] || '.' || verbs[1 + action % 5],
               CASE WHEN luck < 0.985 THEN 'success' WHEN luck < 0.995 THEN 'failure' ELSE 'denied' END,
               actor::text, claim, CASE WHEN index % 5 = 0 THEN claim % 50000 END, 'tenant-' || tenant, index / 3
          FROM (SELECT index, md5(index::text) AS hash,
                       '2024-11-01Z'::timestamptz + interval '730 days' * (index::float8 / total) AS at,
                       floor(60 * power(random(), 3))::int AS action,
                       floor(3000 * power(random(), 2))::int AS actor,
                       floor(200000 * power(random(), 1.5))::int AS claim,
                       floor(8 * power(random(), 1.5))::int AS tenant,
                       random() AS luck
                  FROM generate_series(first, last - 1) index OFFSET 0) given
    $$
"""
EVENT: Final = """
    CREATE TYPE public.generated_event AS (index bigint, id uuid, at timestamptz, action text, outcome text, actor text,
                                           claim int, policy int, tenant text, request bigint)
"""
FILL: Final = """
    WITH made AS MATERIALIZED (
        SELECT e.*, jsonb_strip_nulls(jsonb_build_object(
                   'id', id, 'action', action, 'outcome', outcome, 'occurred_at', at, 'recorded_at', at,
                   'recorded_by', 'claims_app', 'xid', (index + 1000)::text, 'tenant', tenant, 'schema_version', 1,
                   'actor', jsonb_build_object('type', 'user', 'id', actor),
                   'targets', jsonb_build_array(jsonb_build_object('type', 'claim', 'id', claim::text))
                           || CASE WHEN policy IS NULL THEN '[]'::jsonb
                                   ELSE jsonb_build_array(jsonb_build_object('type', 'policy', 'id', policy::text)) END,
                   'context', jsonb_build_object('request_id', 'r-' || request,
                                                 'ip', '10.0.0.' || mod(actor::int, 250)),
                   'changes', jsonb_build_array(
                       jsonb_build_object('path', 'status', 'before', 'open', 'after', action)),
                   'data', jsonb_build_object('amount', mod(claim, 9999)::text || '.00',
                                              'note', md5(id::text)))) AS event
          FROM public.generated_events(%(first)s, %(last)s, %(total)s, %(resources)s, %(verbs)s) e
    ), logged AS (
        INSERT INTO pgaudit.audit_log (index, event_id, occurred_at, recorded_at, persisted_at, action, outcome,
                                       actor_type, actor_id, target_type, target_id, tenant, event, leaf_hash)
        SELECT index, id, at, at, at + interval '10 ms', action, outcome, 'user', actor, 'claim', claim::text, tenant,
               event, pgaudit.leaf_hash(event)
          FROM made ORDER BY index
    ), keyed AS (
        INSERT INTO pgaudit.event_key (event_id, index) SELECT id, index FROM made
    ), further AS (
        INSERT INTO pgaudit.event_target (type, id, index)
        SELECT 'policy', policy::text, index FROM made WHERE policy IS NOT NULL
    ), batched AS (
        INSERT INTO pgaudit.batch (first_index, count, persisted_at, oldest_recorded, newest_recorded, recorded_until,
                                   late)
        SELECT min(index), count(*), max(at), min(at), max(at), max(at), false FROM made GROUP BY index / 1000
    )
    INSERT INTO public.auditlog_logentry (id, content_type_id, object_pk, object_id, object_repr, action, changes,
                                          actor_id, cid, remote_addr, "timestamp", additional_data)
    SELECT index, 1, claim::text, claim, 'Claim ' || claim, 1, event->'changes', actor::int,
           event->'context'->>'request_id', (event->'context'->>'ip')::inet, at, event - 'changes'
      FROM made
"""
# The table and the indexes of django-auditlog 3; what it has no columns for is in additional_data.
RIVAL: Final = """
    CREATE TABLE public.auditlog_logentry (
        id bigint PRIMARY KEY, content_type_id int NOT NULL, object_pk varchar(255) NOT NULL, object_id bigint,
        object_repr text NOT NULL, action smallint NOT NULL, changes jsonb, actor_id int, cid varchar(255),
        remote_addr inet, "timestamp" timestamptz NOT NULL, additional_data jsonb);
    CREATE INDEX ON public.auditlog_logentry (content_type_id);
    CREATE INDEX ON public.auditlog_logentry (object_pk);
    CREATE INDEX ON public.auditlog_logentry (object_id);
    CREATE INDEX ON public.auditlog_logentry (action);
    CREATE INDEX ON public.auditlog_logentry (actor_id);
    CREATE INDEX ON public.auditlog_logentry (cid);
    CREATE INDEX ON public.auditlog_logentry ("timestamp");
"""


def fill(
    bench: Bench, database: str, rows: int, progress: Callable[[str], None], partition_size: int = PARTITION
) -> None:
    """Fills an empty log, and the rival's table, with the same events."""
    with bench.connect(database) as conn:
        for statement in (UNGUARD, EVENT, EVENTS, RIVAL):
            conn.execute(sql.SQL(statement))
        replace_partitions(conn, rows, partition_size)
        given = {"total": rows, "resources": list(RESOURCES), "verbs": list(VERBS)}
        for first in range(0, rows, STEP):
            conn.execute(FILL, {"first": first, "last": min(first + STEP, rows), **given})
            progress(f"filled the log with {min(first + STEP, rows):,} of {rows:,} events")
        conn.execute("VACUUM ANALYZE")


def replace_partitions(conn: psycopg.Connection[Any], rows: int, size: int) -> None:
    """Replaces the partitions of the empty log: enough for ``rows`` events, and one ahead."""
    conn.execute("UPDATE pgaudit.settings SET partition_size = %s", [size])
    for (partition,) in conn.execute(PARTITIONS).fetchall():
        conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(*partition.split("."))))
    for first in range(0, rows + size, size):
        conn.execute(CREATE_PARTITIONS, [first])
