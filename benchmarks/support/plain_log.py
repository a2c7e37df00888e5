"""The plain log, how the peers' jobs store an event in it, and how a log is filled with rows.

Only pgaudit's functions can write to the audit log, so the peers write to copies of its tables without triggers: the
row with its five indexes, the event id in another table, and the second and further targets.
"""

from collections.abc import Callable
from typing import Final

from psycopg import sql

from benchmarks.support.load import event
from benchmarks.support.server import Bench

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
# A row of the log without its hash, made of ``index`` and ``event``.
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
# Stores the events of ``taken`` once each. The index comes from a sequence, which has gaps and is not in commit order.
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
# $1 is the JSON of the event.
STORE: Final = f"WITH taken AS (SELECT $1::text::jsonb AS event), {STORE_TAKEN}"
STEP: Final = 500_000
CLAIMS: Final = 10_000
EVENTS_PER_CLAIM: Final = 10
ROWS: Final = "SELECT coalesce(max(index) + 1, 0) FROM {log}"
KEYS: Final = {LOG: "pgaudit.event_key", PLAIN_LOG: "public.plain_key"}
NEXT: Final = "SELECT setval('log_index', (SELECT coalesce(max(index) + 1, 0) FROM {log}), false)"
# Lets the owner write to the audit log.
UNGUARD: Final = """
    ALTER TABLE pgaudit.audit_log DISABLE TRIGGER USER;
    ALTER TABLE pgaudit.event_key DISABLE TRIGGER USER;
    ALTER TABLE pgaudit.event_target DISABLE TRIGGER USER;
    ALTER TABLE pgaudit.batch DISABLE TRIGGER USER;
"""
ADD_CLAIMS: Final = """
    INSERT INTO claims SELECT n, 'open', 0 FROM generate_series((SELECT max(id) FROM claims) + 1, %s) n
"""
# Ids ascend like UUIDv7. All events happen in the current month.
FILL: Final = f"""
    WITH filled AS (
        INSERT INTO {{log}} ({COLUMNS})
        SELECT n, (lpad(to_hex(n), 12, '0') || '7' || substr(hash, 14, 3) || '8' || substr(hash, 18))::uuid,
               at, at, at, 'claim.approved', 'success', 'user', (random() * %(actors)s)::int::text, 'claim',
               'c-' || (random() * %(claims)s)::int, NULL, event, pgaudit.leaf_hash(event)
          FROM (SELECT n, md5(n::text) AS hash, %(event)s::text::jsonb AS event,
                       date_trunc('month', now()) + (now() - date_trunc('month', now())) * (n::float8 / %(rows)s) AS at
                  FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) n OFFSET 0) given
        RETURNING event_id, index
    )
    INSERT INTO {{keys}} (event_id, index) SELECT event_id, index FROM filled
"""


def fill(bench: Bench, database: str, log: str, rows: int, progress: Callable[[str], None]) -> None:
    """Fills the plain log, or the audit log without its guards, up to that number of rows, ten for each claim."""
    names = {"log": sql.Identifier(*log.split(".")), "keys": sql.Identifier(*KEYS[log].split("."))}
    claims = max(CLAIMS, rows // EVENTS_PER_CLAIM)
    given = {"claims": claims, "actors": claims // 20, "rows": max(rows, 1), "event": event().to_json()}
    with bench.connect(database) as conn:
        conn.execute(ADD_CLAIMS, [claims])
        row = conn.execute(sql.SQL(ROWS).format(**names)).fetchone()
        for first in range(row[0] if row else 0, rows, STEP):
            last = min(first + STEP, rows)
            conn.execute(sql.SQL(FILL).format(**names), given | {"first": first, "last": last})
            progress(f"filled the log with {last:,} of {rows:,} rows")
        conn.execute(sql.SQL(NEXT).format(**names))
        conn.execute(sql.SQL("VACUUM ANALYZE {log}, {keys}").format(**names))


def vacuum_and_checkpoint(bench: Bench, database: str) -> None:
    """Puts the database into the same state before each run."""
    with bench.connect(database) as conn:
        conn.execute("VACUUM claims")
        conn.execute("CHECKPOINT")
