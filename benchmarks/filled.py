"""A log that is full: a claim has ten events in its life, and all happened this month.

It is the plain log, or the log itself, whose guards are off then.
"""

from collections.abc import Callable
from typing import Final

from psycopg import sql

from benchmarks import peers, store
from benchmarks.events import event
from benchmarks.server import Bench

STEP: Final = 500_000
EVENTS_OF_A_CLAIM: Final = 10
ROWS: Final = "SELECT coalesce(max(index) + 1, 0) FROM {log}"
KEYS: Final = {store.LOG: "pgaudit.event_key", store.PLAIN_LOG: "public.plain_key"}
NEXT: Final = "SELECT setval('log_index', (SELECT coalesce(max(index) + 1, 0) FROM {log}), false)"
# Only the owner can do this.
UNGUARD: Final = """
    ALTER TABLE pgaudit.audit_log DISABLE TRIGGER USER;
    ALTER TABLE pgaudit.event_key DISABLE TRIGGER USER;
    ALTER TABLE pgaudit.batch DISABLE TRIGGER USER;
"""
CLAIMS: Final = """
    INSERT INTO claims SELECT n, 'open', 0 FROM generate_series((SELECT max(id) FROM claims) + 1, %s) n
"""
# Ids ascend, as UUIDv7 do.
FILL: Final = f"""
    WITH filled AS (
        INSERT INTO {{log}} ({store.COLUMNS})
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
    """Fills a log up to that number of rows, with the claims that they are about."""
    names = {"log": sql.Identifier(*log.split(".")), "keys": sql.Identifier(*KEYS[log].split("."))}
    claims = max(peers.CLAIMS, rows // EVENTS_OF_A_CLAIM)
    given = {"claims": claims, "actors": claims // 20, "rows": max(rows, 1), "event": event().to_json()}
    with bench.connect(database) as conn:
        conn.execute(CLAIMS, [claims])
        row = conn.execute(sql.SQL(ROWS).format(**names)).fetchone()
        for first in range(row[0] if row else 0, rows, STEP):
            last = min(first + STEP, rows)
            conn.execute(sql.SQL(FILL).format(**names), given | {"first": first, "last": last})
            progress(f"filled the log with {last:,} of {rows:,} rows")
        conn.execute(sql.SQL(NEXT).format(**names))
        conn.execute(sql.SQL("VACUUM ANALYZE {log}, {keys}").format(**names))


def settle(bench: Bench, database: str) -> None:
    """Lets the next run begin like every other."""
    with bench.connect(database) as conn:
        conn.execute("VACUUM claims")
        conn.execute("CHECKPOINT")
