"""The audit log as the tests see it."""

from itertools import pairwise
from uuid import UUID

from tests.support.queries import Connection


def logged(conn: Connection) -> list[tuple[int, UUID]]:
    """Returns index and event id of each row of the log, in the log's order."""
    return conn.execute("SELECT index, event_id FROM pgaudit.audit_log ORDER BY index").fetchall()


def logged_ids(conn: Connection) -> list[UUID]:
    """Returns the ids of the events in the log, in the log's order."""
    return [identity for _, identity in logged(conn)]


def assert_dense(conn: Connection) -> None:
    """Fails with the first gap unless the indexes are 0, 1, 2 … up to the end, and the batches cover them."""
    gap = first_gap(conn)
    assert gap is None, gap


def first_gap(conn: Connection) -> str | None:
    """Returns a sentence about the first index or batch that is not where it should be; None if all are."""
    query = """
        WITH expected AS (SELECT generate_series(0, (SELECT size FROM pgaudit.log_head) - 1) AS index)
        SELECT index, log.index IS NOT NULL, expected.index IS NOT NULL
          FROM (SELECT index FROM pgaudit.audit_log) log FULL JOIN expected USING (index)
         WHERE log.index IS NULL OR expected.index IS NULL ORDER BY index LIMIT 1
    """
    for index, in_log, expected in conn.execute(query).fetchall():
        return f"index {index}: {'in the log' if in_log else 'missing'}, {'below' if expected else 'beyond'} its end"
    batches = conn.execute("SELECT first_index, count FROM pgaudit.batch ORDER BY first_index").fetchall()
    for (first, count), (following, _) in pairwise([(0, 0), *batches]):
        if first + count != following:
            return f"batches: {first} with {count} events is followed by {following}"
    return None


def make_small_partitions_and_commit(conn: Connection, size: int = 256) -> None:
    """Replaces the partitions of the empty log by small ones: the one to be filled, and the next."""
    conn.execute("UPDATE pgaudit.settings SET partition_size = %s", [size])
    for (partition,) in conn.execute("SELECT partition::text FROM pgaudit.log_partitions()").fetchall():
        conn.execute(f"DROP TABLE {partition}")
    conn.execute("SELECT pgaudit.ensure_partitions()")
    conn.commit()
