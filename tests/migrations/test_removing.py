"""Downgrades and uninstallation: events are never dropped by accident."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings, migrate
from pgaudit._schema.state import SCRIPTS, Scripts
from pgaudit.errors import MigrationRefused
from tests.support.catalog import catalog
from tests.support.events import event
from tests.support.waiting import wait_until

SCHEMAS = "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgaudit'"
PERSIST = "SELECT pgaudit.persist(NULL, NULL, 100)"


def queue_event(dsn: str, *, persisted: bool) -> None:
    """Records an event on a connection of its own, and persists it if asked to."""
    with psycopg.connect(dsn) as conn:
        AuditLog(Settings(dsn=dsn)).record(conn, event())
        conn.commit()
        if persisted:
            conn.execute(PERSIST)


def test_down_to_nothing_and_up_again(owner: str, empty: psycopg.Connection[Any]) -> None:
    """A downgrade to base leaves nothing, and a new migration gives the same schema."""
    migrate.upgrade(owner)
    first = catalog(empty)
    migrate.downgrade(owner)
    assert empty.execute(SCHEMAS).fetchone() == (0,)
    migrate.upgrade(owner)
    assert catalog(empty) == first


def test_a_revision_down_and_the_older_version_again(
    dsn: str, conn: psycopg.Connection[Any], next_version: Scripts
) -> None:
    """After a downgrade the older version applies its functions, and nothing of the newer one is left."""
    before = catalog(conn)
    conn.rollback()
    migrate.upgrade(dsn, scripts=next_version)
    migrate.downgrade(dsn, "0001", next_version)
    assert migrate.upgrade(dsn).after == SCRIPTS.state
    assert catalog(conn) == before


@pytest.mark.parametrize("persisted", [False, True])
def test_a_trail_with_events_is_not_downgraded(dsn: str, conn: psycopg.Connection[Any], *, persisted: bool) -> None:
    """Events in the queue or the log refuse a downgrade, and everything stays as it was."""
    queue_event(dsn, persisted=persisted)
    before = catalog(conn)
    conn.rollback()
    with pytest.raises(MigrationRefused, match="the audit trail is not empty"):
        migrate.downgrade(dsn)
    assert catalog(conn) == before


def test_an_unknown_revision_is_refused(dsn: str) -> None:
    """The error lists the known revisions."""
    with pytest.raises(MigrationRefused, match="there is no revision 0815: choose base or one of 0001"):
        migrate.downgrade(dsn, "0815")


def test_a_foreign_table_in_the_schema_refuses_a_downgrade(dsn: str, conn: psycopg.Connection[Any]) -> None:
    """A downgrade removes only what the migrations have made."""
    conn.execute("CREATE TABLE pgaudit.notes (note text)")
    conn.commit()
    with pytest.raises(MigrationRefused, match=r"holds something else: table pgaudit\.notes"):
        migrate.downgrade(dsn)
    conn.execute("DROP TABLE pgaudit.notes")
    conn.commit()
    migrate.downgrade(dsn)


def test_a_view_of_the_application_refuses_a_downgrade(dsn: str, conn: psycopg.Connection[Any]) -> None:
    """Nothing outside of the schema is dropped with it."""
    conn.execute("CREATE VIEW report AS SELECT count(*) FROM pgaudit.audit_log")
    conn.commit()
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        migrate.downgrade(dsn)


def test_uninstalling_has_to_be_confirmed(dsn: str, conn: psycopg.Connection[Any]) -> None:
    """uninstall needs the name of the database, and says before how many events it would delete."""
    queue_event(dsn, persisted=True)
    queue_event(dsn, persisted=False)
    name = conn.info.dbname
    for wrong in (None, "other"):
        expected = rf"would delete 1 event\(s\) in the log and 1 in the queue: to confirm it, add --confirm {name}"
        with pytest.raises(MigrationRefused, match=expected):
            migrate.uninstall(dsn, wrong)
    assert "1 event(s) in the log and 1 in the queue" in migrate.uninstall(dsn, name)
    assert conn.execute(SCHEMAS).fetchone() == (0,)


def test_a_broken_schema_can_be_uninstalled(dsn: str, conn: psycopg.Connection[Any]) -> None:
    """A schema that lacks tables can be dropped."""
    conn.execute("DROP TABLE pgaudit.audit_log CASCADE")
    conn.commit()
    migrate.uninstall(dsn, conn.info.dbname)
    assert conn.execute(SCHEMAS).fetchone() == (0,)


@pytest.mark.parametrize("remove", [migrate.downgrade, migrate.uninstall])
def test_a_missing_schema_cannot_be_removed(empty_dsn: str, remove: Any) -> None:
    """The error says that there is no schema, and none is created."""
    with pytest.raises(MigrationRefused, match="there is no schema pgaudit in this database"):
        remove(empty_dsn)


def test_a_downgrade_waits_for_an_open_transaction_that_records(empty_dsn: str) -> None:
    """An event that commits during a downgrade refuses it."""
    migrate.upgrade(empty_dsn)
    with psycopg.connect(empty_dsn) as writer, psycopg.connect(empty_dsn, autocommit=True) as watcher:
        AuditLog(Settings(dsn=empty_dsn)).record(writer, AuditEvent(action="claim.approved"))
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        with ThreadPoolExecutor(1) as pool:
            down = pool.submit(migrate.downgrade, empty_dsn)
            wait_until("the downgrade waits for a lock", lambda: watcher.execute(waiting).fetchone() != (0,))
            writer.commit()
            with pytest.raises(Exception, match="not empty"):
                down.result()
        assert watcher.execute("SELECT count(*) FROM pgaudit.audit_jobs").fetchone() == (1,)
