"""The route about the coverage: what it tells, and to whom."""

import httpx
import psycopg

from pgaudit.web.access import Scope
from tests.web.api.conftest import Opened, Staff

COVERAGE = "/api/v1/audit/coverage"
TABLES = """
    CREATE TABLE claims (id bigint PRIMARY KEY);
    CREATE TABLE payments (id bigint PRIMARY KEY);
    SELECT pgaudit.add_guard('payments', 'payment', '{id}', 'warn');
    INSERT INTO payments VALUES (7);
"""


def test_tables_and_unrecorded_changes_are_told(api: httpx.Client, conn: psycopg.Connection) -> None:
    """As `pgaudit coverage --json` tells them."""
    conn.execute(TABLES)
    conn.commit()
    told = api.get(COVERAGE).json()
    assert [(table["table_name"], table["guard"]) for table in told["tables"]] == [
        ("claims", None),
        ("payments", "guarded"),
    ]
    assert (told["unrecorded_changes"], told["latest"][0]["targets"]) == (1, ["payment:7"])


def test_it_is_for_those_who_see_the_whole_trail(as_user: Opened, conn: psycopg.Connection) -> None:
    """The targets are those of all tenants; masks apply."""
    conn.execute(TABLES)
    conn.commit()
    assert as_user(Staff(seen=Scope(query="tenant:north"))).get(COVERAGE).status_code == 403
    told = as_user(Staff(hidden=frozenset({"targets.id"}))).get(COVERAGE).json()
    assert told["latest"][0]["targets"] == ["payment:hidden"]
