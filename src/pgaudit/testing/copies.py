"""A migrated database for each test, copied from one that was migrated once."""

from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from pgaudit import migrate
from pgaudit.settings import Settings
from pgaudit.testing.database import AuditDatabase
from pgaudit.testing.server import Server

TEMPLATE: Final = "pgaudit_template"
CREATE: Final = "CREATE DATABASE {name}"
COPY: Final = "CREATE DATABASE {name} TEMPLATE {template}"
DROP: Final = "DROP DATABASE {name} WITH (FORCE)"

numbers = count(1)


@contextmanager
def migrated_server() -> Generator[Server]:
    """Starts a server with a migrated database to copy; stops and removes it at the end."""
    server = Server()
    try:
        execute(server, CREATE, name=TEMPLATE)
        migrate.upgrade(server.conninfo_of(TEMPLATE))
        yield server
    finally:
        server.stop()


@contextmanager
def fresh_database(server: Server, template: str = TEMPLATE) -> Generator[AuditDatabase]:
    """Returns a migrated database with an empty log and queue; drops it at the end, with open connections."""
    name = f"audit_test_{next(numbers)}"
    dsn = server.conninfo_of(name)
    execute(server, COPY, name=name, template=template)
    try:
        yield AuditDatabase(dsn, Settings(dsn=dsn))
    finally:
        execute(server, DROP, name=name)


def execute(server: Server, statement: LiteralString, **names: str) -> None:
    """Runs a statement about databases."""
    with psycopg.connect(server.conninfo, autocommit=True) as conn:
        conn.execute(sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()}))
