"""A log that is full: a claim has ten events in its life, and all happened this month."""

from collections.abc import Callable
from typing import Final

from psycopg import sql

from benchmarks import peers
from benchmarks.events import event
from benchmarks.server import Bench

STEP: Final = 500_000
EVENTS_OF_A_CLAIM: Final = 10
ROWS: Final = "SELECT count(*) FROM pgaudit.audit_log"
CLAIMS: Final = """
    INSERT INTO claims SELECT n, 'open', 0 FROM generate_series((SELECT max(id) FROM claims) + 1, %s) n
"""
# Ids ascend, as UUIDv7 do.
FILL: Final = f"""
    INSERT INTO pgaudit.audit_log ({peers.COLUMNS})
    SELECT n, (lpad(to_hex(n), 12, '0') || '7' || substr(md5(n::text), 14, 3) || '8' || substr(md5(n::text), 18))::uuid,
           at, at, at, 'claim.approved', 'success', 'user', (random() * %(actors)s)::int::text, 'claim',
           'c-' || (random() * %(claims)s)::int, NULL, event, pgaudit.leaf_hash(event)
      FROM (SELECT n, date_trunc('month', now()) + (now() - date_trunc('month', now())) * (n::float8 / %(rows)s) AS at,
                   %(event)s::text::jsonb AS event
              FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) n OFFSET 0) given
"""


def fill(bench: Bench, database: str, rows: int, progress: Callable[[str], None]) -> None:
    """Adds what the log lacks of so many rows, and the claims that they are about."""
    claims = max(peers.CLAIMS, rows // EVENTS_OF_A_CLAIM)
    given = {"claims": claims, "actors": claims // 20, "rows": max(rows, 1), "event": event().to_json()}
    with bench.connect(database) as conn:
        conn.execute(CLAIMS, [claims])
        row = conn.execute(ROWS).fetchone()
        for first in range(row[0] if row else 0, rows, STEP):
            last = min(first + STEP, rows)
            conn.execute(sql.SQL(FILL), given | {"first": first, "last": last})
            progress(f"filled the log with {last:,} of {rows:,} rows")
        conn.execute("VACUUM ANALYZE pgaudit.audit_log")


def settle(bench: Bench, database: str) -> None:
    """Lets the next run begin like every other."""
    with bench.connect(database) as conn:
        conn.execute("VACUUM claims")
        conn.execute("CHECKPOINT")
