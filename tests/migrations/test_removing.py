"""Downgrades and uninstallation: an audit trail is not dropped in passing."""

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


def record(dsn: str, *, persisted: bool) -> None:
    """Records an event, and persists it if asked to."""
    with psycopg.connect(dsn) as conn:
        AuditLog(Settings(dsn=dsn)).record(conn, event())
        conn.commit()
        if persisted:
            conn.execute(PERSIST)


def test_down_to_nothing_and_up_again(owner: str, empty: psycopg.Connection[Any]) -> None:
    """Down leaves nothing at all; up again is the same as the first time."""
    migrate.upgrade(owner)
    first = catalog(empty)
    migrate.downgrade(owner)
    assert empty.execute(SCHEMAS).fetchone() == (0,)
    migrate.upgrade(owner)
    assert catalog(empty) == first


def test_a_revision_down_and_the_older_version_again(
    dsn: str, conn: psycopg.Connection[Any], next_version: Scripts
) -> None:
    """The older version applies its functions; nothing of the newer one is left."""
    before = catalog(conn)
    conn.rollback()
    migrate.upgrade(dsn, scripts=next_version)
    migrate.downgrade(dsn, "0001", next_version)
    assert migrate.upgrade(dsn).after == SCRIPTS.state
    assert catalog(conn) == before


@pytest.mark.parametrize("persisted", [False, True])
def test_a_trail_with_events_is_not_taken_down(dsn: str, conn: psycopg.Connection[Any], *, persisted: bool) -> None:
    """Whether they are in the queue or in the log; everything stays as it was."""
    record(dsn, persisted=persisted)
    before = catalog(conn)
    conn.rollback()
    with pytest.raises(MigrationRefused, match="the audit trail is not empty"):
        migrate.downgrade(dsn)
    assert catalog(conn) == before


def test_an_unknown_revision_is_refused(dsn: str) -> None:
    """With those that there are."""
    with pytest.raises(MigrationRefused, match="there is no revision 0815: choose base or one of 0001"):
        migrate.downgrade(dsn, "0815")


def test_what_others_have_put_into_it_is_not_dropped(dsn: str, conn: psycopg.Connection[Any]) -> None:
    """Downgrading takes away what the migrations made, and no more."""
    conn.execute("CREATE TABLE pgaudit.notes (note text)")
    conn.commit()
    with pytest.raises(MigrationRefused, match=r"holds something else: table pgaudit\.notes"):
        migrate.downgrade(dsn)
    conn.execute("DROP TABLE pgaudit.notes")
    conn.commit()
    migrate.downgrade(dsn)


def test_a_view_of_the_application_stops_it(dsn: str, conn: psycopg.Connection[Any]) -> None:
    """Nothing outside the schema is dropped along with it."""
    conn.execute("CREATE VIEW report AS SELECT count(*) FROM pgaudit.audit_log")
    conn.commit()
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        migrate.downgrade(dsn)


def test_uninstalling_has_to_be_confirmed(dsn: str, conn: psycopg.Connection[Any]) -> None:
    """By the name of the database. Before that it says what would be lost."""
    record(dsn, persisted=True)
    record(dsn, persisted=False)
    name = conn.info.dbname
    for wrong in (None, "other"):
        expected = rf"would delete 1 event\(s\) in the log and 1 in the queue: to confirm it, add --confirm {name}"
        with pytest.raises(MigrationRefused, match=expected):
            migrate.uninstall(dsn, wrong)
    assert "1 event(s) in the log and 1 in the queue" in migrate.uninstall(dsn, name)
    assert conn.execute(SCHEMAS).fetchone() == (0,)


def test_uninstalling_what_is_broken(dsn: str, conn: psycopg.Connection[Any]) -> None:
    """A schema that lacks its tables can be dropped, too."""
    conn.execute("DROP TABLE pgaudit.audit_log CASCADE")
    conn.commit()
    migrate.uninstall(dsn, conn.info.dbname)
    assert conn.execute(SCHEMAS).fetchone() == (0,)


@pytest.mark.parametrize("remove", [migrate.downgrade, migrate.uninstall])
def test_where_there_is_nothing_to_remove(empty_dsn: str, remove: Any) -> None:
    """A sentence, and no schema."""
    with pytest.raises(MigrationRefused, match="there is no schema pgaudit in this database"):
        remove(empty_dsn)


def test_a_downgrade_waits_for_who_records(empty_dsn: str) -> None:
    """An event that commits while the schema is taken down stops that, instead of going down with it."""
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
