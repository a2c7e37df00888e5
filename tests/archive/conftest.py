"""A primary, and a server for the archive: shared by all tests, with new databases in each."""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from pgaudit import archive, migrate
from pgaudit.archive import Report
from pgaudit.testing.server import TemporaryServer
from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.partitions import fill_and_commit
from tests.support.queries import Connection, value
from tests.support.waiting import wait_until

LOGICAL = {"wal_level": "logical", "max_slot_wal_keep_size": "512MB"}
INDEXES = "SELECT array_agg(index ORDER BY index) FROM pgaudit.audit_log"


@dataclass
class Pair:
    """The primary and its archive, each with a session of a superuser."""

    primary_server: TemporaryServer
    archive_server: TemporaryServer
    here: Connection
    there: Connection
    source: str
    place: str

    def setup(self) -> archive.Archive:
        """Sets the archive up."""
        return archive.setup(self.here, self.there, self.place, self.source, wait=60)

    def check(self) -> Report:
        """Checks the archive."""
        return archive.check(self.here, self.there)

    def found(self) -> set[str]:
        """Returns the names of what the check finds."""
        return {finding.name for finding in self.check().findings}

    def append(self, count: int) -> None:
        """Appends events to the log of the primary."""
        fill_and_commit(self.here, count)

    def archived(self) -> list[int]:
        """Returns the indexes of the events that the archive has."""
        indexes: list[int] = value(self.there, INDEXES) or []
        return indexes

    def catch_up(self) -> None:
        """Waits until the archive has what the primary has."""
        size = value(self.here, "SELECT size FROM pgaudit.log_head")
        wait_until("the archive has all", lambda: value(self.there, "SELECT size FROM pgaudit.log_head") == size)

    def reconnect(self) -> None:
        """Opens new sessions, after a server was restarted."""
        self.here.close()
        self.there.close()
        self.here = psycopg.connect(self.source, autocommit=True)
        self.there = psycopg.connect(self.place, autocommit=True)


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[TemporaryServer, TemporaryServer]]:
    """Two servers."""
    primary = TemporaryServer(None, **LOGICAL)
    try:
        second = TemporaryServer(None, wal_retrieve_retry_interval="100ms")
        try:
            yield primary, second
        finally:
            second.stop()
    finally:
        primary.stop()


@pytest.fixture
def pair(servers: tuple[TemporaryServer, TemporaryServer]) -> Iterator[Pair]:
    """A database with small partitions and 300 events on the primary, and an empty one for the archive."""
    first, second = servers
    for server in servers:
        with psycopg.connect(server.conninfo, autocommit=True) as conn:
            conn.execute("CREATE DATABASE claims")
    source, place = first.conninfo_of("claims"), second.conninfo_of("claims")
    migrate.upgrade(source)
    here, there = (psycopg.connect(conninfo, autocommit=True) for conninfo in (source, place))
    make_small_partitions_and_commit(here)
    pair = Pair(first, second, here, there, source, place)
    pair.append(300)
    try:
        yield pair
    finally:
        pair.here.close()
        pair.there.close()
        for server in servers:
            if not (server.home / "data" / "postmaster.pid").exists():
                server.start()
        with psycopg.connect(place, autocommit=True) as conn:
            for (name,) in conn.execute("SELECT subname FROM pg_subscription").fetchall():
                conn.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
                conn.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
                conn.execute(f"DROP SUBSCRIPTION {name}")
        with psycopg.connect(first.conninfo, autocommit=True) as conn:
            wait_until(
                "no slot is in use", lambda: value(conn, "SELECT count(*) FROM pg_replication_slots WHERE active") == 0
            )
            conn.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        for server in servers:
            with psycopg.connect(server.conninfo, autocommit=True) as conn:
                conn.execute("DROP DATABASE claims WITH (FORCE)")
