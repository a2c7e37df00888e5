"""The remaining statements and commands of the pages, each as the role that its page names."""

import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from tests.docs.printed import recipe, statements
from tests.docs.recipes.site import Site
from tests.support.events import event, events
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import value_in


@pytest.fixture
def filled(site: Site) -> Site:
    """The installation, with events about claim 7 and others in the log."""
    with site.connect() as superuser:
        record_persist_and_commit(superuser, event(7), *events(3))
    return site


def test_the_log_is_read_in_sql(filled: Site) -> None:
    """A reader selects the trail of a claim, the column drift, which is empty, and the leaf hashes."""
    with filled.connect("claims_dba") as reader:
        queries = statements(recipe("reference/views.md", "pgaudit.column_drift()"))
        trail, drift, changed = (reader.execute(each.encode()).fetchall() for each in queries)
    assert [row[1] for row in trail] == ["claim.approved"]
    assert drift == []
    assert changed == [(0,)]


def test_leaf_hashes_are_checked(filled: Site) -> None:
    """No leaf of the log differs from the hash of its event."""
    (query,) = statements(recipe("concepts/guarantees.md", "leaf_hash"))
    with filled.connect("claims_dba") as reader:
        assert reader.execute(query.encode()).fetchone() == (0,)


def test_the_largest_event_may_be_larger(site: Site) -> None:
    """After the owner's statement, and with a larger limit in the application, the event is recorded."""
    (change,) = statements(recipe("reference/python.md", "max_event_bytes"))
    with site.connect("claims_audit") as owner:
        owner.execute(change.encode())
    large = AuditEvent(action="claim.approved", data={"text": "x" * 60_000})
    with site.connect("claims_app") as application, application.transaction():
        AuditLog(Settings(max_event_bytes=65_535)).record(application, large)
    assert value_in(site.dsn(), "SELECT count(*) FROM pgaudit.audit_jobs") == 1


def test_the_maintenance_runs_without_a_worker(site: Site) -> None:
    """The owner can call the three maintenance functions."""
    (maintenance,) = statements(recipe("concepts/queue.md", "ensure_partitions"))
    with site.connect("claims_audit") as owner:
        assert owner.execute(maintenance.encode()).fetchone() == (0, 0, 0)


def test_a_direct_connection_migrates_beside_pgbouncer(site: Site) -> None:
    """The page's command for installations with PgBouncer migrates as the owner, directly on the server."""
    assert site.session(recipe("operate/pgbouncer.md", "pgaudit migrate")) == "The schema pgaudit is current.\n"
