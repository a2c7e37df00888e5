"""Spooling as its page configures it, and the replay by hand of the page on troubleshooting."""

from pathlib import Path

import pytest

from tests.docs.printed import commands, recipe
from tests.docs.recipes.site import Site, printed_output
from tests.support.processes import worker_process
from tests.support.queries import LOG_SIZE, value_in
from tests.support.spool import break_record, repair_record
from tests.support.waiting import wait_until

PRINTED = "/var/lib/claims/spool"
APPLICATION = """
import psycopg
from pgaudit import AuditEvent, AuditLog
audit = AuditLog()
with psycopg.connect(audit.settings.conninfo) as conn:
    audit.record(conn, AuditEvent(action="claim.approved"), AuditEvent(action="claim.paid"))
"""


@pytest.fixture
def spool(site: Site) -> Path:
    """The spool of an application that has run under the exports of the page while the database refused its events."""
    spool = site.directory / "spool"
    (site.directory / "approve.py").write_text(APPLICATION)
    exports = "\n".join(commands(recipe("operate/spool.md", "PGAUDIT_ON_FAILURE=spool")))
    with site.connect() as owner:
        break_record(owner)
        site.run(f"{exports.replace(PRINTED, str(spool))}\npython approve.py", "claims_app")
        repair_record(owner)
    return spool


def test_a_file_is_replayed_by_hand(site: Site, spool: Path) -> None:
    """The application's role replays a file, and the command prints what the page prints."""
    (file,) = spool.glob("*.ndjson")
    block = recipe("operate/troubleshooting.md", "pgaudit replay")
    (command,) = commands(block)
    printed = site.run(command.replace(f"{PRINTED}/web1-4711.ndjson", str(file)), "claims_app")
    assert printed.splitlines() == printed_output(block)
    assert value_in(site.dsn(), "SELECT count(*) FROM pgaudit.audit_jobs") == 2


def test_a_worker_with_the_same_directory_replays_the_spool(site: Site, spool: Path) -> None:
    """Once the database accepts events again, a worker with the same directory replays them by itself."""
    with worker_process(site.dsn("claims_worker"), PGAUDIT_SPOOL_DIR=str(spool)):
        wait_until("the log has 2 events", lambda: value_in(site.dsn(), LOG_SIZE) == 2)
        wait_until("the spool is empty", lambda: not list(spool.glob("*.ndjson")))
