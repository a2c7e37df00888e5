"""A stream to files: each event is there once, in the order of the log, whatever happens in between."""

import fcntl
import gzip
import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings as hypothesis_settings, strategies

from pgaudit import Settings, streams
from pgaudit.streams.destinations.file import Files
from pgaudit.testing.server import Server
from tests.support.kills import send_until_killed
from tests.support.small_disks import make_read_only, small_disk
from tests.support.streams import append, fresh_directory, lines, send_all
from tests.support.waiting import wait_until_async
from tests.support.worker import working


def add(conn: psycopg.Connection, directory: Path, options: str = "", name: str = "archive", *, ordered: bool = False) -> None:
    """Adds a stream to a directory, from the beginning of the log."""
    streams.add(conn, name, to=f"file:{directory}{options}", start=0, ordered=ordered)


def indexes(directory: Path) -> list[int]:
    """Returns the indexes in the files, compressed ones too, in the order of their names."""
    found: list[int] = []
    for path in sorted(directory.glob("*.ndjson*")):
        content = path.read_bytes()
        text = gzip.decompress(content) if path.suffix == ".gz" else content
        found += [json.loads(line)["index"] for line in text.splitlines()]
    return found


def error_of(conn: psycopg.Connection, name: str = "archive") -> str:
    """Returns why a stream is paused or failing."""
    stream = streams.catalog.found(conn, name)
    return f"{stream.state}: {stream.pause_reason or stream.error}"


async def test_a_worker_sends_what_is_there_and_what_comes(dsn: str, settings: Settings, tmp_path: Path) -> None:
    """A worker sends what is in the log, then what comes."""
    append(dsn, 5)
    with psycopg.connect(dsn) as conn:
        add(conn, tmp_path / "out")
    async with working(settings):
        await wait_until_async("five events are there", lambda: len(lines(tmp_path / "out")) == 5)
        append(dsn, 3)
        await wait_until_async("eight events are there", lambda: len(lines(tmp_path / "out")) == 8)
    assert indexes(tmp_path / "out") == list(range(8))


def test_a_file_is_full_at_its_size_and_is_compressed(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """The next file begins with the first event behind the size; the one before is compressed."""
    add(admin, tmp_path, "?rotate_bytes=1&gzip=true")
    for _ in range(3):
        append(dsn, 2)
        send_all(dsn, "archive")
    assert sorted(path.name for path in tmp_path.glob("*.ndjson*")) == [
        f"{0:016d}.ndjson.gz", f"{2:016d}.ndjson.gz", f"{4:016d}.ndjson",
    ]  # fmt: skip
    assert indexes(tmp_path) == list(range(6))


def test_a_day_has_files_of_its_own(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """What is written on another day is in another file."""
    add(admin, tmp_path)
    append(dsn, 2)
    send_all(dsn, "archive")
    position = tmp_path / "position.json"
    position.write_text(json.dumps(json.loads(position.read_text()) | {"day": "2026-01-01"}))
    append(dsn, 2)
    send_all(dsn, "archive")
    assert sorted(path.name for path in tmp_path.glob("*.ndjson")) == [f"{0:016d}.ndjson", f"{2:016d}.ndjson"]


@pytest.mark.parametrize("form", ["cloudevents", "ocsf", "ecs"])
def test_events_have_the_form_of_the_stream(dsn: str, admin: psycopg.Connection, tmp_path: Path, form: str) -> None:
    """Each line is an event in that form."""
    append(dsn, 1)
    streams.add(admin, "archive", to=f"file:{tmp_path}", start=0, form=form)
    send_all(dsn, "archive")
    member = {"cloudevents": "specversion", "ocsf": "class_uid", "ecs": "@timestamp"}[form]
    assert member in lines(tmp_path)[0]


@pytest.mark.parametrize("moment", range(1, 40))
def test_a_worker_that_is_killed_leaves_no_event_twice(
    dsn: str, admin: psycopg.Connection, tmp_path: Path, moment: int
) -> None:
    """SIGKILL at each moment: in the middle of a file, before and after each fsync, rename, and move of the position."""
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
        add(conn, directory, f"?rotate_bytes={chance.choice([1, 2000, 10**6])}&gzip=true", ordered=chance.random() < 0.5)
        count = 0
        for _ in range(4):
            number = chance.randint(1, 30)
            append(dsn, number)
            count += number
            while chance.random() < 0.7:
                send_until_killed(dsn, "archive", chance.randint(1, 60))
        send_all(dsn, "archive")
        assert indexes(directory) == list(range(count))
        assert streams.catalog.found(conn, "archive").next_index == count


def test_a_full_disk_loses_nothing(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """On a full disk the stream fails and goes on when there is room again: no event is lost, none is there twice."""
    with small_disk(tmp_path / "disk", 64) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 40_000)
        add(admin, disk / "out")
        append(dsn, 60)
        send_all(dsn, "archive")
        assert error_of(admin) == f"failing: {disk}/out cannot be written: No space left on device"
        ballast.unlink()
        streams.resume(admin, "archive")
        send_all(dsn, "archive")
        assert indexes(disk / "out") == list(range(60))


def test_a_disk_that_is_read_only_for_a_while_loses_nothing(
    dsn: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    """The stream fails while it cannot write, and goes on afterwards."""
    with small_disk(tmp_path / "disk", 256) as disk:
        add(admin, disk / "out")
        append(dsn, 2)
        send_all(dsn, "archive")
        append(dsn, 2)
        make_read_only(disk, read_only=True)
        send_all(dsn, "archive")
        assert error_of(admin) == f"failing: {disk}/out cannot be written: Read-only file system"
        make_read_only(disk, read_only=False)
        streams.resume(admin, "archive")
        send_all(dsn, "archive")
        assert indexes(disk / "out") == list(range(4))


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
    """When the files are lost, the stream is set back, and writes all of them again."""
    add(admin, tmp_path / "out")
    append(dsn, 2)
    send_all(dsn, "archive")
    (tmp_path / "out").rename(tmp_path / "lost")
    streams.rewind(admin, "archive", 0)
    send_all(dsn, "archive")
    assert indexes(tmp_path / "out") == [0, 1]


def test_a_rewound_stream_writes_again_in_a_new_file(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """What is sent again on purpose is written again, beside what is there."""
    add(admin, tmp_path)
    append(dsn, 3)
    send_all(dsn, "archive")
    streams.rewind(admin, "archive", 0)
    send_all(dsn, "archive")
    append(dsn, 1)
    send_all(dsn, "archive")
    assert [len(path.read_text().splitlines()) for path in sorted(tmp_path.glob("*.ndjson"))] == [4, 3]
    assert sorted(indexes(tmp_path)) == [0, 0, 1, 1, 2, 2, 3]


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


def test_an_ordered_stream_writes_a_chunk_at_once(
    dsn: str, admin: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file refuses no event, so events of one target need not wait for each other: a chunk is one write."""
    monkeypatch.setattr(Files, "limits", replace(Files.limits, events=100))
    add(admin, tmp_path, ordered=True)
    append(dsn, 3)
    append(dsn, 3)  # about the same claims
    send_all(dsn, "archive")
    assert json.loads((tmp_path / "position.json").read_text())["first_index"] == 0


def test_a_position_that_cannot_be_read_is_named(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """A damaged note of the position is not taken for a new directory."""
    append(dsn, 2)
    add(admin, tmp_path)
    (tmp_path / "position.json").write_text("{")
    send_all(dsn, "archive")
    assert f"paused: {tmp_path}/position.json cannot be read" in error_of(admin)
