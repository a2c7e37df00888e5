"""A past for pictures: as if the log had grown through the last six hours, by day and by lunch."""

from itertools import islice
from math import sin
from random import Random
from typing import Final

import psycopg

from pgaudit import AuditEvent
from tests.browser.story import other_events
from tests.support.jobs import persist_and_commit, record_and_commit, register_and_commit

EVENTS: Final = 3_000
MINUTES: Final = 360
GUARDS: Final = """
    SELECT tgrelid::regclass, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
     WHERE tgenabled = 'A' AND (relname = 'batch' OR starts_with(relname, 'audit_log'))
"""
REGROUP: Final = """
    INSERT INTO pgaudit.batch (first_index, count, persisted_at, oldest_recorded, newest_recorded, recorded_until, late,
                               worker_id)
    SELECT %(first)s, %(count)s, at, at - %(lag)s * interval '1 s', at - interval '80 ms', at, false, %(worker)s
      FROM (SELECT date_trunc('minute', now()) - %(minutes)s * interval '1 minute' + interval '20 s' AS at)
"""
RETIME: Final = """
    UPDATE pgaudit.audit_log SET persisted_at = b.persisted_at,
           recorded_at = b.newest_recorded - (b.first_index + b.count - index) * interval '53 s' / b.count
      FROM pgaudit.batch b WHERE index >= b.first_index AND index < b.first_index + b.count
"""


def give(conn: psycopg.Connection) -> None:
    """Adds events to the log and spreads it over the time, as nobody but the owner of its tables can."""
    events = other_events(EVENTS)
    while some := list(islice(events, 1_000)):
        record_and_commit(conn, *some)
        persist_and_commit(conn)
    workers = [register_and_commit(conn, "1 day")[0] for _ in range(2)]
    ((size,),) = conn.execute("SELECT size FROM pgaudit.log_head").fetchall()
    guards = conn.execute(GUARDS).fetchall()
    for table, guard in guards:
        conn.execute(f"ALTER TABLE ONLY {table} DISABLE TRIGGER {guard}")
    conn.execute("DELETE FROM pgaudit.batch")
    for row in batches(size, workers):
        conn.execute(REGROUP, row)
    conn.execute(RETIME)
    for table, guard in guards:
        conn.execute(f"ALTER TABLE ONLY {table} ENABLE ALWAYS TRIGGER {guard}")
    conn.commit()
    record_and_commit(conn, *(AuditEvent(action="claim.reopened", target=f"claim:{n}") for n in range(4)))
    with psycopg.connect(conn.info.dsn, autocommit=True) as other:
        other.execute("VACUUM ANALYZE")


def batches(size: int, workers: list[int]) -> list[dict[str, float]]:
    """Returns a batch for each minute, of all events together."""
    random = Random(7)
    weights = [3 + 2 * sin(minute / 47) + sin(minute / 9) + random.random() * 2 for minute in range(MINUTES)]
    ends = [round(size * sum(weights[: minute + 1]) / sum(weights)) for minute in range(MINUTES)]
    return [
        {
            "first": first,
            "count": end - first,
            "minutes": MINUTES - minute,
            "lag": 0.12 + random.random() ** 4 * 0.6,
            "worker": workers[minute % 2],
        }
        for minute, (first, end) in enumerate(zip([0, *ends], ends, strict=False))
        if end > first
    ]
