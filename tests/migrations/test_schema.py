"""The schema belongs to who migrates, and nobody else may put anything into it."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import migrate

MAY_CREATE = "SELECT has_schema_privilege('t_app', 'pgaudit', 'CREATE')"


@pytest.fixture
def owner(empty_dsn: str) -> Iterator[str]:
    """Where a role that may create schemas finds the database; beside it there is an application's."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute("CREATE ROLE t_owner LOGIN")
        conn.execute("CREATE ROLE t_app LOGIN")
        conn.execute(f"GRANT CREATE ON DATABASE {name} TO t_owner, t_app")
        yield make_conninfo(empty_dsn, user="t_owner")
        for role in ("t_owner", "t_app"):
            conn.execute(f"DROP OWNED BY {role} CASCADE")
        conn.execute("DROP ROLE t_owner, t_app")


def test_a_schema_of_somebody_else_is_refused(owner: str) -> None:
    """Its owner could drop the trail, whatever guards it."""
    with psycopg.connect(make_conninfo(owner, user="t_app"), autocommit=True) as squatter:
        squatter.execute("CREATE SCHEMA pgaudit")
        squatter.execute("GRANT ALL ON SCHEMA pgaudit TO t_owner")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="belongs to t_app, not to t_owner"):
        migrate.upgrade(owner)
    assert migrate.current(owner) is None


def test_default_privileges_let_nobody_create_in_it(owner: str) -> None:
    """A function that somebody else could create there would run with the rights of the trail's owner."""
    with psycopg.connect(owner, autocommit=True) as conn:
        conn.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO t_app")
        migrate.upgrade(owner)
        assert conn.execute(MAY_CREATE).fetchone() == (False,)


def test_a_schema_with_something_else_in_it_is_refused(owner: str) -> None:
    """Such as an extension that was put there: it is left as it is."""
    with psycopg.connect(owner, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA pgaudit CREATE VIEW pgaudit.report AS SELECT 1")
        with pytest.raises(psycopg.errors.DuplicateObject, match="something else: report"):
            migrate.upgrade(owner)
        assert conn.execute("SELECT * FROM pgaudit.report").fetchall() == [(1,)]


def test_what_others_have_put_into_it_is_not_dropped(owner: str) -> None:
    """Downgrading takes away what the migrations made, and no more."""
    migrate.upgrade(owner)
    with psycopg.connect(owner, autocommit=True) as conn:
        conn.execute("CREATE TABLE pgaudit.notes (note text)")
        with pytest.raises(psycopg.errors.DependentObjectsStillExist):
            migrate.downgrade(owner)
        assert conn.execute("SELECT * FROM pgaudit.notes").fetchall() == []
        conn.execute("DROP TABLE pgaudit.notes")
    migrate.downgrade(owner)
