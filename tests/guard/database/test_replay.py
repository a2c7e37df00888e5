"""A table can be rebuilt from its events, whatever statements have changed it."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.errors import CardinalityViolation, InvalidSavepointSpecification, UniqueViolation

from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.guard.database.column_types import NAMES, TABLE, TYPES, VALUES
from tests.guard.database.replay import assert_replayed, captured
from tests.support.queries import Connection

KEYS = range(1, 6)
SHAPES = {
    "plain": (f"CREATE TABLE claims ({TABLE}, PRIMARY KEY (id))",),
    "partitioned": (
        f"CREATE TABLE claims ({TABLE}, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
        "CREATE TABLE claims_low PARTITION OF claims FOR VALUES FROM (0) TO (3)",
        "CREATE TABLE claims_high PARTITION OF claims DEFAULT",
    ),
    "triggered": (
        f"CREATE TABLE claims ({TABLE}, PRIMARY KEY (id))",
        """CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               UPDATE claims SET "odd "" näme" = 'followed' WHERE id = NEW.id AND "odd "" näme" IS NULL;
               RETURN NULL; END $$""",
        "CREATE TRIGGER a_follow AFTER INSERT ON claims FOR EACH ROW EXECUTE FUNCTION follow()",
    ),
}
columns = st.sampled_from(sorted(NAMES))
keys = st.integers(min_value=KEYS[0], max_value=KEYS[-1])
condition = st.one_of(keys.map("id = {}".format), keys.map("id > {}".format), st.just("true"))


@st.composite
def assignments(draw: Callable[..., Any]) -> dict[str, str]:
    """Returns some columns, and a literal for each."""
    chosen = draw(st.lists(columns, min_size=1, max_size=4, unique=True))
    return {name: draw(st.sampled_from(("NULL", *VALUES[NAMES[name]]))) for name in chosen}


@st.composite
def inserts(draw: Callable[..., Any]) -> str:
    """Returns an INSERT of some rows, or an upsert."""
    values = draw(assignments())
    ids = draw(st.lists(keys, min_size=1, max_size=4, unique=True))
    rows = ", ".join(f"({', '.join((str(each), *values.values()))})" for each in ids)
    names = ", ".join(values)
    conflict = draw(
        st.sampled_from(("", "ON CONFLICT DO NOTHING", f"ON CONFLICT (id) DO UPDATE SET {updates(values)}"))
    )
    return f"INSERT INTO claims (id, {names}) VALUES {rows} {conflict}"


def updates(values: dict[str, str]) -> str:
    """Returns the assignments of an UPDATE."""
    return ", ".join(f"{name} = {value}" for name, value in values.items())


statements = st.one_of(
    inserts(),
    st.tuples(assignments(), condition).map(lambda given: f"UPDATE claims SET {updates(given[0])} WHERE {given[1]}"),
    st.tuples(keys, keys).map(lambda given: f"UPDATE claims SET id = {given[0]} WHERE id = {given[1]}"),
    condition.map(lambda given: f"DELETE FROM claims WHERE {given}"),
    st.sampled_from(
        ["TRUNCATE claims", "UPDATE claims SET id = id", "SAVEPOINT a", "ROLLBACK TO a", "COMMIT", "ROLLBACK"]
    ),
)


@pytest.fixture(scope="module", params=SHAPES)
def table(server: Server, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A captured table of each shape, with a column of each type, in a session with unusual settings."""
    with fresh_database(server) as database, psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute(TYPES)
        for statement in SHAPES[request.param]:
            conn.execute(statement.encode())
        conn.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
        conn.execute("""
            SET timezone = 'Asia/Kolkata'; SET datestyle = 'SQL, DMY'; SET intervalstyle = 'sql_standard';
            SET bytea_output = 'escape'; SET extra_float_digits = -10; SET search_path = public, pg_temp
        """)
        yield conn


def run(conn: Connection, statement: str) -> None:
    """Runs a statement. One that fails, such as a second row of one key, ends nothing but itself."""
    conn.execute("SAVEPOINT before_statement" if conn.info.transaction_status else "SELECT")
    try:
        conn.execute(statement.encode())
    except (UniqueViolation, InvalidSavepointSpecification, CardinalityViolation):
        if conn.info.transaction_status:
            conn.execute("ROLLBACK TO before_statement")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(script=st.lists(statements, min_size=5, max_size=25))
def test_the_events_rebuild_the_rows(table: Connection, script: list[str]) -> None:
    """After any statements, with savepoints and rollbacks."""
    table.execute("TRUNCATE claims")
    table.execute("BEGIN")
    for statement in script:
        run(table, statement)
        if not table.info.transaction_status:
            table.execute("BEGIN")
    table.execute("COMMIT")
    assert_replayed(table)


def test_each_value_of_each_type_is_captured_exactly(table: Connection) -> None:
    """Also where "=" takes two values for one: 1.0 and 1.00, 0 and -0, two boxes of one area."""
    table.execute("TRUNCATE claims")
    table.execute("INSERT INTO claims (id) VALUES (1)")
    for name, kind in NAMES.items():
        before = len(captured(table))
        for value in (*VALUES[kind], "NULL"):
            table.execute(f"UPDATE claims SET {name} = {value} WHERE id = 1".encode())
            assert_replayed(table)
        assert len(captured(table)) - before == len(VALUES[kind]) + 1, kind
