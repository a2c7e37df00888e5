"""Copies of a database: subscribers of logical replication, and restored dumps."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings, migrate
from pgaudit._schema import fingerprint
from pgaudit.testing import programs
from pgaudit.testing.server import TemporaryServer
from tests.guard.database.conftest import CLAIMS
from tests.guard.database.replay import captured
from tests.support.queries import Connection
from tests.support.servers import migrated_server
from tests.support.waiting import wait_until

ADD = """
    SELECT pgaudit.add_capture('claims', 'claim', '{id}');
    SELECT pgaudit.add_guard('items', 'item', '{id}')
"""
ITEMS = "CREATE TABLE items (id bigint PRIMARY KEY)"
EVENT = AuditEvent(action="item.added", target="item:1", actor="user:1")


@pytest.fixture
def publisher() -> Iterator[TemporaryServer]:
    """A server that publishes both tables."""
    with migrated_server(wal_level="logical") as server:
        yield server


@pytest.fixture
def subscriber() -> Iterator[TemporaryServer]:
    """A server that has the same tables, captured and guarded."""
    with migrated_server(wal_level="logical") as server:
        yield server


def opened(server: TemporaryServer) -> Connection:
    """Returns a session that has created the tables."""
    conn = psycopg.connect(server.conninfo, autocommit=True)
    conn.execute(CLAIMS)
    conn.execute(ITEMS)
    conn.execute(ADD)
    return conn


def count(conn: Connection, table: str) -> int:
    """Returns how many rows a table has."""
    (found,) = conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() or (0,)
    return int(found)


def test_a_subscriber_captures_nothing_twice(publisher: TemporaryServer, subscriber: TemporaryServer) -> None:
    """What it receives was captured and guarded at the publisher; what is changed here, is captured here."""
    with opened(publisher) as there, opened(subscriber) as here:
        there.execute("INSERT INTO claims (id) VALUES (1); CREATE PUBLICATION all_claims FOR TABLE claims, items")
        here.execute(f"CREATE SUBSCRIPTION claims CONNECTION '{publisher.conninfo}' PUBLICATION all_claims".encode())
        try:
            wait_until("the first copy is there", lambda: count(here, "claims") == 1)
            there.execute("INSERT INTO claims (id) VALUES (2); UPDATE claims SET status = 'paid'")
            with there.transaction():
                there.execute("INSERT INTO items VALUES (1)")
                AuditLog(Settings()).record(there, EVENT)
            there.execute("TRUNCATE claims; INSERT INTO claims (id) VALUES (3)")
            wait_until("all is there", lambda: (count(here, "items"), count(here, "claims")) == (1, 1))
            assert captured(here) == []
            assert len(captured(there)) == 6
            here.execute("INSERT INTO claims (id) VALUES (4)")
            assert [event["targets"][0]["id"] for event in captured(here)] == ["4"]
            with pytest.raises(psycopg.Error, match="item:5 inserted without an audit event"):
                here.execute("INSERT INTO items VALUES (5)")
        finally:
            here.execute("DROP SUBSCRIPTION claims")


def test_a_restored_dump_captures_and_guards(dsn: str, empty_dsn: str, tmp_path: Path) -> None:
    """Its rows were captured before; the next change is captured, too, and no function looks changed by hand."""
    dump = tmp_path / "dump"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE claims (gone int, id bigint PRIMARY KEY, note text, secret text)")
        conn.execute("ALTER TABLE claims DROP gone")
        conn.execute(ITEMS)
        conn.execute(ADD.replace("'{id}');", "'{id}', masked => '{secret}');", 1).encode())
        conn.execute("INSERT INTO claims VALUES (1, 'x', 'hidden')")
        before = captured(conn, "%")
        for program, *arguments in (
            ("pg_dump", "-Fc", "-d", dsn, "-f", str(dump)),
            ("pg_restore", "-d", empty_dsn, "--exit-on-error", str(dump)),
        ):
            subprocess.run([str(programs.directory() / program), *arguments], check=True, capture_output=True)
    with psycopg.connect(empty_dsn, autocommit=True) as restored:
        assert captured(restored, "%") == before
        assert migrate.upgrade(empty_dsn) is not None
        assert fingerprint.differences(restored) == []
        restored.execute("ALTER TABLE claims RENAME secret TO hidden")
        restored.execute("UPDATE claims SET note = 'y', hidden = 'other'")
        changes = {change["path"]: change["after"] for change in captured(restored)[-1]["changes"]}
        assert changes == {"note": "y", "hidden": "***"}
        with pytest.raises(psycopg.Error, match="item:1 inserted without an audit event"):
            restored.execute("INSERT INTO items VALUES (1)")


def test_a_prepared_transaction_is_checked_when_it_is_prepared() -> None:
    """It holds what it has captured and recorded until it is committed, across a crash of the server."""
    with migrated_server(max_prepared_transactions=2) as server:
        with opened(server) as conn:
            conn.execute("BEGIN; INSERT INTO items VALUES (1)")
            with pytest.raises(psycopg.Error, match="item:1 inserted without an audit event"):
                conn.execute("PREPARE TRANSACTION 'forgotten'")
            conn.execute("BEGIN; INSERT INTO items VALUES (1); INSERT INTO claims (id) VALUES (1)")
            AuditLog(Settings()).record(conn, EVENT)
            conn.execute("PREPARE TRANSACTION 'recorded'")
            assert captured(conn) == []
        server.halt("immediate")
        server.start()
        with psycopg.connect(server.conninfo, autocommit=True) as conn:
            conn.execute("COMMIT PREPARED 'recorded'")
            assert [event["action"] for event in captured(conn)] == ["claim.created"]
            assert [event["action"] for event in captured(conn, "item.%")] == ["item.added"]
            assert (count(conn, "items"), count(conn, "pgaudit.guarded_change")) == (1, 0)
