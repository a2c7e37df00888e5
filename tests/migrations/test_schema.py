"""Databases that are refused, and what other roles cannot put into the schema."""

from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import migrate
from pgaudit.testing.server import Server

MAY_CREATE = "SELECT has_schema_privilege('t_app', 'pgaudit', 'CREATE')"
SCHEMAS = "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgaudit'"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_an_encoding_other_than_utf8_is_refused(server: Server, encoding: str) -> None:
    """The error comes before anything is changed."""
    with psycopg.connect(server.conninfo, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE t_encoded TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
        dsn = server.conninfo_of("t_encoded")
        try:
            expected = f"the database must use the encoding UTF8, not {encoding}: create one with ENCODING 'UTF8'"
            with pytest.raises(psycopg.errors.FeatureNotSupported, match=expected):
                migrate.upgrade(dsn)
            with psycopg.connect(dsn) as encoded:
                assert encoded.execute(SCHEMAS).fetchone() == (0,)
        finally:
            conn.execute("DROP DATABASE t_encoded WITH (FORCE)")


def test_a_missing_right_to_create_a_schema_is_answered_with_statements(
    owner: str, empty: psycopg.Connection[Any]
) -> None:
    """The error has the two statements that help, with names."""
    database = empty.info.dbname
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        migrate.upgrade(make_conninfo(owner, user="t_reader"))
    assert f"GRANT CREATE ON DATABASE {database} TO t_reader" in str(refused.value)
    assert "CREATE SCHEMA pgaudit AUTHORIZATION t_reader" in str(refused.value)


def test_a_schema_that_was_prepared_for_the_owner_is_enough(owner: str, empty: psycopg.Connection[Any]) -> None:
    """An owner with a prepared schema needs no right to the database."""
    empty.execute("CREATE SCHEMA pgaudit AUTHORIZATION t_worker")
    migrate.upgrade(make_conninfo(owner, user="t_worker"))


def test_a_schema_of_another_role_is_refused(owner: str) -> None:
    """The owner of the schema could drop the audit log."""
    with psycopg.connect(make_conninfo(owner, user="t_app"), autocommit=True) as squatter:
        squatter.execute("CREATE SCHEMA pgaudit")
        squatter.execute("GRANT ALL ON SCHEMA pgaudit TO t_owner")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="belongs to t_app, not to t_owner"):
        migrate.upgrade(owner)
    assert migrate.current(owner) is None


def test_an_empty_schema_of_another_role_may_be_given_away(owner: str, empty: psycopg.Connection[Any]) -> None:
    """The statement in the error helps."""
    empty.execute("CREATE SCHEMA pgaudit")
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        migrate.upgrade(owner)
    assert "or ALTER SCHEMA pgaudit OWNER TO t_owner" in str(refused.value)
    empty.execute("ALTER SCHEMA pgaudit OWNER TO t_owner")
    migrate.upgrade(owner)


def test_an_installed_schema_of_another_role_is_not_given_away(owner: str) -> None:
    """ALTER SCHEMA would leave tables and functions to the old owner, so the error does not name it."""
    migrate.upgrade(owner)
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        migrate.upgrade(make_conninfo(owner, user="t_app"))
    assert "belongs to t_owner, not to t_app: migrate as t_owner" in str(refused.value)
    assert "ALTER SCHEMA" not in str(refused.value)


def test_default_privileges_allow_no_role_to_create(owner: str) -> None:
    """A function that another role creates in the schema would run with the owner's rights."""
    with psycopg.connect(owner, autocommit=True) as conn:
        conn.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO t_app")
        migrate.upgrade(owner)
        assert conn.execute(MAY_CREATE).fetchone() == (False,)


@pytest.mark.parametrize(
    "stranger", ["VIEW pgaudit.report AS SELECT 1", "TABLE pgaudit.procrastinate_jobs (id bigint)"]
)
def test_a_schema_with_something_else_in_it_is_refused(owner: str, stranger: str) -> None:
    """A schema with other objects, such as an extension's, is left as it is."""
    name = stranger.split()[1]
    with psycopg.connect(owner, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA pgaudit")
        conn.execute(f"CREATE {stranger}")
        with pytest.raises(psycopg.errors.DuplicateObject, match=f"not pgaudit's: {name.split('.')[1]};"):
            migrate.upgrade(owner)
        assert conn.execute(f"SELECT count(*) FROM {name}").fetchone()
