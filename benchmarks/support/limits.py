"""The upper bounds of draining: how fast one statement writes the same rows into the plain log and its tables."""

import time
from collections.abc import Callable
from typing import Final

from psycopg import sql

from benchmarks.support import databases, plain_log
from benchmarks.support.server import RUN, Bench

# Makes the rows from the queue's jobs, as a worker does, but checks no hash and deletes no job.
SELECTED: Final = f"""
    WITH appended AS (
        INSERT INTO plain_log ({plain_log.COLUMNS})
        SELECT {plain_log.ROW}, leaf_hash
          FROM (SELECT row_number() OVER (ORDER BY id) - 1 AS index, event, leaf_hash FROM pgaudit.audit_jobs) jobs
        RETURNING index, event_id,
                  CASE WHEN jsonb_array_length(event->'targets') > 1 THEN event->'targets' END AS targets
    ), further_targets AS ({plain_log.FURTHER_TARGETS.format(rows="appended")})
    INSERT INTO plain_key (event_id, index) SELECT event_id, index FROM appended
"""
# The columns of each table. The events of the benchmarks have no further targets.
COPIED: Final = {"plain_log": plain_log.COLUMNS, "plain_key": "event_id, index"}
OUT: Final = "COPY (SELECT {columns} FROM finished ORDER BY index) TO STDOUT (FORMAT binary)"
IN: Final = "COPY {table} ({columns}) FROM STDIN (FORMAT binary)"
CHUNK: Final = 1 << 16


def insert_select(bench: Bench, events: int) -> float:
    """Returns the rows a second of one INSERT … SELECT."""
    bench.create(RUN, databases.QUEUED)
    with bench.connect(RUN) as conn:
        start = time.perf_counter()
        conn.execute(sql.SQL(SELECTED))
        return events / (time.perf_counter() - start)


def copy_rows(bench: Bench, events: int) -> float:
    """Returns the rows a second of one COPY into each table, in one transaction, with the data ready in the client."""
    bench.create(RUN, databases.QUEUED)
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
                    for first in range(0, len(contents[table]), CHUNK):
                        copy.write(contents[table][first : first + CHUNK])
        return events / (time.perf_counter() - start)


LIMITS: Final[dict[str, tuple[str, Callable[[Bench, int], float]]]] = {
    "select": ("INSERT … SELECT of the queue's rows", insert_select),
    "copy": ("COPY of complete rows", copy_rows),
}
