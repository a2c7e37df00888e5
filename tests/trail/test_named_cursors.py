"""Cursors under a name: the application reads on where it has ended, and what it does for an event is done once."""

import threading
from collections.abc import Iterator

import asyncpg
import psycopg
import pytest

from pgaudit import grants, trail
from pgaudit.errors import InvalidCursor
from pgaudit.testing.database import url_of
from tests.support.queries import Connection
from tests.support.streams import append


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    """A connection, and ten events in the log."""
    append(dsn, 10)
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE handled (index bigint)")
        conn.commit()
        yield conn


def handle(conn: Connection, limit: int = 1_000) -> list[int]:
    """Handles the next events in the connection's transaction: notes the index of each."""
    cursor = trail.cursor(conn, "siem", start=0)
    entries = cursor.read(limit)
    for entry in entries:
        conn.execute("INSERT INTO handled VALUES (%s)", [entry.index])
    cursor.advance()
    return [entry.index for entry in entries]


def handled(conn: Connection) -> list[int]:
    """Returns the indexes of the events that were handled."""
    return [index for (index,) in conn.execute("SELECT index FROM handled ORDER BY index").fetchall()]


def test_goes_on_where_it_has_ended(conn: Connection) -> None:
    """Each call gets the next events; at the end of the log there are none."""
    assert [handle(conn, 4), handle(conn, 4), handle(conn, 4), handle(conn, 4)] == [
        [0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [],
    ]  # fmt: skip


def test_rollback_moves_nothing(conn: Connection) -> None:
    """Events whose transaction was rolled back are read again: their effects and the position are one."""
    handle(conn, 4)
    conn.commit()
    handle(conn, 4)
    conn.rollback()
    handle(conn)
    conn.commit()
    assert handled(conn) == list(range(10))


def test_two_processes(dsn: str, conn: Connection) -> None:
    """A second process waits for the first one's transaction, and goes on behind it."""
    trail.cursor(conn, "siem", start=0)
    conn.commit()
    handle(conn, 6)

    def other() -> None:
        with psycopg.connect(dsn) as own:
            handle(own)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    conn.commit()
    thread.join(10)
    assert handled(conn) == list(range(10))


def test_moved_meanwhile(dsn: str, conn: Connection) -> None:
    """Without a transaction nothing is locked: a cursor that another process has moved is not moved back."""
    with psycopg.connect(dsn, autocommit=True) as one, psycopg.connect(dsn, autocommit=True) as other:
        cursor = trail.cursor(one, "siem", start=0)
        cursor.read(4)
        handle(other)
        with pytest.raises(InvalidCursor, match="moved meanwhile"):
            cursor.advance()
    assert handle(conn) == []


def test_begins_now(dsn: str, conn: Connection) -> None:
    """A cursor without a start has nothing of what is in the log already."""
    cursor = trail.cursor(conn, "fresh")
    assert cursor.read() == []
    append(dsn, 1)
    assert [entry.index for entry in cursor.read()] == [10]


def test_query(conn: Connection) -> None:
    """A cursor with a query reads what it finds, and moves past the rest."""
    cursor = trail.cursor(conn, "seven", "target:claim:7", start=0)
    assert [entry.index for entry in cursor.read()] == [7]
    cursor.advance()
    assert conn.execute("SELECT next_index, lag_events FROM pgaudit.stream_stats").fetchall() == [(10, 0)]
    with pytest.raises(InvalidCursor, match="has another query: target:claim:7"):
        trail.cursor(conn, "seven", "target:claim:8")


@pytest.mark.parametrize(
    ("name", "start", "reason"),
    [("SIEM", 0, "small letters"), ("", 0, "small letters"), ("siem", 11, "the log has 10 events")],
)
def test_invalid(conn: Connection, name: str, start: int, reason: str) -> None:
    """A name or a start that cannot be used is refused, and the transaction can go on."""
    with pytest.raises(InvalidCursor, match=reason):
        trail.cursor(conn, name, start=start)
    assert handled(conn) == []


def test_a_reader_cannot_fill_the_disk_with_queries(conn: Connection) -> None:
    """The function itself refuses what is no query that anybody types: a reader may call it without Python."""
    statement = "SELECT pgaudit.open_cursor('siem', repeat('a', 4001), 0)"
    assert conn.execute(statement).fetchone() == ("a query has at most 4,000 characters",)
    assert conn.execute("SELECT count(*) FROM pgaudit.stream").fetchone() == (0,)


def test_nothing_read(conn: Connection) -> None:
    """A cursor that has read nothing cannot be advanced."""
    with pytest.raises(InvalidCursor, match=r"call read\(\) first"):
        trail.cursor(conn, "siem", start=0).advance()


def test_older_backup(conn: Connection) -> None:
    """A cursor that is ahead of the log, or whose last event is another one, says that the log was restored."""
    handle(conn)
    conn.execute("UPDATE pgaudit.stream_position SET last_hash = '\\x00'")
    with pytest.raises(InvalidCursor, match=r"index 9 is not the one .* older backup"):
        handle(conn)
    conn.execute("UPDATE pgaudit.stream_position SET next_index = 99")
    with pytest.raises(InvalidCursor, match="index 99, but the log has 10 events"):
        handle(conn)


def test_reader(dsn: str, conn: Connection) -> None:
    """A reader, which can write to no table, has cursors; a stream to a destination it can neither read nor move."""
    conn.execute("CREATE ROLE cursor_reader LOGIN")
    grants.grant(conn, reader="cursor_reader")
    conn.execute("SELECT pgaudit.add_stream('out', 'destination', 'file:/x', '', 'native', false, false, 0)")
    conn.commit()
    try:
        with psycopg.connect(dsn, user="cursor_reader") as own:
            cursor = trail.cursor(own, "siem", start=0)
            assert len(cursor.read()) == 10
            cursor.advance()
            with pytest.raises(InvalidCursor, match="out is the name of a destination"):
                trail.cursor(own, "out")
            moved = own.execute("SELECT pgaudit.move_cursor('out', 0, 5, NULL, NULL, 0)").fetchone()
            assert moved == (False,)
    finally:
        conn.execute("DROP OWNED BY cursor_reader")
        conn.execute("DROP ROLE cursor_reader")
        conn.commit()


async def test_asynchronous(dsn: str, conn: Connection) -> None:
    """An asynchronous connection, of asyncpg too, has the same cursors."""
    other = await asyncpg.connect(url_of(dsn))
    async with other.transaction():
        cursor = await trail.cursor_async(other, "siem", start=0)
        assert len(await cursor.read_async(7)) == 7
        await cursor.advance_async()
    await other.close()
    assert handle(conn) == [7, 8, 9]
