"""A migrated database for each test, copied from one that was migrated once."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, LiteralString
from uuid import uuid4

import psycopg
from psycopg import sql

from pgaudit.settings import Settings
from pgaudit.testing import programs
from pgaudit.testing.database import AuditDatabase
from pgaudit.testing.disposable import prepare_database
from pgaudit.testing.server import Server, TemporaryServer

# Several runs may share a server: no name is used twice.
PREFIX: Final = "pgaudit_test"
TEMPLATE: Final = f"{PREFIX}_template_{uuid4().hex[:12]}"
CREATE: Final = "CREATE DATABASE {name}"
COPY: Final = "CREATE DATABASE {name} TEMPLATE {template}"
DROP: Final = "DROP DATABASE {name} WITH (FORCE)"


@contextmanager
def migrated_server() -> Generator[Server]:
    """Starts a server with a migrated database to copy; stops and removes it at the end.

    With the DSN of a server in PGAUDIT_TEST_PG, that one is used. Databases are created on it and dropped; its own are
    not touched.
    """
    with running_server() as server:
        execute(server, CREATE, name=TEMPLATE)
        try:
            prepare_database(server.conninfo_of(TEMPLATE))
            yield server
        finally:
            execute(server, DROP, name=TEMPLATE)


@contextmanager
def fresh_database(server: Server, template: str = TEMPLATE) -> Generator[AuditDatabase]:
    """Returns a migrated database with an empty log and queue; drops it at the end, with open connections."""
    name = f"{PREFIX}_{uuid4().hex[:12]}"
    dsn = server.conninfo_of(name)
    execute(server, COPY, name=name, template=template)
    try:
        yield AuditDatabase(dsn, Settings(dsn=dsn))
    finally:
        execute(server, DROP, name=name)


@contextmanager
def running_server() -> Generator[Server]:
    """Returns the server that PGAUDIT_TEST_PG says, or starts one of that version."""
    named = os.environ.get(programs.VARIABLE, "")
    if programs.is_dsn(named):
        yield Server(named)
        return
    server = TemporaryServer()
    try:
        yield server
    finally:
        server.stop()


def execute(server: Server, statement: LiteralString, **names: str) -> None:
    """Runs a statement about databases."""
    with psycopg.connect(server.conninfo, autocommit=True) as conn:
        conn.execute(sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()}))
