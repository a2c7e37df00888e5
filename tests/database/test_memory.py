"""The memory that a batch takes in the server process."""

from typing import Final

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from tests.support.audit_log import assert_dense
from tests.support.memory import peak_memory
from tests.support.queries import value_and_commit

EVENTS: Final = 1_000
LIMIT: Final = 200_000  # kB
PERSIST: Final = "SELECT taken, cardinality(failures) FROM pgaudit.persist(NULL, NULL, %s)"


def record_large_events(dsn: str, events: int) -> None:
    """Records events of 48 kB that are small when they are compressed."""
    data = {"text": "claims " * 6_900}
    with psycopg.connect(dsn) as conn:
        for _ in range(events // 100):
            AuditLog(Settings(dsn=dsn)).record(
                conn, *(AuditEvent(action="claim.approved", data=data) for _ in range(100))
            )
    with psycopg.connect(dsn) as conn:
        sizes = "SELECT min(event_bytes) > 48000 AND max(pg_column_size(event)) < 4000 FROM pgaudit.audit_jobs"
        assert value_and_commit(conn, sizes) is True


def test_a_batch_of_large_events_takes_little_memory(dsn: str) -> None:
    """1,000 events of 48 kB, which the queue holds compressed, are appended by a server process of less than 200 MB."""
    record_large_events(dsn, EVENTS)
    with psycopg.connect(dsn, autocommit=True) as conn:
        taken = 0
        while batch := conn.execute(PERSIST, [EVENTS]).fetchone():
            if not batch[0]:
                break
            assert batch[1] == 0
            taken += batch[0]
        assert taken == EVENTS
        assert peak_memory(conn) < LIMIT
        assert_dense(conn)


@pytest.mark.parametrize("kind", ["poison", "refused"])
def test_a_batch_of_large_events_that_fail_takes_little_memory(dsn: str, conn: psycopg.Connection, kind: str) -> None:
    """Finding the failed events among 1,000 large ones takes no more memory than appending them."""
    record_large_events(dsn, EVENTS)
    if kind == "poison":
        conn.execute("ALTER TABLE pgaudit.audit_jobs DISABLE TRIGGER reject_event_update")
        conn.execute("UPDATE pgaudit.audit_jobs SET leaf_hash = ''")
    else:
        conn.execute("ALTER TABLE pgaudit.audit_log ADD CONSTRAINT nothing CHECK (index < 0)")
    conn.commit()
    with psycopg.connect(dsn, autocommit=True) as own:
        taken, failed = own.execute(PERSIST, [EVENTS]).fetchone() or (0, 0)
        assert taken == failed > 100
        assert peak_memory(own) < LIMIT
