"""Databases to migrate, and the migrations of a future version."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit._schema.state import MIGRATIONS, Scripts
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.support.psql import PROGRAM, Psql
from tests.support.roles import temporary_roles

ROLES = ("t_owner", "t_app", "t_worker", "t_reader", "t_stranger")
REVISION = '''"""A revision of the next version."""

revision = "0002"
down_revision = "0001"


def upgrade(run):
    run("ALTER TABLE pgaudit.batch ADD COLUMN note text")


def downgrade(run):
    run("ALTER TABLE pgaudit.batch DROP COLUMN note; DROP FUNCTION IF EXISTS pgaudit.of_the_next_version")
'''
FUNCTION = """
CREATE OR REPLACE FUNCTION pgaudit.of_the_next_version() RETURNS text LANGUAGE sql AS $$ SELECT 'new'::text $$;
"""


@pytest.fixture
def empty(empty_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to an empty database, in autocommit."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def owner(empty_dsn: str) -> Iterator[str]:
    """The DSN of an empty database as a role that can create schemas; there are other roles beside it."""
    with temporary_roles(empty_dsn, *ROLES):
        with psycopg.connect(empty_dsn) as conn:
            conn.execute(f"GRANT CREATE ON DATABASE {conn.info.dbname} TO t_owner, t_app")
        yield make_conninfo(empty_dsn, user="t_owner")


@pytest.fixture
def next_version(tmp_path: Path) -> Scripts:
    """The migrations of a future version: with one more revision, one changed function and a new one."""
    directory = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, directory, ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "versions" / "0002_note.py").write_text(REVISION)
    state = directory / "code" / "05_schema_state.sql"
    state.write_text(state.read_text().replace("    SELECT", "    -- as of the next version\n    SELECT", 1) + FUNCTION)
    return Scripts(directory, version="999.0.0")


@pytest.fixture
def psql(tmp_path: Path) -> Psql:
    """Runs a script with psql."""

    def run(dsn: str, script: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "script.sql"
        path.write_text(script)
        command = [PROGRAM, "-X", "-q", "-d", dsn, "-f", str(path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture(scope="module")
def session(server: Server) -> Iterator[psycopg.Connection[Any]]:
    """One session in a migrated database, for the tests of a module that roll back what they do."""
    with fresh_database(server) as database, psycopg.connect(database.dsn) as conn:
        yield conn


@pytest.fixture
def stranger(session: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """A transaction in which there is a role without rights; it is rolled back at the end."""
    session.execute("CREATE ROLE t_stranger")
    yield session
    session.rollback()
