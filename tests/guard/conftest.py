"""Tables of an application: captured, guarded, and neither."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.queries import Connection

TABLES = """
    CREATE TABLE claims (id bigint PRIMARY KEY, status text);
    CREATE TABLE payments (id bigint PRIMARY KEY, amount numeric);
    CREATE TABLE notes (id bigint PRIMARY KEY, body text);
    SELECT pgaudit.add_capture('claims', 'claim', '{id}');
    SELECT pgaudit.add_guard('payments', 'payment', '{id}', 'warn');
"""
CLAIMS = """
    CREATE TABLE claims (id bigint PRIMARY KEY, tenant text, status text, amount numeric, iban text, at timestamptz);
    CREATE SCHEMA insurance;
    CREATE TABLE insurance.claims (id bigint PRIMARY KEY, status text);
    CREATE TABLE "Odd name" (id bigint PRIMARY KEY)
"""


@pytest.fixture
def shop(dsn: str) -> Iterator[Connection]:
    """A session in autocommit; claims are captured, payments guarded with a warning, notes neither."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(TABLES)
        yield conn


@pytest.fixture
def small(conn: Connection) -> Connection:
    """A connection to an empty log with partitions of 256 events."""
    make_small_partitions_and_commit(conn)
    return conn


@pytest.fixture
def owner(dsn: str) -> Iterator[Connection]:
    """A session in autocommit, and tables of the application."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(CLAIMS)
        yield conn
