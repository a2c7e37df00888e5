"""An installation for each test, on a server that the tests of this directory share."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgaudit import grants, migrate
from pgaudit.testing.server import TemporaryServer
from tests.docs.recipes.site import ROLES, Site


@pytest.fixture(scope="session")
def recipe_server() -> Iterator[TemporaryServer]:
    """A server with prepared transactions and logical replication."""
    server = TemporaryServer(max_prepared_transactions=2, wal_level="logical")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Site]:
    """A new server with a database ``claims`` without pgaudit, and only the application's role."""
    server = TemporaryServer()
    try:
        site = Site(server, tmp_path)
        with site.connect(database="postgres") as superuser:
            superuser.execute("CREATE DATABASE claims")
            superuser.execute("CREATE ROLE claims_app LOGIN")
        yield site
    finally:
        server.stop()


@pytest.fixture(scope="session")
def installed(recipe_server: TemporaryServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a template database that its owner has migrated, and in which every role has its rights."""
    site = Site(recipe_server, tmp_path_factory.mktemp("installed"))
    with site.connect(database="postgres") as superuser:
        for role in ROLES:
            superuser.execute(f"CREATE ROLE {role} LOGIN")
        superuser.execute("CREATE DATABASE template_of_claims")
        superuser.execute("GRANT CREATE ON DATABASE template_of_claims TO claims_audit")
    owner = site.dsn("claims_audit", "template_of_claims")
    migrate.upgrade(owner)
    with psycopg.connect(owner) as conn:
        grants.grant(conn, writer="claims_app", worker="claims_worker", operator="claims_oncall", reader="claims_dba")
    return "template_of_claims"


@pytest.fixture
def site(recipe_server: TemporaryServer, installed: str, tmp_path: Path) -> Iterator[Site]:
    """The database ``claims``, migrated by its owner; every role has its rights."""
    site = Site(recipe_server, tmp_path)
    with site.connect(database="postgres") as superuser:
        superuser.execute(f"CREATE DATABASE claims TEMPLATE {installed}")
        superuser.execute("GRANT CREATE ON DATABASE claims TO claims_audit")
        superuser.execute("GRANT pg_monitor TO claims_dba")
    yield site
    with site.connect(database="postgres") as superuser:
        for (name,) in superuser.execute("SELECT datname FROM pg_database WHERE datname ~ '^claims'").fetchall():
            superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")
