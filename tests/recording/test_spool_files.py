"""The files of a spool: concurrent writers, crashes, and permissions."""

import json
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import psycopg
import pytest

from pgaudit import AuditEvent, Mode, Settings
from pgaudit.errors import SpoolFull, SpoolRefused
from pgaudit.recording import _spool_file, replay, spool
from pgaudit.recording._spool_file import open_locked
from pgaudit.recording.spool import Spooled


def append_many(directory: Path, process: int) -> None:
    """Appends a hundred events from two threads, and counts the spooled events meanwhile."""

    def append(number: int) -> None:
        spool.append(directory, [json.dumps({"id": f"{process}-{number}"})], None)
        assert 0 <= spool.count(directory) <= 300

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(append, range(100)))


def test_concurrent_appends_lose_nothing(tmp_path: Path) -> None:
    """Three processes append while their files are emptied and removed again and again."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=append_many, args=(tmp_path, number)) for number in range(3)]
    for process in processes:
        process.start()
    taken: list[str] = []
    while any(process.is_alive() for process in processes):
        taken += take_all(tmp_path)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    taken += take_all(tmp_path)
    assert sorted(taken) == sorted(f"{process}-{number}" for process in range(3) for number in range(100))
    assert list(tmp_path.iterdir()) == []


def take_all(directory: Path) -> list[str]:
    """Removes all events from the spool, as a replay does; returns their ids."""
    taken: list[str] = []
    for path in spool.files(directory):
        with open_locked(path) as file:
            taken += [Spooled.from_line(line).event["id"] for line in file]
            _spool_file.replace_lines(path, [])
        spool.remove_if_empty(path)
    return taken


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    """The partial line of a crashed process is cut off before the next event is appended."""
    path = spool.append(tmp_path, ['{"id": "first"}'], None)
    with path.open("a") as file:
        file.write('{"xid": null, "event": {"id": "ha')
    spool.append(tmp_path, ['{"id": "second"}'], None)
    assert [Spooled.from_line(line).event["id"] for line in path.read_bytes().splitlines()] == ["first", "second"]


def test_a_spool_is_for_its_owner_alone(dsn: str, tmp_path: Path) -> None:
    """Only the owner can read the files and the directory, before and after a replay."""
    path = spool.append(tmp_path / "spool", [AuditEvent(action="claim.approved").to_json()], None)
    modes = [path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777]
    with psycopg.connect(dsn, autocommit=True) as conn:
        replay.replay(conn, path)
    assert [*modes, path.stat().st_mode & 0o777] == [0o600, 0o700, 0o600]


def test_a_replay_inline_needs_no_worker(dsn: str, tmp_path: Path) -> None:
    """A replay in inline mode appends to the log."""
    path = spool.append(tmp_path, [AuditEvent(action="claim.approved").to_json()], None)
    with psycopg.connect(dsn, autocommit=True) as conn:
        replay.replay(conn, path, Mode.INLINE)
        assert conn.execute("SELECT size FROM pgaudit.log_head").fetchone() == (1,)


DOCUMENT = '{"id": "one"}'


def test_a_large_file_is_appended_to_without_being_read(tmp_path: Path) -> None:
    """Behind a line of 20 MB and half a line, no more is read than from there back to its beginning."""
    path = spool.append(tmp_path, [DOCUMENT] * 10_000, None)
    before = path.read_bytes()
    with path.open("ab") as file:
        file.write(b"x" * 200_000)
    with open_locked(path) as file:
        counting = CountingFile(file)
        assert _spool_file.go_to_end(counting) == len(before)  # type: ignore[arg-type]
    assert counting.bytes_read <= 200_000 + 2 * _spool_file.BLOCK
    assert path.read_bytes() == before


class CountingFile:
    """A file that counts the bytes that are read from it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes_read = 0
        self.seek, self.fileno = file.seek, file.fileno

    def read(self, size: int) -> bytes:
        """Reads bytes, and counts them."""
        self.bytes_read += size
        return self._file.read(size)


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    """Neither a linked file, nor a linked directory, nor what a replay would put beside is followed."""
    victim = tmp_path / "victim"
    victim.write_text("keep me\nand me")
    directory = tmp_path / "spool"
    path = spool.append(directory, [DOCUMENT], None)
    path.with_suffix(".new").symlink_to(victim)
    with open_locked(path):
        _spool_file.replace_lines(path, [])
    path.unlink()
    path.symlink_to(victim)
    with pytest.raises(SpoolRefused, match="symbolic link"):
        spool.append(directory, [DOCUMENT], None)
    (tmp_path / "link").symlink_to(directory)
    with pytest.raises(SpoolRefused, match="symbolic link"):
        spool.append(tmp_path / "link", [DOCUMENT], None)
    assert victim.read_text() == "keep me\nand me"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o702])
def test_a_directory_that_others_can_write_to_is_refused(dsn: str, tmp_path: Path, mode: int) -> None:
    """Others could put events into it: nothing is appended to it, and nothing of it is replayed."""
    directory = tmp_path / "spool"
    spool.append(directory, [AuditEvent(action="claim.forged").to_json()], None)
    directory.chmod(mode)
    with pytest.raises(SpoolRefused, match="chmod 700"):
        spool.append(directory, [DOCUMENT], None)
    with pytest.raises(SpoolRefused, match="chmod 700"):
        replay.replay_all(dsn, Settings(dsn=dsn, spool_dir=directory))
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT count(*) FROM pgaudit.audit_jobs").fetchone() == (0,)


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool in another user's directory is refused, because that user could put events into it."""
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(SpoolRefused, match="belongs to user"):
        spool.append(tmp_path, [DOCUMENT], None)


def test_a_full_spool_refuses_what_would_not_fit(tmp_path: Path) -> None:
    """The limit counts all files, and nothing is written beyond it."""
    path = spool.append(tmp_path, [DOCUMENT], None)
    (tmp_path / "other.ndjson").write_text("x" * 1_000)
    with pytest.raises(SpoolFull, match="PGAUDIT_SPOOL_MAX_BYTES"):
        spool.append(tmp_path, [DOCUMENT], None, max_bytes=1_100)
    assert len(path.read_text().splitlines()) == 1


def test_the_events_of_a_large_file_are_estimated(tmp_path: Path) -> None:
    """Counting reads a megabyte of a file, however large it is."""
    spool.append(tmp_path, [DOCUMENT] * 30_000, None)
    assert spool.count(tmp_path) == pytest.approx(30_000, rel=0.01)
