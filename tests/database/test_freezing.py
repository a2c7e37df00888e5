"""Autovacuum freezes the rows of the log when it first reads them: they never change."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import value, value_and_commit
from tests.support.servers import migrated_server
from tests.support.waiting import wait_until

OLDEST = "SELECT relfrozenxid::text::bigint FROM pg_class WHERE oid = 'pgaudit.audit_log_0'::regclass"
APPENDED = "SELECT max(xmin::text::bigint) FROM pgaudit.audit_log_0"
VACUUMED = "SELECT autovacuum_count FROM pg_stat_all_tables WHERE relid = 'pgaudit.audit_log_0'::regclass"
EARLY = "ALTER TABLE pgaudit.audit_log_0 SET (autovacuum_vacuum_insert_threshold = 0)"


@pytest.fixture
def vacuuming() -> Iterator[str]:
    """A migrated database on a server whose autovacuum runs every second."""
    with migrated_server(autovacuum_naptime=1) as server:
        yield server.conninfo


def test_a_partition_is_frozen_by_the_first_vacuum(vacuuming: str) -> None:
    """After the first autovacuum, the partition's relfrozenxid is newer than all transactions that appended to it."""
    with psycopg.connect(vacuuming) as conn:
        make_small_partitions_and_commit(conn)
        for _ in range(3):
            assert record_persist_and_commit(conn, *events(80)) == []
        appended = value_and_commit(conn, APPENDED)
        for _ in range(20):
            value_and_commit(conn, "SELECT pg_current_xact_id()")
        conn.execute(EARLY)
        conn.commit()
        wait_until("autovacuum has read the partition", lambda: value_and_commit(conn, VACUUMED) > 0)
        assert value(conn, OLDEST) > appended
