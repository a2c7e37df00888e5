"""The statements that let a role read the events of one tenant, and what it can then read."""

from collections.abc import Iterator

import pytest
from psycopg.errors import InsufficientPrivilege

from pgaudit import AuditEvent, Settings, health, trail
from tests.docs.printed import recipe, statements
from tests.docs.recipes.site import Site, printed_output
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import Connection, value
from tests.support.roles import temporary_roles

PAGE = "operate/row-level-security.md"
NAMING_EVENTS = (
    "failed_jobs", "delayed_jobs", "stalled_jobs", "conflicting_events", "acknowledged_jobs", "event_sighting",
    "event_key", "event_conflict", "audit_jobs", "job_error", "saved_search", "audit_log_0",
)  # fmt: skip
LOOKED_UP = 'Index Cond: (("left"('


def shared(tenant: str | None) -> AuditEvent:
    """Returns an event about claims that events of every tenant are about."""
    targets = ("claim:9", "claim:7", f"policy:{tenant or 'shared'}")
    return AuditEvent(action="claim.merged", tenant=tenant, actor="user:1", targets=targets)


@pytest.fixture
def limited(site: Site) -> Iterator[Site]:
    """The installation after the statements of the page, with events of two tenants and of none."""
    with temporary_roles(site.dsn(), "claims_north"):
        with site.connect() as superuser:
            record_persist_and_commit(superuser, *(shared(tenant) for tenant in ("north", "south", None) * 50))
        with site.connect("claims_audit") as owner:
            for statement in statements(recipe(PAGE, "CREATE POLICY all_tenants")):
                owner.execute(statement.encode())
        yield site


@pytest.fixture
def north(limited: Site) -> Iterator[Connection]:
    """A session of the role of one tenant."""
    with limited.connect("claims_north") as conn:
        yield conn


def test_the_trail_has_the_events_of_one_tenant(north: Connection) -> None:
    """By target, first or further, by actor, or as they came in; other tenants' targets are not there either."""
    for entries in (
        trail.last(north, 100),
        trail.of_target(north, "claim", 9),
        trail.of_target(north, "claim", 7),
        trail.of_actor(north, "user", 1),
    ):
        assert [entry.index for entry in entries] == list(range(0, 150, 3))
        assert {entry.tenant for entry in entries} == {"north"}
    assert trail.of_target(north, "policy", "south") == []
    assert value(north, "SELECT count(*) FROM pgaudit.event_target") == 100
    assert value(north, "SELECT count(*) FROM pgaudit.audit_log WHERE tenant IS DISTINCT FROM 'north'") == 0


def test_nothing_else_that_names_events_can_be_read(north: Connection) -> None:
    """Views with the owner's rights would show other tenants' events, and so would a partition by its name."""
    refuses_what_names_events(north)


def test_an_upgrade_gives_the_role_no_more(limited: Site, north: Connection) -> None:
    """A migration renews the rights of readers; a role that was granted the log alone is none of them."""
    limited.run("pgaudit migrate --repair", "claims_audit")
    refuses_what_names_events(north)
    with limited.connect("claims_dba") as reader:
        assert value(reader, "SELECT count(*) FROM pgaudit.failed_jobs") == 0


def refuses_what_names_events(conn: Connection) -> None:
    """Fails if the role can read events, or values of them, where no policy applies."""
    calls = ("column_drift()", "save_search('a', 'b', 'c')", "record('[]')")
    for what in (*(f"FROM pgaudit.{relation}" for relation in NAMING_EVENTS), *(f"pgaudit.{call}" for call in calls)):
        with pytest.raises(InsufficientPrivilege):
            conn.execute(f"SELECT {what}".encode())


def test_readers_and_workers_see_everything(limited: Site) -> None:
    """Readers and workers have a policy; neither is told that rows are hidden."""
    with limited.connect() as superuser:
        assert record_persist_and_commit(superuser, shared("south")) == []
    with limited.connect("claims_dba") as reader:
        assert len(trail.of_target(reader, "claim", 7)) == 151
        assert verdict(reader, "row_security") == "healthy"
        assert verdict(reader, "schema_unchanged") == "degraded"
    with limited.connect("claims_worker") as worker:
        assert verdict(worker, "row_security") == "healthy"


def verdict(conn: Connection, name: str) -> str:
    """Returns the status of a health check."""
    return next(check.status for check in health.check(conn, Settings()).checks if check.name == name)


def test_the_check_prints_the_lines_of_the_page(limited: Site) -> None:
    """Each table and each policy is named, and nothing else."""
    block = recipe(PAGE, "pgaudit migrate --check")
    printed = limited.session(f"$ set +o pipefail\n{block}", "claims_audit").splitlines()
    assert sorted(printed) == sorted(printed_output(block))
    assert limited.attempt("pgaudit migrate --check", "claims_audit").returncode == 5


def test_the_statements_of_the_page_undo_it(limited: Site) -> None:
    """The schema is as it was installed, and the role can read nothing."""
    with limited.connect("claims_audit") as owner:
        for statement in statements(recipe(PAGE, "DISABLE ROW LEVEL SECURITY")):
            owner.execute(statement.encode())
    assert limited.attempt("pgaudit migrate --check", "claims_audit").returncode == 0
    with limited.connect("claims_north") as conn, pytest.raises(InsufficientPrivilege):
        conn.execute("SELECT FROM pgaudit.audit_log")


def test_a_policy_leaves_the_indexes_of_columns_in_use(limited: Site, north: Connection) -> None:
    """Postgres finds a target by its index under the policy; it looks nothing up in an index on JSON."""
    limited.run("pgaudit index add request", "claims_audit")
    assert "(target_type = 'claim'::text) AND (target_id = '9'::text)" in plan(
        north, b"target_type = 'claim' AND target_id = '9'"
    )
    by_request = b"""left(event #>> '{context,request_id}', 200) COLLATE "C" = 'r-1'"""
    assert LOOKED_UP not in plan(north, by_request)
    with limited.connect("claims_audit") as owner:
        assert LOOKED_UP in plan(owner, by_request)


def plan(conn: Connection, condition: bytes) -> str:
    """Returns the plan of a search that avoids reading whole partitions."""
    conn.execute("SET enable_seqscan = off")
    query = b"EXPLAIN SELECT event FROM pgaudit.audit_log WHERE " + condition
    return "\n".join(line for (line,) in conn.execute(query).fetchall())
