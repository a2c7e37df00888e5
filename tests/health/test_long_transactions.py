"""The health check on what holds back vacuum: old transactions, prepared transactions and unused replication slots."""

import struct
from collections.abc import Iterator

import psycopg
import pytest

from pgaudit import Settings, health
from pgaudit.health import Status
from pgaudit.health.status import Check
from pgaudit.testing.server import TemporaryServer
from tests.support.queries import Connection, value
from tests.support.servers import migrated_server
from tests.support.waiting import wait_until

SLOT = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'h_standby' AND xmin IS NOT NULL AND {}"


def long_transactions(conn: Connection, limit: float = 900.0) -> Check:
    """Returns the check of the health report; the limit is the age of a transaction, in seconds."""
    report = health.check(conn, Settings(health_max_transaction=limit))
    (check,) = [check for check in report.checks if check.name == "long_transactions"]
    return check


@pytest.fixture(scope="module")
def prepared_server() -> Iterator[TemporaryServer]:
    """A server that allows prepared transactions."""
    with migrated_server(max_prepared_transactions=2) as server:
        yield server


@pytest.fixture
def dsn(prepared_server: TemporaryServer) -> str:
    """A migrated database in which transactions can be prepared; the tests share it."""
    return prepared_server.conninfo


@pytest.fixture
def watcher(dsn: str) -> Iterator[Connection]:
    """A connection in autocommit, so that it does not hold back vacuum itself."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def abandoned_slot(dsn: str, watcher: Connection) -> Iterator[None]:
    """The slot of a standby that reported its oldest transaction (hot_standby_feedback) and disconnected."""
    watcher.execute("SELECT pg_create_physical_replication_slot('h_standby', true)")
    standby = psycopg.pq.PGconn.connect(f"{dsn} replication=true".encode())
    lsn = value(watcher, "SELECT pg_current_wal_lsn()")
    standby.exec_(f"START_REPLICATION SLOT h_standby PHYSICAL {lsn}".encode())
    oldest = int(value(watcher, "SELECT pg_current_xact_id()::text"))
    standby.put_copy_data(b"h" + struct.pack("!qIIII", 0, oldest, 0, 0, 0))
    standby.flush()
    wait_until("the slot holds a transaction", lambda: value(watcher, SLOT.format("active")) == 1)
    standby.finish()
    wait_until("the standby has gone", lambda: value(watcher, SLOT.format("NOT active")) == 1)
    yield
    watcher.execute("SELECT pg_drop_replication_slot('h_standby')")


@pytest.mark.usefixtures("abandoned_slot")
def test_a_slot_without_a_reader_degrades(watcher: Connection) -> None:
    """A slot that keeps vacuum from removing rows is named, although no transaction is open."""
    check = long_transactions(watcher)
    assert check.status is Status.DEGRADED
    assert "Replication slots without a reader hold back vacuum: h_standby." in check.message


def test_a_slot_that_holds_back_nothing_is_healthy(watcher: Connection) -> None:
    """A slot in which no transaction is noted keeps files of the WAL, but no rows."""
    watcher.execute("SELECT pg_create_physical_replication_slot('h_empty', true)")
    try:
        assert long_transactions(watcher).status is Status.HEALTHY
    finally:
        watcher.execute("SELECT pg_drop_replication_slot('h_empty')")


def test_a_prepared_transaction_counts(dsn: str, watcher: Connection) -> None:
    """A prepared transaction degrades health, because it holds back vacuum until it is committed or rolled back."""
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'h_forgotten'")
    try:
        assert long_transactions(watcher).status is Status.HEALTHY
        assert long_transactions(watcher, limit=1e-9).status is Status.DEGRADED
    finally:
        watcher.execute("ROLLBACK PREPARED 'h_forgotten'")
    assert long_transactions(watcher, limit=1e-9).status is Status.HEALTHY
