"""What the owner of a database can do: changes behind the triggers, which are as before afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from tests.support.queries import Connection

TRIGGERS = """
    SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger
     WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace)
"""
STATES = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA", "D": "DISABLE"}


@contextmanager
def unguarded(conn: Connection) -> Iterator[None]:
    """Disables all triggers of the schema inside the block."""
    triggers = conn.execute(TRIGGERS).fetchall()
    for table, name, _ in triggers:
        set_trigger(conn, table, name, "DISABLE")
    yield
    for table, name, state in triggers:
        if conn.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,):
            set_trigger(conn, table, name, STATES[state])


def set_trigger(conn: Connection, table: str, name: str, state: str) -> None:
    """Enables or disables a trigger, of this table alone and not of its partitions."""
    statement = sql.SQL("ALTER TABLE ONLY {} {} TRIGGER {}")
    conn.execute(statement.format(sql.SQL(table), sql.SQL(state), sql.Identifier(name)))


def tamper(conn: Connection, *statements: str) -> None:
    """Runs statements as the owner, behind the triggers, and commits."""
    with conn.transaction(), unguarded(conn):
        for statement in statements:
            conn.execute(sql.SQL(statement))
    conn.commit()
