"""A stream to files, and other events than those that are there: nothing is overwritten."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pgaudit import streams
from tests.streams.file.directory import add, error_of, indexes
from tests.support.streams import append, send_all


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_restored_backup_overwrites_nothing(
    dsn: str, admin: psycopg.Connection, backup: Callable[[], str], tmp_path: Path, count: int
) -> None:
    """After a restore, the log goes on with other events: the stream is paused, and the files stay as they are."""
    add(admin, tmp_path)
    append(dsn, 2)
    send_all(dsn, "archive")
    admin.close()
    restored = backup()
    append(dsn, 3)
    send_all(dsn, "archive")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    append(restored, count)
    send_all(restored, "archive")
    with psycopg.connect(restored, autocommit=True) as conn:
        reason = error_of(conn)
        assert reason.startswith(f"paused: {tmp_path} has events up to index 4 already")
        assert "restored from an older backup" in reason
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
        streams.rewind(conn, "archive", 2)
        streams.resume(conn, "archive")
    send_all(restored, "archive")
    assert sorted(indexes(tmp_path)) == sorted([*range(5), *range(2, 2 + count)])


def test_two_streams_cannot_share_a_directory(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """The second one is refused, and told whose directory it is."""
    append(dsn, 2)
    add(admin, tmp_path)
    send_all(dsn, "archive")
    add(admin, tmp_path, name="second")
    send_all(dsn, "second")
    assert error_of(admin, "second").startswith(f"paused: {tmp_path} has the files of the stream archive")
    assert indexes(tmp_path) == [0, 1]


def test_streams_of_two_databases_cannot_share_a_directory(
    dsn: str, admin: psycopg.Connection, backup: Callable[[], str], tmp_path: Path
) -> None:
    """A stream of the same name in another database is another stream."""
    other = backup_before(admin, backup)
    append(dsn, 2)
    append(other, 2)
    with psycopg.connect(dsn, autocommit=True) as first, psycopg.connect(other, autocommit=True) as second:
        add(first, tmp_path)
        send_all(dsn, "archive")
        add(second, tmp_path)
        send_all(other, "archive")
        append(dsn, 1)
        send_all(dsn, "archive")
        assert error_of(first).startswith("paused")


def backup_before(conn: psycopg.Connection, backup: Callable[[], str]) -> str:
    """Returns a copy of the database, to which nobody is connected."""
    conn.close()
    return backup()


def test_a_rewound_stream_writes_again_in_a_new_file(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """What is sent again on purpose is written again, beside what is there."""
    add(admin, tmp_path)
    append(dsn, 3)
    send_all(dsn, "archive")
    streams.rewind(admin, "archive", 0)
    send_all(dsn, "archive")
    append(dsn, 1)
    send_all(dsn, "archive")
    assert [len(path.read_text().splitlines()) for path in sorted(tmp_path.glob("*.ndjson"))] == [
        5,
        3,
    ]  # with that of the rewind
    assert sorted(indexes(tmp_path)) == [0, 0, 1, 1, 2, 2, 3, 4]
