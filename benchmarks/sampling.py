"""One look at a trail under load: the log, the queue, its tables, and the workers' memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from psycopg.rows import class_row

from benchmarks.load import Connection
from benchmarks.workers import Process

LOOK: Final = """
    SELECT size AS logged, waiting, lag, dead, megabytes
      FROM pgaudit.log_head,
           (SELECT waiting FROM pgaudit.queue_stats) queue,
           (SELECT coalesce(max(extract(epoch FROM persisted_at - oldest_recorded)), 0)::float8 * 1000 AS lag
              FROM pgaudit.batch WHERE persisted_at > clock_timestamp() - make_interval(secs => %s)) batches,
           (SELECT sum(dead_rows)::bigint AS dead, sum(total_bytes)::float8 / 1048576 AS megabytes
              FROM pgaudit.storage_stats WHERE table_name IN ('procrastinate_jobs', 'audit_jobs')) storage
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the database says: of the log, the queue, its slowest event of late in milliseconds, and its tables."""

    logged: int
    waiting: int
    lag: float
    dead: int
    megabytes: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment, in minutes from the start; events a second since the one before; megabytes of the largest worker."""

    minute: float
    rate: float
    memory: float
    seen: Seen


def look(conn: Connection, seconds: float) -> Seen:
    """Returns what the database says now; the lag is that of the last seconds."""
    with conn.cursor(row_factory=class_row(Seen)) as cursor:
        return cursor.execute(LOOK, [seconds]).fetchone() or Seen(0, 0, 0, 0, 0)


def resident(process: Process) -> float:
    """Megabytes of a process that are in memory now."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024
