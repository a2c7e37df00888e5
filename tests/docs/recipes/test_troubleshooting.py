"""The statements and commands of the page on troubleshooting."""

import psycopg
import pytest
from psycopg.errors import AdminShutdown

from tests.docs.printed import recipe, statements
from tests.docs.recipes.site import Site
from tests.support.events import event
from tests.support.jobs import insert_poison, record_persist_and_commit
from tests.support.queries import value, value_in

PAGE = "operate/troubleshooting.md"
STATUS = "SELECT status FROM pgaudit.audit_jobs WHERE id = 17"


@pytest.fixture
def failed(site: Site) -> Site:
    """An installation in which job 17, which the page names, has failed."""
    with site.connect("claims_audit") as owner:
        owner.execute("SELECT setval('pgaudit.procrastinate_jobs_id_seq', 16)")
        assert insert_poison(owner) == 17
        owner.execute("UPDATE pgaudit.audit_jobs SET status = 'failed', attempts = 3")
    return site


@pytest.mark.parametrize("role", ["claims_worker", "claims_oncall"])
def test_a_failed_job_is_listed_shown_and_retried(failed: Site, role: str) -> None:
    """Each role that may manage jobs can list, show and retry a failed one."""
    printed = failed.session(recipe(PAGE, "pgaudit jobs show 17"), role)
    assert "0 waiting, 0 active, 0 delayed, 1 failed" in printed
    assert value_in(failed.dsn(), STATUS) == "todo"


def test_a_failed_job_is_acknowledged(failed: Site) -> None:
    """An operator acknowledges a job: it is kept with the reason, and an audit event records it."""
    failed.session(recipe(PAGE, "pgaudit jobs acknowledge 17"), "claims_oncall")
    assert value_in(failed.dsn(), STATUS) is None
    kept = "SELECT reason FROM pgaudit.acknowledged_jobs WHERE job_id = 17"
    assert value_in(failed.dsn(), kept) == "changed in the queue, see incident 42"
    assert value_in(failed.dsn(), "SELECT event->>'action' FROM pgaudit.audit_jobs") == "audit_job.acknowledged"


def test_conflicting_events_are_shown_side_by_side(site: Site) -> None:
    """A reader sees both events that have the same id."""
    first = event()
    later = first.model_copy(update={"action": "claim.denied"})
    with site.connect() as superuser:
        record_persist_and_commit(superuser, first)
        record_persist_and_commit(superuser, later)
    (query,) = statements(recipe(PAGE, "pgaudit.conflicting_events"))
    with site.connect("claims_dba") as reader:
        (row,) = reader.execute(query.encode()).fetchall()
    assert [each["action"] for each in row[-2:]] == ["claim.approved", "claim.denied"]


def test_the_session_that_locks_the_log_is_named_and_ended(site: Site) -> None:
    """A reader with pg_monitor sees which session holds the lock; a superuser terminates it."""
    (query,) = statements(recipe(PAGE, "pgaudit.log_lock_holder"))
    with psycopg.connect(site.dsn()) as forgotten:
        forgotten.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
        forgotten.execute("SELECT pg_current_xact_id()")
        with site.connect("claims_dba") as reader:
            columns = reader.execute(query.encode())
            names = [column.name for column in columns.description or []]
            (holder,) = (dict(zip(names, row, strict=True)) for row in columns.fetchall())
        assert holder["pid"] == forgotten.info.backend_pid
        assert holder["since"] is not None
        with site.connect() as superuser:
            assert value(superuser, "SELECT pg_terminate_backend(%s)", [holder["pid"]]) is True
        with pytest.raises(AdminShutdown):
            forgotten.execute("SELECT 1")
