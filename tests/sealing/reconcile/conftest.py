"""A server whose WAL is read, and a database of it for each test, with receipts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.sealing.reconcile import Reconciled, reconcile
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import TemporaryServer
from tests.support.queries import Connection, value_in
from tests.support.servers import migrated_server

INSERTED = "SELECT pg_current_wal_insert_lsn()::text"


@dataclass(frozen=True)
class Audited:
    """A database that is recorded to with receipts, and the WAL since the beginning of the test."""

    dsn: str
    directory: Path
    start: str

    @property
    def settings(self) -> Settings:
        """Settings with receipts."""
        return Settings(dsn=self.dsn, wal_receipts=True)

    def record(self, conn: Any, *recorded: AuditEvent) -> None:
        """Records events in the connection's transaction, with receipts."""
        AuditLog(self.settings).record(conn, *recorded)

    def reconcile(self, directory: Path | None = None, **options: Any) -> Reconciled:
        """Compares the WAL since the beginning of the test with the database."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            return reconcile(conn, directory or self.directory, **({"start": self.start} | options))


@contextmanager
def triggers_off(conn: Connection, *tables: str) -> Iterator[None]:
    """Disables the triggers of tables for the block, as a superuser can, and then enables them as they were."""
    names = [
        (table, trigger)
        for table in tables
        for (trigger,) in conn.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgenabled = 'A'",
            [table],
        )
    ]
    for table in tables:
        conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    yield
    for table, trigger in names:
        conn.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")


@pytest.fixture(scope="module")
def wal_server() -> Iterator[TemporaryServer]:
    """A server of the tests' own, which knows two-phase commit. Its WAL has what logical decoding needs besides."""
    with migrated_server(max_prepared_transactions=2, wal_level="logical") as server:
        yield server


@pytest.fixture
def audited(wal_server: TemporaryServer) -> Iterator[Audited]:
    """A database on it."""
    with fresh_database(wal_server, template="postgres") as database:
        yield Audited(database.dsn, wal_server.home / "data" / "pg_wal", value_in(database.dsn, INSERTED))
