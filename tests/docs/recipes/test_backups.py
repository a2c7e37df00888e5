"""Backup, restore and failover, as the page prints them."""

import re
from collections.abc import Iterator

import psycopg
import pytest

from pgaudit.testing import run_worker_once
from tests.docs.printed import recipe
from tests.docs.recipes.site import Site
from tests.support.audit_log import assert_dense, logged_ids
from tests.support.events import events
from tests.support.jobs import queued_ids, record_and_commit, record_persist_and_commit
from tests.support.processes import worker_process
from tests.support.queries import LOG_SIZE, value_in
from tests.support.standby import Standby
from tests.support.waiting import wait_until

PAGE = "operate/backups.md"


def test_a_restored_dump_goes_on_where_the_original_was(site: Site) -> None:
    """After a restore, log, queue, guards and grants are the same: the application records and a worker appends."""
    with site.connect() as original:
        record_persist_and_commit(original, *events(3))
        record_and_commit(original, *events(2))
        kept = logged_ids(original), queued_ids(original)
    printed = site.session(recipe(PAGE, "pg_restore"))
    assert "(0 rows)" in printed
    with site.connect(database="claims_restored") as restored:
        assert (logged_ids(restored), queued_ids(restored)) == kept
        with psycopg.connect(site.dsn("claims_app", "claims_restored")) as application:
            record_and_commit(application, *events(1))
        with psycopg.connect(site.dsn("claims_worker", "claims_restored")) as worker:
            assert run_worker_once(worker) == 3
        assert_dense(restored)


@pytest.fixture
def standby(site: Site) -> Iterator[Standby]:
    """A standby of the server, which is started again at the end."""
    standby = Standby(site.server)
    try:
        yield standby
    finally:
        standby.stop()
        site.server.start()


def test_a_worker_follows_the_promoted_standby(site: Site, standby: Standby) -> None:
    """With the DSN of the page, the same worker appends on the standby after the primary has crashed."""
    promoted = Site(standby, site.directory)
    with worker_process(dsn_of_both(site, standby)) as worker:
        with psycopg.connect(site.dsn("claims_app")) as application:
            record_and_commit(application, *events(3))
        wait_until("the standby has 3 events", lambda: value_in(promoted.dsn(), LOG_SIZE) == 3)
        site.server.halt("immediate")
        standby.promote()
        with psycopg.connect(promoted.dsn("claims_app")) as application:
            record_and_commit(application, *events(2))
        wait_until("the promoted standby has 5 events", lambda: value_in(promoted.dsn(), LOG_SIZE) == 5)
        assert worker.poll() is None
    with promoted.connect() as conn:
        assert_dense(conn)


def dsn_of_both(site: Site, standby: Standby) -> str:
    """Returns the DSN of the page, with the two servers of the test for its hosts."""
    (printed,) = re.findall(r'PGAUDIT_DSN="(.+)"', recipe(PAGE, "target_session_attrs"))
    hosts = f"host={site.server.home},{standby.home}&port=5432,5432"
    return str(printed.replace("@db1,db2/claims?", f"@/claims?{hosts}&"))
