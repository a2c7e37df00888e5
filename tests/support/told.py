"""A table whose trigger notes what ``audit.context`` says, and how often a connection waits for the server."""

import json
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import psycopg

TABLE: Final = """
    CREATE TABLE visits (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, visitor text NOT NULL, told text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.told := current_setting('audit.context', true);
        RETURN NEW;
    END $$;
    CREATE TRIGGER note BEFORE INSERT OR UPDATE ON visits FOR EACH ROW EXECUTE FUNCTION note();
"""
VISITS: Final = "SELECT visitor, told FROM visits ORDER BY id"


def create_table(dsn: str) -> None:
    """Creates the table."""
    with psycopg.connect(dsn) as conn:
        conn.execute(TABLE)


def visits(dsn: str) -> list[tuple[str, str | None]]:
    """Returns the visitor of each row, and the actor that its last change was told of."""
    with psycopg.connect(dsn) as conn:
        return [(visitor, actor_of(told)) for visitor, told in conn.execute(VISITS)]


def actor_of(told: str | None) -> str | None:
    """Returns the actor that a text of the setting names; None for none."""
    actor: dict[str, Any] = json.loads(told or "{}").get("actor", {})
    return f"{actor['type']}:{actor['id']}" if actor else None


@contextmanager
def messages(pgconn: psycopg.pq.abc.PGconn) -> Generator[list[str]]:
    """Yields a list that has the messages of both sides when the block has ended, as libpq traces them."""
    seen: list[str] = []
    with tempfile.TemporaryFile() as file:
        pgconn.trace(file.fileno())
        try:
            yield seen
        finally:
            pgconn.untrace()
            file.seek(0)
            seen += file.read().decode("utf-8", "replace").splitlines()


def round_trips(seen: list[str]) -> int:
    """Returns how often the server was asked for an answer."""
    return sum("\tReadyForQuery" in line for line in seen)
