"""The page on the archive: set up and checked by the owner, who is no superuser; and given up."""

from collections.abc import Iterator

import pytest

from pgaudit.testing.server import TemporaryServer
from tests.docs.printed import recipe, statements
from tests.docs.recipes.site import Site, printed_output
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import value, value_in
from tests.support.waiting import wait_until

PAGE = "streams/archive.md"
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'pgaudit_archive'"


@pytest.fixture
def archive() -> Iterator[TemporaryServer]:
    """The archive's server."""
    server = TemporaryServer()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def primary(site: Site, monkeypatch: pytest.MonkeyPatch, archive: TemporaryServer) -> Iterator[Site]:
    """A log of four events on a server with the page's settings; the role of the archive."""
    monkeypatch.setenv("ARCHIVE_DSN", archive.conninfo)
    with site.connect() as superuser:
        record_persist_and_commit(superuser, *events(4))
        for statement in statements(recipe(PAGE, "ALTER SYSTEM")) + statements(recipe(PAGE, "CREATE ROLE")):
            superuser.execute(statement.encode())
        superuser.execute("SELECT pg_reload_conf()")
        yield site
        archive.halt()
        superuser.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
        superuser.execute("DROP OWNED BY audit_archive; DROP ROLE audit_archive")
        superuser.execute("ALTER SYSTEM RESET wal_level")
        superuser.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        superuser.execute("SELECT pg_reload_conf()")


def test_set_up_check_and_give_up(primary: Site, archive: TemporaryServer) -> None:
    """Each command prints what the page has, but for the amount of WAL; the slot is dropped as the page says."""
    grant, setup, check = recipe(PAGE, "pgaudit grant"), recipe(PAGE, "archive setup"), recipe(PAGE, "archive check")
    assert primary.session(grant, "claims_audit").splitlines() == printed_output(grant)
    reachable = setup.replace("host=db", f"host={primary.server.home} port=5432")
    assert primary.session(reachable, "claims_audit").splitlines() == printed_output(setup)
    printed = primary.session(check, "claims_audit").splitlines()
    kept, *rest = printed_output(check)
    assert printed[1:] == rest
    assert printed[0].partition("archive,")[2] == kept.partition("archive,")[2]
    assert value_in(archive.conninfo, "SELECT count(*) FROM pgaudit.audit_log") == 4
    archive.halt()
    with primary.connect() as superuser:
        free = "SELECT NOT bool_or(active) FROM pg_replication_slots"
        wait_until("the slot is free", lambda: value(superuser, free))
        superuser.execute(recipe(PAGE, "pg_drop_replication_slot").encode())
        assert value(superuser, SLOTS) == 0
    archive.start()
