"""Receipts and reconciling, as the page prints them."""

import re
from shutil import copy

import pytest

from tests.docs.printed import recipe
from tests.docs.recipes.site import Site, printed_output
from tests.sealing.reconcile.conftest import triggers_off
from tests.support.queries import value

PAGE = "operate/reconcile.md"
SETTING = "SELECT current_setting('audit.wal_receipts', true)"
UNREAD = re.compile(r", and not the [\d,]+ bytes that the server has written since")
VARYING = re.compile(r"[0-9A-F]+/[0-9A-F]{8}|\d{4}-\d\d-\d\d [\d:.]+Z|leaf hash [0-9a-f…]+|transaction \d+")


# Records events in the environment that the page exports.
RECORD = """python -c "
import psycopg, pgaudit
with psycopg.connect(pgaudit.Settings().conninfo) as conn:
    events = [pgaudit.AuditEvent(action='claim.paid', target=f'claim:{number}') for number in range({count})]
    pgaudit.AuditLog().record(conn, *events)
"
"""


@pytest.fixture
def archived(site: Site) -> Site:
    """Three events in the log and two in the queue, all with receipts, and the WAL in the directory ``archive``."""
    export = recipe(PAGE, "$ export PGAUDIT_WAL_RECEIPTS").removeprefix("$ ")
    with site.connect() as superuser:
        superuser.execute("SELECT pg_switch_wal()")
        first = value(superuser, "SELECT pg_walfile_name(pg_current_wal_lsn())")
        for count in (3, 2):
            site.run(export + RECORD.replace("{count}", str(count)), "claims_app")
            superuser.execute("SELECT pgaudit.persist(NULL, NULL, 3)" if count == 3 else "SELECT pg_switch_wal()")
    archive = site.directory / "archive"
    archive.mkdir()
    copy(site.server.home / "data" / "pg_wal" / first, archive)
    return site


def alike(line: str) -> str:
    """Returns a line without what differs from run to run."""
    return VARYING.sub("…", UNREAD.sub("", line))


def test_a_reader_reconciles(archived: Site) -> None:
    """The session prints what the page prints."""
    block = recipe(PAGE, "$ export PGAUDIT_DSN")
    printed = archived.session(block, "claims_dba").splitlines()
    assert [alike(line) for line in printed[:2]] == [alike(line) for line in printed_output(block)]


def test_a_deleted_queue_is_found(archived: Site) -> None:
    """The finding looks as on the page, and the command fails."""
    with archived.connect() as superuser, triggers_off(superuser, "pgaudit.audit_jobs"):
        superuser.execute("DELETE FROM pgaudit.audit_jobs")
    block = recipe(PAGE, "lost: a committed")
    ran = archived.attempt(block.splitlines()[0].removeprefix("$ "), "claims_dba")
    assert ran.returncode == 1
    assert [alike(line) for line in ran.stdout.splitlines()[:2]] == [alike(printed_output(block)[0])] * 2


def test_what_is_proved_without_the_wal(archived: Site) -> None:
    """The session prints what the page prints."""
    block = recipe(PAGE, "Queue: 2 jobs")
    assert archived.session(block, "claims_dba").splitlines() == printed_output(block)


def test_a_role_has_the_setting(site: Site) -> None:
    """Sessions of the role have it, and those of others do not."""
    with site.connect() as superuser:
        superuser.execute(recipe(PAGE, "ALTER ROLE claims_app"))
        try:
            with site.connect("claims_app") as application:
                assert value(application, SETTING) == "on"
            assert not value(superuser, SETTING)
        finally:
            superuser.execute("ALTER ROLE claims_app RESET ALL")
