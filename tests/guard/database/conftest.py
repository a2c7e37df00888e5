"""A table of claims, owned by a plain role that owns the schema, too."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import migrate
from pgaudit.grants import grant
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.support.queries import Connection

CLAIMS = """
    CREATE TABLE claims (
        id bigint PRIMARY KEY, status text NOT NULL DEFAULT 'open', amount numeric(12,2), note text, parent bigint,
        doc json, tenant text
    )
"""
ROLES = "claims_owner", "claims_app"


@pytest.fixture(scope="session")
def roles(server: Server) -> Iterator[Server]:
    """A server with two plain roles: the owner of schema and tables, and the application."""
    with psycopg.connect(server.conninfo, autocommit=True) as conn:
        for role in ROLES:
            conn.execute(f"CREATE ROLE {role} LOGIN".encode())
        yield server
        for role in ROLES:
            conn.execute(f"DROP ROLE {role}".encode())


@pytest.fixture
def owned(roles: Server) -> Iterator[str]:
    """A database that belongs to a plain role, migrated by it."""
    with fresh_database(roles, template="template1") as database:
        with psycopg.connect(database.dsn, autocommit=True) as conn:
            name = conn.info.dbname
            conn.execute(
                f"ALTER DATABASE {name} OWNER TO claims_owner; ALTER SCHEMA public OWNER TO claims_owner".encode()
            )
        dsn = make_conninfo(database.dsn, user="claims_owner")
        migrate.upgrade(dsn)
        yield dsn


@pytest.fixture
def owner(owned: str) -> Iterator[Connection]:
    """A session of the owner, in autocommit, and a table of claims that the application may change."""
    with psycopg.connect(owned, autocommit=True) as conn:
        conn.execute(CLAIMS)
        conn.execute("GRANT ALL ON claims TO claims_app; GRANT CREATE, USAGE ON SCHEMA public TO claims_app")
        yield conn


@pytest.fixture
def superuser(owned: str) -> Iterator[Connection]:
    """A session of a superuser."""
    with psycopg.connect(make_conninfo(owned, user="postgres"), autocommit=True) as conn:
        yield conn


@pytest.fixture
def app(owned: str, owner: Connection) -> Iterator[Connection]:
    """A session of the application, which is a writer and nothing else."""
    grant(owner, writer="claims_app")
    with psycopg.connect(make_conninfo(owned, user="claims_app"), autocommit=True) as conn:
        yield conn


@pytest.fixture
def guarded(owner: Connection, app: Connection) -> Iterator[Connection]:
    """A session of the application; claims 7 and 8 exist, and the table is guarded."""
    owner.execute("INSERT INTO claims (id) VALUES (7), (8)")
    owner.execute("SELECT pgaudit.add_guard('claims', 'claim', '{id}')")
    app.autocommit = False
    yield app
    app.rollback()
