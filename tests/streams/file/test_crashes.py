"""A stream to files, and workers that die: each event is there once, in the order of the log."""

import fcntl
import os
import random
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings

from pgaudit import streams
from pgaudit.testing.server import Server
from tests.streams.file.directory import add, error_of, indexes
from tests.support.kills import send_until_killed
from tests.support.streams import append, fresh_directory, send_all


@pytest.mark.parametrize("moment", range(1, 40))
def test_a_worker_that_is_killed_leaves_no_event_twice(
    dsn: str, admin: psycopg.Connection, tmp_path: Path, moment: int
) -> None:
    """SIGKILL at each moment: in the middle of a file, around each fsync, rename, and move of the position."""
    add(admin, tmp_path, "?rotate_bytes=3000&gzip=true")
    append(dsn, 18)
    assert send_until_killed(dsn, "archive", moment)
    send_all(dsn, "archive")
    assert indexes(tmp_path) == list(range(18))


@hypothesis_settings(max_examples=10, deadline=None)
@given(seed=strategies.integers(0, 2**32))
def test_any_history_of_kills_has_each_event_once(server: Server, seed: int) -> None:
    """Appending, killing and sending in any order: at the end, each event is there once, in the order of the log."""
    chance = random.Random(seed)
    with fresh_directory(server) as (dsn, directory), psycopg.connect(dsn, autocommit=True) as conn:
        add(
            conn, directory, f"?rotate_bytes={chance.choice([1, 2000, 10**6])}&gzip=true", ordered=chance.random() < 0.5
        )
        count = 0
        for _ in range(4):
            number = chance.randint(1, 30)
            append(dsn, number)
            count += number
            while chance.random() < 0.7:
                send_until_killed(dsn, "archive", chance.randint(1, 60))
        send_all(dsn, "archive")
        assert indexes(directory) == list(range(count))
        assert streams.catalog.get_stream(conn, "archive").next_index == count


def test_a_rewound_stream_that_is_killed_writes_each_event_once(
    dsn: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    """A crash in the first chunk after a rewind is told from another rewind."""
    add(admin, tmp_path)
    append(dsn, 3)
    send_all(dsn, "archive")
    streams.rewind(admin, "archive", 0)
    assert send_until_killed(dsn, "archive", 11)  # before the position moves
    send_all(dsn, "archive")
    assert sorted(indexes(tmp_path)) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("moment", range(1, 27))
def test_a_stream_that_is_set_back_after_a_crash_leaves_whole_lines(
    dsn: str, admin: psycopg.Connection, tmp_path: Path, moment: int
) -> None:
    """What a crash has left at the end of a file is removed when the stream goes on in another one."""
    add(admin, tmp_path)
    append(dsn, 10)
    assert send_until_killed(dsn, "archive", moment)
    streams.rewind(admin, "archive", 0)
    send_all(dsn, "archive")
    assert set(indexes(tmp_path)) == set(range(10))


def test_another_process_that_still_writes_is_awaited(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """A worker that has lost its connection may still write: the next one waits until it is done."""
    append(dsn, 2)
    add(admin, tmp_path)
    directory = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    send_all(dsn, "archive")
    assert error_of(admin) == f"failing: another process writes to {tmp_path}"
    os.close(directory)
    streams.resume(admin, "archive")
    send_all(dsn, "archive")
    assert indexes(tmp_path) == [0, 1]
