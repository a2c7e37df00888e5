"""How fast the very rows can enter the same set of tables with nothing else to do.

The tables are the plain copies of the log: one with the log's five indexes, the event ids, the further targets.
"""

import time
from collections.abc import Callable
from typing import Final

from psycopg import sql

from benchmarks import peers, store
from benchmarks.server import RUN, Bench

# Straight from the queue: the rows are made of its jobs, as a worker makes them. No hash is checked, no job deleted.
SELECTED: Final = f"""
    WITH appended AS (
        INSERT INTO plain_log ({store.COLUMNS})
        SELECT {store.ROW}, leaf_hash
          FROM (SELECT row_number() OVER (ORDER BY id) - 1 AS index, event, leaf_hash FROM pgaudit.audit_jobs) jobs
        RETURNING index, event_id,
                  CASE WHEN jsonb_array_length(event->'targets') > 1 THEN event->'targets' END AS targets
    ), further_targets AS ({store.FURTHER_TARGETS.format(rows="appended")})
    INSERT INTO plain_key (event_id, index) SELECT event_id, index FROM appended
"""
# What a table gets of the finished rows; the events of the benchmarks have no further targets.
COPIED: Final = {"plain_log": store.COLUMNS, "plain_key": "event_id, index"}
OUT: Final = "COPY (SELECT {columns} FROM finished ORDER BY index) TO STDOUT (FORMAT binary)"
IN: Final = "COPY {table} ({columns}) FROM STDIN (FORMAT binary)"
PIECE: Final = 1 << 16


def selected(bench: Bench, events: int) -> float:
    """Rows a second of one INSERT … SELECT."""
    bench.create(RUN, peers.QUEUED)
    with bench.connect(RUN) as conn:
        start = time.perf_counter()
        conn.execute(sql.SQL(SELECTED))
        return events / (time.perf_counter() - start)


def copied(bench: Bench, events: int) -> float:
    """Rows a second of one COPY into each table, of what the client has ready, in one transaction."""
    bench.create(RUN, peers.QUEUED)
    with bench.connect(RUN) as conn, conn.cursor() as cursor:
        contents: dict[str, bytes] = {}
        for table, columns in COPIED.items():
            with cursor.copy(sql.SQL(OUT).format(columns=sql.SQL(columns))) as copy:
                contents[table] = b"".join(copy)
        start = time.perf_counter()
        with conn.transaction():
            for table, columns in COPIED.items():
                statement = sql.SQL(IN).format(table=sql.Identifier(table), columns=sql.SQL(columns))
                with cursor.copy(statement) as copy:
                    for first in range(0, len(contents[table]), PIECE):
                        copy.write(contents[table][first : first + PIECE])
        return events / (time.perf_counter() - start)


LIMITS: Final[dict[str, tuple[str, Callable[[Bench, int], float]]]] = {
    "select": ("INSERT … SELECT of the queue's rows", selected),
    "copy": ("COPY of finished rows", copied),
}
