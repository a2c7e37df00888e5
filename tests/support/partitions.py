"""Partitions of the log: their ranges, and filling them."""

from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import Connection

PARTITIONS = "SELECT partition::text, first_index, end_index FROM pgaudit.log_partitions()"


def ranges(conn: Connection) -> list[tuple[int, int]]:
    """Returns the ranges of the partitions; fails if one that was not made by hand is not named by its first index."""
    found = conn.execute(PARTITIONS).fetchall()
    assert all(name == f"pgaudit.audit_log_{first}" for name, first, _ in found if "by_hand" not in name)
    return [(first, end) for _, first, end in found]


def fill_and_commit(conn: Connection, count: int) -> None:
    """Appends that many events in one batch, and commits."""
    assert record_persist_and_commit(conn, *events(count)) == []


def ensure_partitions_and_commit(conn: Connection) -> int:
    """Calls ensure_partitions and commits; returns how many partitions it made."""
    (made,) = conn.execute("SELECT pgaudit.ensure_partitions()").fetchone() or (0,)
    conn.commit()
    return int(made)


def add_partitions(conn: Connection, count: int) -> None:
    """Adds that many guarded partitions behind the last one."""
    conn.execute(
        """SELECT pgaudit.create_partition((SELECT max(end_index) FROM pgaudit.log_partitions()) + n * partition_size)
             FROM generate_series(0, %s - 1) n, pgaudit.settings""",
        [count],
    )
