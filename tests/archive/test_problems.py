"""What is wrong with an archive is named, by the check and by health, before the primary's disk is full."""

import psycopg
import pytest

from pgaudit import Settings, archive, grants, health
from pgaudit.errors import ArchiveRefused
from tests.archive.conftest import INDEXES, Pair
from tests.support.queries import Connection, value
from tests.support.tampering import tamper
from tests.support.waiting import wait_until

WAL = (
    "SELECT pg_logical_emit_message(false, 'filler', repeat(md5(random()::text), 300000))"  # 10 MB, hardly compressible
)


def archives_of(conn: Connection) -> health.Check:
    """Returns health's check of the archives."""
    (found,) = [check for check in health.check(conn, Settings()).checks if check.name == "archives"]
    return found


@pytest.fixture
def dead(pair: Pair) -> Pair:
    """An archive that was set up, and whose server is not running."""
    pair.setup()
    pair.there.close()
    pair.archive_server.halt()
    wait_until("the slot is free", lambda: value(pair.here, "SELECT NOT bool_or(active) FROM pg_replication_slots"))
    return pair


def test_healthy(pair: Pair) -> None:
    """Health counts the archives that follow."""
    assert archives_of(pair.here).message == "No archive follows the log."
    pair.setup()
    check = archives_of(pair.here)
    assert (check.status, check.message) == (health.Status.HEALTHY, "1 archive(s) follow the log.")


def test_dead_archive(dead: Pair) -> None:
    """Health and check name it, and what is kept for it; it catches up when it is back."""
    for _ in range(3):
        dead.here.execute(WAL)
    dead.append(10)
    found = archives_of(dead.here)
    assert found.status is health.Status.DEGRADED
    assert "nothing reads from pgaudit_archive: " in found.message
    report = archive.check(dead.here, "connection refused")
    assert [finding.name for finding in report.findings] == ["slot_inactive", "unreachable"]
    assert "of WAL are kept for it, and the slot is lost after" in report.findings[0].message
    assert report.slot is not None
    assert report.slot.kept is not None
    assert report.slot.kept > 20_000_000
    dead.archive_server.start()
    dead.reconnect()
    dead.catch_up()
    wait_until("the check has no findings", lambda: not dead.found())
    assert dead.archived() == list(range(310))


def test_limit_is_missing(pair: Pair) -> None:
    """Without a limit, a dead archive would fill the primary's disk."""
    assert pair.setup().keeps == 512 * 1024 * 1024
    pair.here.execute("ALTER SYSTEM SET max_slot_wal_keep_size = -1")
    pair.here.execute("SELECT pg_reload_conf()")
    try:
        wait_until("the setting is there", lambda: value(pair.here, "SHOW max_slot_wal_keep_size") == "-1")
        assert pair.found() == {"slot_unlimited"}
        assert pair.setup().keeps is None
    finally:
        pair.here.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        pair.here.execute("SELECT pg_reload_conf()")


def test_limit_is_reached(dead: Pair) -> None:
    """The primary gives up the archive, and not its disk; both say so."""
    dead.here.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    dead.here.execute("SELECT pg_reload_conf()")
    try:
        for _ in range(5):
            dead.here.execute(WAL)
        dead.here.execute("SELECT pg_switch_wal()")
        dead.here.execute("CHECKPOINT")
        assert "slot_lost" in {finding.name for finding in archive.check(dead.here, "gone").findings}
        assert "has lost WAL that it needed" in archives_of(dead.here).message
    finally:
        dead.here.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        dead.here.execute("SELECT pg_reload_conf()")


def test_slot_was_dropped(dead: Pair) -> None:
    """Without its slot an archive gets nothing any more."""
    dead.here.execute("SELECT pg_drop_replication_slot('pgaudit_archive')")
    assert [finding.name for finding in archive.check(dead.here, "gone").findings] == ["no_slot", "unreachable"]


@pytest.mark.parametrize(
    ("there", "statement", "finding"),
    [
        (True, "ALTER SUBSCRIPTION pgaudit_archive DISABLE", "subscription_disabled"),
        (True, "ALTER TABLE pgaudit.audit_log DISABLE TRIGGER append_only", "unguarded"),
        (False, "ALTER PUBLICATION pgaudit_archive SET (publish = 'insert, delete')", "publication_changed"),
        (False, "ALTER PUBLICATION pgaudit_archive SET (publish_via_partition_root = false)", "publication_changed"),
        (False, "ALTER PUBLICATION pgaudit_archive DROP TABLE pgaudit.tile", "publication_changed"),
        (False, "DROP PUBLICATION pgaudit_archive", "no_publication"),
    ],
)
def test_changes_by_hand(pair: Pair, *, there: bool, statement: str, finding: str) -> None:
    """What someone has changed on either side is named."""
    pair.setup()
    (pair.there if there else pair.here).execute(statement.encode())
    assert finding in pair.found()


def test_setup_corrects_the_publication(pair: Pair) -> None:
    """Setup is safe to repeat, and makes the publication as it should be."""
    pair.setup()
    pair.here.execute("ALTER PUBLICATION pgaudit_archive SET (publish = 'insert, delete')")
    pair.here.execute("ALTER PUBLICATION pgaudit_archive DROP TABLE pgaudit.event_key")
    pair.there.execute("ALTER SUBSCRIPTION pgaudit_archive REFRESH PUBLICATION")
    tamper(pair.there, "TRUNCATE pgaudit.event_key")
    pair.append(5)
    assert pair.setup().was_there
    assert value(pair.there, "SELECT count(*) FROM pgaudit.event_key") == 305
    assert pair.found() == set()


def test_setup_that_was_interrupted(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setup that ended before the first copy had, is completed by the next one: the guards are on again."""
    monkeypatch.setattr("pgaudit.archive.setting_up.wait_for_copy", lambda *_: ["pgaudit.audit_log"])
    assert pair.setup().copying == ["pgaudit.audit_log"]
    assert "unguarded" in pair.found()
    monkeypatch.undo()
    assert pair.setup().copying == []
    assert pair.found() == set()


def test_archive_that_does_not_reach_the_primary(pair: Pair) -> None:
    """Nothing is left of it, and its guards are on."""
    pair.source = "host=/nowhere dbname=claims"
    with pytest.raises(psycopg.Error):
        pair.setup()
    assert value(pair.there, "SELECT count(*) FROM pg_subscription") == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        pair.there.execute("INSERT INTO pgaudit.event_key SELECT gen_random_uuid(), 1")


def test_role_that_may_not_read_what_is_published(pair: Pair) -> None:
    """Setup says what to grant instead of waiting for a copy that never ends, and has created nothing."""
    pair.here.execute("CREATE ROLE audit_archive LOGIN REPLICATION")
    pair.source += " user=audit_archive"
    try:
        with pytest.raises(ArchiveRefused, match=r"may not read .*event_conflict.*`pgaudit grant --reader audit_arch"):
            pair.setup()
        assert value(pair.here, "SELECT count(*) FROM pg_publication") == 0
        grants.grant(pair.here, reader="audit_archive")
        assert pair.setup().copying == []
        pair.there.execute("DROP SUBSCRIPTION pgaudit_archive")
    finally:
        pair.here.execute("DROP OWNED BY audit_archive")
        pair.here.execute("DROP ROLE audit_archive")


def test_events_are_deleted_on_the_archive(pair: Pair) -> None:
    """What its superuser deletes there is named: from the middle, and from the end."""
    pair.setup()
    tamper(pair.there, "DELETE FROM pgaudit.audit_log WHERE index IN (5, 6)")
    assert pair.check().differences.missing == [5, 6]
    tamper(pair.there, "DELETE FROM pgaudit.audit_log WHERE index > 290")
    report = pair.check()
    assert [finding.name for finding in report.findings] == ["missing", "missing"]
    assert "up to 291" in report.findings[1].message


def test_primary_of_an_older_backup(pair: Pair) -> None:
    """An archive that has more than its primary is named."""
    pair.setup()
    tamper(
        pair.here,
        "DELETE FROM pgaudit.audit_log WHERE index >= 290",
        "UPDATE pgaudit.batch SET count = count - 10 WHERE first_index = (SELECT max(first_index) FROM pgaudit.batch)",
    )
    assert pair.found() == {"ahead"}


def test_second_archive(pair: Pair) -> None:
    """Each archive has a slot of its own."""
    pair.setup()
    with psycopg.connect(pair.archive_server.conninfo, autocommit=True) as conn:
        conn.execute("CREATE DATABASE second")
    place = pair.archive_server.conninfo_of("second")
    name = "pgaudit_archive_second"
    with psycopg.connect(place, autocommit=True) as second:
        archive.setup(pair.here, second, place, pair.source, name=name, wait=60)
        assert value(second, INDEXES) == list(range(300))
        assert archive.check(pair.here, second, name=name).findings == ()
        second.execute(f"DROP SUBSCRIPTION {name}")
    with psycopg.connect(pair.archive_server.conninfo, autocommit=True) as conn:
        conn.execute("DROP DATABASE second")


def test_database_that_is_no_archive(pair: Pair) -> None:
    """The check says so, before setup and after someone has dropped the subscription."""
    assert {"no_publication", "no_slot", "not_an_archive"} <= pair.found()
    pair.setup()
    pair.there.execute("DROP SUBSCRIPTION pgaudit_archive")
    assert pair.found() == {"no_slot", "no_subscription"}


def test_primary_that_is_given_as_its_archive(pair: Pair) -> None:
    """A DSN that was confused is named; nothing is compared with itself."""
    pair.setup()
    (finding,) = archive.check(pair.here, pair.here).findings
    assert (finding.name, finding.message) == ("not_an_archive", "that database is the primary itself")


def test_archive_of_another_version(pair: Pair) -> None:
    """One finding says so, and not one for each object that differs."""
    pair.setup()
    tamper(pair.there, "UPDATE pgaudit.schema_code SET checksum = 'another'")
    assert pair.found() == {"other_schema"}


def test_refused(pair: Pair, dsn: str) -> None:
    """What cannot work, or would store a password, is refused with the remedy."""
    with pytest.raises(ArchiveRefused, match="would be seen by others"):
        archive.setup(pair.here, pair.there, pair.place, pair.source + " password=hunter2")
    with pytest.raises(ArchiveRefused, match="lower-case letters"):
        archive.setup(pair.here, pair.there, pair.place, pair.source, name="other")
    with pytest.raises(ArchiveRefused, match="create an empty one"):
        archive.setup(pair.here, pair.here, pair.source, pair.source)
    with psycopg.connect(dsn, autocommit=True) as other, pytest.raises(ArchiveRefused, match="wal_level"):
        archive.setup(other, pair.there, pair.place, dsn)
    pair.there.execute("CREATE ROLE plain LOGIN")
    try:
        plain = psycopg.conninfo.make_conninfo(pair.place, user="plain")
        with psycopg.connect(plain, autocommit=True) as conn, pytest.raises(ArchiveRefused, match="superuser"):
            archive.setup(pair.here, conn, plain, pair.source)
    finally:
        pair.there.execute("DROP ROLE plain")
