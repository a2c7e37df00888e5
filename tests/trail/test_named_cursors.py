"""Cursors under a name: the application reads on where it has ended, and what it does for an event is done once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import psycopg
import pytest

from pgaudit import grants, streams, trail
from pgaudit.errors import InvalidCursor
from pgaudit.testing.database import url_of
from tests.support.queries import Connection
from tests.support.roles import temporary_roles
from tests.support.streams import append


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    """A connection, and ten events in the log."""
    append(dsn, 10)
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE handled (index bigint)")
        conn.commit()
        yield conn


@contextmanager
def readers(dsn: str, conn: Connection, *names: str) -> Iterator[None]:
    """Makes readers of these names."""
    with temporary_roles(dsn, *names):
        grants.grant(conn, reader=names)
        conn.commit()
        yield


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
    with readers(dsn, conn, "t_reads"), psycopg.connect(dsn, user="t_reads") as own:
        conn.execute("SELECT pgaudit.add_stream('out', 'destination', 'file:/x', '', 'native', false, false, 0)")
        conn.commit()
        cursor = trail.cursor(own, "siem", start=0)
        assert len(cursor.read()) == 10
        cursor.advance()
        for name in ("out", "cursor:t_reads:siem"):
            assert own.execute("SELECT pgaudit.move_cursor(%s, 0, 5, NULL, NULL, 0)", [name]).fetchone() == (False,)
            found = own.execute("SELECT problem FROM pgaudit.lock_cursor(%s)", [name]).fetchone()
            assert found == ("this role has none of that name",)


def test_a_cursor_belongs_to_its_role(dsn: str, conn: Connection) -> None:
    """Another reader has one of the same name, and can neither read that of the first nor move it."""
    with readers(dsn, conn, "t_one", "t_two"):
        with psycopg.connect(dsn, user="t_one", autocommit=True) as one:
            with one.transaction():
                first = trail.cursor(one, "siem", start=0)
                first.read(4)
                first.advance()
            with psycopg.connect(dsn, user="t_two", autocommit=True) as two:
                assert two.execute("SELECT pgaudit.move_cursor('siem', 4, 9, NULL, NULL, 0)").fetchone() == (False,)
                with two.transaction():
                    assert [entry.index for entry in trail.cursor(two, "siem", start=7).read()] == [7, 8, 9]
            assert [entry.index for entry in trail.cursor(one, "siem").read(1)] == [4]
        names = conn.execute("SELECT name FROM pgaudit.stream ORDER BY name").fetchall()
        assert names == [("cursor:t_one:siem",), ("cursor:t_two:siem",)]


def test_a_reader_cannot_take_the_name_of_a_stream(dsn: str, conn: Connection) -> None:
    """Whatever it calls its cursors, the owner can add a stream or a processor of that name."""
    with readers(dsn, conn, "t_reads"):
        with psycopg.connect(dsn, user="t_reads") as own:
            trail.cursor(own, "siem")
            for name in ("a:siem", "", "Siem"):
                with pytest.raises(InvalidCursor, match="the name of a cursor has"):
                    trail.cursor(own, name)
        assert streams.add(conn, "siem", to="file:/x").name == "siem"


def test_logins_that_come_and_go_have_a_cursor_in_common(dsn: str, conn: Connection) -> None:
    """It belongs to the role that they have set."""
    with readers(dsn, conn, "t_app", "t_monday", "t_tuesday"):
        conn.execute("GRANT t_app TO t_monday, t_tuesday")
        conn.commit()
        for user, expected in (("t_monday", [0, 1]), ("t_tuesday", [2, 3])):
            with psycopg.connect(dsn, user=user) as own:
                own.execute("SET ROLE t_app")
                cursor = trail.cursor(own, "siem", start=0)
                assert [entry.index for entry in cursor.read(2)] == expected
                cursor.advance()


def test_a_reader_cannot_fill_the_table_of_streams(dsn: str, conn: Connection) -> None:
    """A role has at most 100 cursors, and another one can go on."""
    with readers(dsn, conn, "t_one", "t_two"):
        with psycopg.connect(dsn, user="t_one") as one:
            one.execute("SELECT pgaudit.open_cursor('c' || n, '', 0) FROM generate_series(1, 100) n")
            with pytest.raises(InvalidCursor, match=r"100 cursors already: .*remove_stream\('cursor:t_one:NAME'\)"):
                trail.cursor(one, "another")
        with psycopg.connect(dsn, user="t_two") as two:
            trail.cursor(two, "another")


async def test_asynchronous(dsn: str, conn: Connection) -> None:
    """An asynchronous connection, of asyncpg too, has the same cursors."""
    other = await asyncpg.connect(url_of(dsn))
    async with other.transaction():
        cursor = await trail.cursor_async(other, "siem", start=0)
        assert len(await cursor.read_async(7)) == 7
        await cursor.advance_async()
    await other.close()
    assert handle(conn) == [7, 8, 9]
