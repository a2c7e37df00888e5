"""The statements of the page on vacuum and storage, as the roles that it names run them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.errors import QueryCanceled

from pgaudit import AuditEvent, AuditLog, Settings, trail
from tests.docs.printed import ROOT, recipe, statements
from tests.docs.recipes.site import Site
from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.events import event, events
from tests.support.jobs import record_persist_and_commit
from tests.support.partitions import ranges
from tests.support.queries import Connection, value
from tests.support.waiting import wait_until

PAGE = "operate/storage.md"
LOCKS = """SELECT count(*) FROM pg_locks
            WHERE pid = pg_backend_pid() AND relation::regclass::text LIKE 'pgaudit.audit_log%'"""


@pytest.fixture
def owner(site: Site) -> Iterator[Connection]:
    """A session of the owner."""
    with site.connect("claims_audit") as conn:
        yield conn


@pytest.fixture
def full(site: Site, owner: Connection) -> Connection:
    """A session of the owner, after events have filled the first partition of the log."""
    make_small_partitions_and_commit(owner)
    with site.connect() as superuser:
        record_persist_and_commit(superuser, *events(300))
    return owner


@contextmanager
def writing(site: Site) -> Iterator[Connection]:
    """Keeps a transaction of the application open that has recorded an event."""
    with psycopg.connect(site.dsn("claims_app")) as conn:
        AuditLog(Settings()).record(conn, event())
        yield conn
        conn.rollback()


def test_a_dba_sees_tables_and_partitions(site: Site) -> None:
    """A reader can run both statements."""
    with site.connect("claims_dba") as reader:
        tables, partitions = (
            reader.execute(each.encode()).fetchall() for each in statements(recipe(PAGE, "pgaudit.storage_stats"))
        )
    assert {"audit_jobs", "audit_log_0"} <= {row[0] for row in tables}
    assert [row[1] for row in partitions] == [0, 10_485_760]


def test_what_holds_vacuum_back_is_found(site: Site) -> None:
    """The statements of the page find an open and a prepared transaction."""
    with site.connect() as superuser, writing(site) as open_one, psycopg.connect(site.dsn("claims_app")) as prepared:
        prepared.tpc_begin(prepared.xid(1, "forgotten", "branch"))
        prepared.execute("SELECT pg_current_xact_id()")
        prepared.tpc_prepare()
        block = statements(recipe(PAGE, "pg_prepared_xacts"))
        open_ones, _slots, prepared_ones = (superuser.execute(each.encode()).fetchall() for each in block)
        assert open_one.info.backend_pid in {row[0] for row in open_ones}
        assert [row[2] for row in prepared_ones] == ["claims_app"]
        prepared.tpc_rollback()


def test_the_size_of_later_partitions_is_changed(owner: Connection) -> None:
    """The new size applies to the next partition that is created."""
    (change,) = statements(recipe(PAGE, "SET partition_size"))
    owner.execute(change.encode())
    owner.execute("SELECT pgaudit.create_partition((SELECT max(end_index) FROM pgaudit.log_partitions()))")
    sizes = owner.execute(
        "SELECT end_index - first_index FROM pgaudit.log_partitions() ORDER BY first_index"
    ).fetchall()
    assert sizes == [(10_485_760,), (10_485_760,), (4_194_304,)]


def test_events_are_found_by_tenant_target_and_time(site: Site) -> None:
    """A reader finds an event with each statement; the test replaces the page's months by an unlimited period."""
    by_both = AuditEvent(action="claim.merged", tenant="acme", targets=("claim:9", "claim:7"))
    by_target_only = AuditEvent(action="claim.approved", target="claim:7")
    with site.connect() as superuser:
        record_persist_and_commit(superuser, by_both, by_target_only, *events(2))
    block = recipe(PAGE, "index_ranges(").replace("2026-11-01", "-infinity").replace("2026-12-01", "infinity")
    with site.connect("claims_dba") as reader:
        by_tenant, by_target, by_time = (reader.execute(each.encode()).fetchall() for each in statements(block))
    assert [row[0] for row in by_tenant] == [0]
    assert [row[0] for row in by_target] == [0, 1]
    assert [row[0] for row in by_time] == [0, 1, 2, 3]


def test_a_full_partition_is_frozen(full: Connection) -> None:
    """After the statement, all pages of the partition are marked as frozen."""
    (freeze,) = statements(recipe(PAGE, "VACUUM (FREEZE)"))
    full.execute(freeze.encode())
    frozen = "SELECT age(relfrozenxid) < 50 FROM pg_class WHERE oid = 'pgaudit.audit_log_0'::regclass"
    assert value(full, frozen) is True


def test_a_search_by_target_takes_as_many_locks_as_the_page_says(site: Site, full: Connection) -> None:
    """It locks each partition and its indexes, as the page counts them; since PostgreSQL 16 those of the log, too."""
    (factor,) = re.findall(r"= (\d+) \S \(number of partitions \+ 1\)", (ROOT / "docs" / PAGE).read_text())
    with site.connect() as superuser:
        record_persist_and_commit(superuser, *events(1_000))
    with psycopg.connect(site.dsn("claims_dba")) as reader:
        assert trail.of_target(reader, "claim", "of nobody") == []
        partitions = len(ranges(full))
        assert int(factor) * partitions < int(value(reader, LOCKS)) <= int(factor) * (partitions + 1)


def test_the_oldest_partition_is_detached_and_archived(full: Connection) -> None:
    """The statements move the oldest partition out of the log, into another schema."""
    full.execute("CREATE SCHEMA archive")
    for block in (recipe(PAGE, "DETACH PARTITION"), recipe(PAGE, "SET SCHEMA archive")):
        (statement,) = statements(block)
        full.execute(statement.encode())
    assert value(full, "SELECT count(*) FROM archive.audit_log_0") == 256
    assert value(full, "SELECT min(index) FROM pgaudit.audit_log") == 256


def test_an_interrupted_detachment_is_completed(site: Site, full: Connection) -> None:
    """While a reader of the log keeps its transaction open, the statement waits; FINALIZE ends it later."""
    (detach,) = statements(recipe(PAGE, "DETACH PARTITION"))
    (ending,) = re.findall(r"`… (DETACH PARTITION .+? FINALIZE)`", (ROOT / "docs" / PAGE).read_text())
    with psycopg.connect(site.dsn("claims_dba")) as reader:
        reader.execute("SELECT count(*) FROM pgaudit.audit_log")
        full.execute("SET statement_timeout = '500ms'")
        with pytest.raises(QueryCanceled):
            full.execute(detach.encode())
    full.execute(f"ALTER TABLE pgaudit.audit_log {ending}".encode())
    assert value(full, "SELECT min(index) FROM pgaudit.audit_log") == 256


def test_a_detached_partition_is_dropped(full: Connection) -> None:
    """After the partition is dropped, its events are gone, but event counts still include them."""
    (detach,) = statements(recipe(PAGE, "DETACH PARTITION"))
    (drop,) = re.findall(r"(DROP TABLE \S+)", recipe(PAGE, "SET SCHEMA archive"))
    full.execute(detach.encode())
    full.execute(drop.encode())
    assert value(full, "SELECT size FROM pgaudit.log_head") == 300


def test_a_copy_of_the_schema_is_a_subscriber(site: Site) -> None:
    """pg_dump copies the schema, the block of the page disables its guards, and the log is replicated."""
    with site.connect() as superuser:
        record_persist_and_commit(superuser, *events(3))
        superuser.execute("CREATE DATABASE claims_copy")
        superuser.execute("CREATE PUBLICATION copy FOR TABLE pgaudit.audit_log WITH (publish_via_partition_root)")
        superuser.execute("SELECT pg_create_logical_replication_slot('copy', 'pgoutput')")
    site.run("pg_dump --schema=pgaudit --schema-only claims | psql -q -v ON_ERROR_STOP=1 claims_copy")
    with site.connect("claims_audit", "claims_copy") as owner:
        owner.execute(recipe(PAGE, "DISABLE TRIGGER").encode())
    with site.connect(database="claims_copy") as copy:
        # The slot exists already: a server cannot make one while it waits for itself.
        copy.execute(f"CREATE SUBSCRIPTION copy CONNECTION '{site.dsn()}' PUBLICATION copy WITH (create_slot = false)")
        wait_until("the copy has 3 events", lambda: value(copy, "SELECT count(*) FROM pgaudit.audit_log") == 3)
        copy.execute("DROP SUBSCRIPTION copy")
