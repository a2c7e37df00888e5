"""The files of a spool: concurrent writers, crashes, and permissions."""

import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from pgaudit import AuditEvent, Mode
from pgaudit.recording import replay, spool


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
        with spool.open_locked(path) as file:
            taken += [entry.event["id"] for entry in spool.read(file, path)]
            spool.replace(path, [])
        spool.remove_if_empty(path)
    return taken


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    """The partial line of a crashed process is cut off before the next event is appended."""
    path = spool.append(tmp_path, ['{"id": "first"}'], None)
    with path.open("a") as file:
        file.write('{"xid": null, "event": {"id": "ha')
    spool.append(tmp_path, ['{"id": "second"}'], None)
    with spool.open_locked(path) as locked:
        assert [entry.event["id"] for entry in spool.read(locked, path)] == ["first", "second"]


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
