"""The health check of captured and guarded tables: each way in which changes could pass is named."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import health
from pgaudit.grants import grant
from pgaudit.guard import captures, guards
from pgaudit.health import Check, Status
from tests.support.queries import Connection
from tests.support.roles import temporary_roles

TABLES = """
    CREATE TABLE claims (id bigint PRIMARY KEY, status text, amount numeric);
    CREATE TABLE monthly (id bigint, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE monthly_1 PARTITION OF monthly FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE FUNCTION harmless() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'
"""

ALTERED_TRIGGER = """
    DROP TRIGGER "0_pgaudit_capture_delete" ON claims;
    CREATE TRIGGER "0_pgaudit_capture_delete" AFTER DELETE ON claims EXECUTE FUNCTION harmless();
    ALTER TABLE claims ENABLE ALWAYS TRIGGER "0_pgaudit_capture_delete"
"""
ALTERED_FUNCTION = """
    CREATE OR REPLACE FUNCTION pgaudit.capture_1() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    AS 'BEGIN RETURN NULL; END'
"""


@pytest.fixture
def owner(dsn: str) -> Iterator[Connection]:
    """A session in autocommit; both tables are captured, and one is guarded."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(TABLES)
        captures.add(conn, "claims", target="claim", key="id")
        captures.add(conn, "monthly", target="month", key=("id", "day"))
        guards.add(conn, "claims", target="claim", key="id", on_missing="warn")
        yield conn


def check(conn: Connection) -> Check:
    """Returns the check."""
    (found,) = [each for each in health.check(conn).checks if each.name == "captured_tables"]
    return found


def test_intact_triggers_are_healthy(owner: Connection) -> None:
    """Also for a role that is a reader, or a worker, and nothing else; a pause is no problem."""
    assert check(owner).status is Status.HEALTHY
    captures.pause(owner, "claims")
    guards.pause(owner, "claims")
    dsn = owner.info.dsn
    with temporary_roles(dsn, "t_reader", "t_worker"):
        grant(owner, reader="t_reader", worker="t_worker")
        for role in ("t_reader", "t_worker"):
            with psycopg.connect(make_conninfo(dsn, user=role)) as conn:
                assert check(conn).status is Status.HEALTHY


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ('ALTER TABLE claims DISABLE TRIGGER "0_pgaudit_capture_update"', "has a trigger that does not always fire"),
        ('ALTER TABLE claims ENABLE TRIGGER "0_pgaudit_capture_update"', "has a trigger that does not always fire"),
        (
            'DROP TRIGGER "0_pgaudit_capture_delete" ON claims',
            "has no trigger: 0_pgaudit_capture_delete on public.claims",
        ),
        (
            ALTERED_TRIGGER,
            "has an altered trigger",
        ),
        (
            ALTERED_FUNCTION,
            "has a function that was altered by hand",
        ),
        ("ALTER FUNCTION pgaudit.capture_1() SECURITY INVOKER", "has a function that was altered by hand"),
        (
            "CREATE TRIGGER after_row AFTER UPDATE ON claims FOR EACH ROW EXECUTE FUNCTION harmless()",
            "needs triggers for each row, because it has AFTER ROW triggers: after_row",
        ),
        ("CREATE TABLE old_claims () INHERITS (claims)", "needs triggers for each row, because tables inherit from it"),
    ],
)
def test_each_way_for_a_change_to_pass_is_named(owner: Connection, change: str, problem: str) -> None:
    """With the command that mends it; after that command it is healthy."""
    owner.execute(change.encode())
    found = check(owner)
    assert found.status is Status.DEGRADED
    assert f"public.claims {problem}" in found.message
    assert "as the owner, run `pgaudit capture renew public.claims`" in found.message
    captures.renew(owner, "claims")
    guards.renew(owner, "claims")
    assert check(owner).status is Status.HEALTHY


def test_a_new_partition_and_a_new_child_are_named(owner: Connection) -> None:
    """A partition has no trigger for TRUNCATE, a child none at all."""
    owner.execute("CREATE TABLE monthly_2 PARTITION OF monthly FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')")
    assert "public.monthly has no trigger: 0_pgaudit_capture_truncate on public.monthly_2" in check(owner).message
    captures.renew(owner, "monthly")
    owner.execute("CREATE TABLE first_child () INHERITS (claims)")
    captures.renew(owner, "claims")
    guards.renew(owner, "claims")
    assert check(owner).status is Status.HEALTHY
    owner.execute("CREATE TABLE second_child () INHERITS (claims)")
    found = check(owner)
    assert "public.claims has a child of which no change is seen: public.second_child" in found.message
    assert found.observed == 2


def test_other_columns_are_no_problem(owner: Connection) -> None:
    """The next change of a row adapts the function, and is captured with them."""
    owner.execute("ALTER TABLE claims ADD note text; ALTER TABLE claims RENAME status TO state")
    owner.execute("ALTER TABLE claims ALTER amount TYPE text")
    assert check(owner).status is Status.HEALTHY


def test_a_column_that_is_missed_is_named(owner: Connection) -> None:
    """The key needs it: changes of rows fail, until capture is added anew. One that was renamed is found."""
    captures.add(owner, "claims", target="claim", key="id", when="new.status <> old.status")
    guards.remove(owner, "claims")
    owner.execute("INSERT INTO claims (id, status) VALUES (1, 'open')")
    owner.execute("ALTER TABLE claims RENAME status TO state")
    assert check(owner).status is Status.HEALTHY
    owner.execute("ALTER TABLE claims DROP COLUMN id")
    problem = "cannot be changed, because a column of the key no longer exists"
    assert f"public.claims {problem}: as the owner, run `pgaudit capture" in check(owner).message
    with pytest.raises(psycopg.errors.UndefinedColumn):
        owner.execute("UPDATE claims SET amount = 2")
    captures.add(owner, "claims", target="claim", key="amount")
    assert check(owner).status is Status.HEALTHY


def test_a_locked_table_does_not_stop_the_check(owner: Connection, dsn: str) -> None:
    """A migration of the application may hold it for long."""
    with psycopg.connect(dsn) as migration:
        migration.execute("LOCK TABLE claims, monthly, monthly_1 IN ACCESS EXCLUSIVE MODE")
        owner.execute("SET lock_timeout = '1s'")
        assert check(owner).status is Status.HEALTHY


def test_many_problems_are_counted(owner: Connection) -> None:
    """Three are named."""
    for number in range(5):
        owner.execute(f"CREATE TABLE t{number} (id bigint PRIMARY KEY)".encode())
        captures.add(owner, f"t{number}", target="thing", key="id")
        owner.execute(f"ALTER TABLE t{number} DISABLE TRIGGER USER".encode())
    found = check(owner)
    assert found.observed == 5
    assert found.message.endswith(" … and 2 more: see `pgaudit doctor`.")
