"""How fast the very rows can enter the very table with nothing else to do."""

import time
from collections.abc import Callable
from typing import Final

from psycopg import sql

from benchmarks import peers
from benchmarks.server import RUN, Bench

SELECTED: Final = f"INSERT INTO pgaudit.audit_log ({peers.COLUMNS}) SELECT {peers.COLUMNS} FROM finished ORDER BY index"
OUT: Final = f"COPY (SELECT {peers.COLUMNS} FROM finished ORDER BY index) TO STDOUT (FORMAT binary)"
IN: Final = f"COPY pgaudit.audit_log ({peers.COLUMNS}) FROM STDIN (FORMAT binary)"
PIECE: Final = 1 << 16


def selected(bench: Bench, events: int) -> float:
    """Rows a second of one INSERT … SELECT."""
    bench.create(RUN, peers.QUEUED)
    with bench.connect(RUN) as conn:
        start = time.perf_counter()
        conn.execute(sql.SQL(SELECTED))
        return events / (time.perf_counter() - start)


def copied(bench: Bench, events: int) -> float:
    """Rows a second of one COPY of what the client has ready."""
    bench.create(RUN, peers.QUEUED)
    with bench.connect(RUN) as conn, conn.cursor() as cursor:
        with cursor.copy(sql.SQL(OUT)) as copy:
            content = b"".join(copy)
        start = time.perf_counter()
        with cursor.copy(sql.SQL(IN)) as copy:
            for first in range(0, len(content), PIECE):
                copy.write(content[first : first + PIECE])
        return events / (time.perf_counter() - start)


LIMITS: Final[dict[str, tuple[str, Callable[[Bench, int], float]]]] = {
    "select": ("INSERT … SELECT of finished rows", selected),
    "copy": ("COPY of finished rows", copied),
}
