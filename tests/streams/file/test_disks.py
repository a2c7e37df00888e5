"""A stream to files, and what happens to the disk, the directory and the files."""

import os
from pathlib import Path

import psycopg

from pgaudit import streams
from tests.streams.file.directory import add, error_of, indexes
from tests.support.file_limits import files_limited_to
from tests.support.streams import append, send_all


def test_a_disk_that_is_full_for_a_while_loses_nothing(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """A line that was written in part is written again when there is room: each event is there once."""
    add(admin, tmp_path / "out")
    append(dsn, 60)
    with files_limited_to(20_000):
        send_all(dsn, "archive")
    assert error_of(admin) == f"failing: {tmp_path}/out cannot be written: File too large"
    streams.resume(admin, "archive")
    send_all(dsn, "archive")
    assert indexes(tmp_path / "out") == list(range(60))


def test_a_disk_that_takes_nothing_for_a_while_loses_nothing(
    dsn: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    """The note of the position cannot be written either: the stream goes on from the one that is there."""
    add(admin, tmp_path / "out")
    append(dsn, 2)
    send_all(dsn, "archive")
    append(dsn, 2)
    with files_limited_to(0):
        send_all(dsn, "archive")
    assert error_of(admin) == f"failing: {tmp_path}/out cannot be written: File too large"
    streams.resume(admin, "archive")
    send_all(dsn, "archive")
    assert indexes(tmp_path / "out") == list(range(4))


def test_a_directory_that_is_gone_is_not_begun_anew(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """A file system that is not mounted looks like an empty directory: the stream fails until it is there again."""
    add(admin, tmp_path / "out")
    append(dsn, 2)
    send_all(dsn, "archive")
    (tmp_path / "out").rename(tmp_path / "away")
    (tmp_path / "out").mkdir()
    append(dsn, 2)
    send_all(dsn, "archive")
    assert "is the file system mounted" in error_of(admin)
    (tmp_path / "out").rmdir()
    (tmp_path / "away").rename(tmp_path / "out")
    streams.resume(admin, "archive")
    send_all(dsn, "archive")
    assert indexes(tmp_path / "out") == list(range(4))


def test_a_directory_that_is_removed_is_written_again_after_a_rewind(
    dsn: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    """When the files are lost, the stream is rewound, and writes all of them again."""
    add(admin, tmp_path / "out")
    append(dsn, 2)
    send_all(dsn, "archive")
    (tmp_path / "out").rename(tmp_path / "lost")
    streams.rewind(admin, "archive", 0)
    send_all(dsn, "archive")
    assert indexes(tmp_path / "out") == [0, 1]


def test_a_file_that_was_shortened_is_not_continued(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """Someone has removed events from the newest file: the stream is paused, and says which file it is."""
    append(dsn, 2)
    add(admin, tmp_path)
    send_all(dsn, "archive")
    file = next(tmp_path.glob("*.ndjson"))
    os.truncate(file, 10)
    append(dsn, 1)
    send_all(dsn, "archive")
    assert f"paused: {file} is shorter than what was written" in error_of(admin)


def test_a_file_that_was_moved_away_is_followed_by_a_new_one(
    dsn: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    """Files may be moved to another place at any time; ``position.json`` stays."""
    append(dsn, 2)
    add(admin, tmp_path)
    send_all(dsn, "archive")
    next(tmp_path.glob("*.ndjson")).unlink()
    append(dsn, 2)
    send_all(dsn, "archive")
    assert [path.name for path in tmp_path.glob("*.ndjson")] == [f"{2:016d}.ndjson"]


def test_a_position_that_cannot_be_read_is_named(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """A damaged note of the position is not taken for a new directory."""
    append(dsn, 2)
    add(admin, tmp_path)
    (tmp_path / "position.json").write_text("{")
    send_all(dsn, "archive")
    assert f"paused: {tmp_path}/position.json cannot be read" in error_of(admin)
