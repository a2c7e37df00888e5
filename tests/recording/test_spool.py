"""PGAUDIT_ON_FAILURE=spool: the change is committed, and its event is recorded later, once."""

import json
import logging
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import AuditLog, InvalidEvent, OnFailure, Settings
from pgaudit.errors import SpoolUnreadable
from pgaudit.recording import replay, spool
from pgaudit.recording.replay import Replayed
from tests.support.audit_log import logged_ids
from tests.support.events import event
from tests.support.jobs import persist_and_commit, queued_ids
from tests.support.queries import Connection


@pytest.fixture
def spooling(dsn: str, tmp_path: Path) -> Settings:
    """Settings that spool."""
    return Settings(dsn=dsn, on_failure="spool", spool_dir=tmp_path / "spool")


@pytest.fixture
def owner(dsn: str, spooling: Settings) -> Any:
    """Another connection, in autocommit, to a database with a table of claims, in which pgaudit.record is broken."""
    assert spooling.dsn == dsn
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute("CREATE TABLE claims (id integer PRIMARY KEY)")
        break_record(owner)
        yield owner


def break_record(owner: Connection) -> None:
    """Renames pgaudit.record, so that recording fails."""
    owner.execute("ALTER FUNCTION pgaudit.record RENAME TO broken_record")


def repair_record(owner: Connection) -> None:
    """Gives pgaudit.record its name back."""
    owner.execute("ALTER FUNCTION pgaudit.broken_record RENAME TO record")


def claims(owner: Connection) -> list[int]:
    """Returns the changes that were committed."""
    return [number for (number,) in owner.execute("SELECT id FROM claims ORDER BY id").fetchall()]


def file_of(settings: Settings) -> Path:
    """Returns the one file of the spool."""
    (path,) = spool.files(settings.spool_dir)
    return path


def spooled(settings: Settings) -> list[str]:
    """Returns the ids of the events in the spool."""
    lines = [line for path in spool.files(settings.spool_dir) for line in path.read_text().split("\n") if line]
    return [json.loads(line)["event"]["id"] for line in lines]


def change_and_record(conn: Connection, settings: Settings, number: int) -> str:
    """Makes a change and records its event, in the open transaction; returns the event's id."""
    conn.execute("INSERT INTO claims VALUES (%s)", [number])
    AuditLog(settings).record(conn, made := event(number))
    return str(made.id)


def test_a_failed_recording_does_not_fail_the_change(
    conn: Connection, owner: Connection, spooling: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The event is in a file that only its owner can read, and the log has an ERROR with the event's id."""
    identity = change_and_record(conn, spooling, 1)
    conn.execute("INSERT INTO claims VALUES (2)")
    conn.commit()
    assert claims(owner) == [1, 2]
    assert spooled(spooling) == [identity]
    assert file_of(spooling).stat().st_mode & 0o777 == 0o600
    (entry,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert vars(entry)["action"] == "event_spooled"
    assert vars(entry)["events"] == [identity]


def test_replay_records_each_event_once_however_often_it_is_run(
    conn: Connection, owner: Connection, spooling: Settings
) -> None:
    """Replay empties the file; if the file is restored and replayed again, the log still has each event once."""
    made = [change_and_record(conn, spooling, number) for number in range(3)]
    conn.commit()
    path = file_of(spooling)
    content = path.read_bytes()
    repair_record(owner)
    assert replay.replay(owner, path) == Replayed(recorded=3, rolled_back=0, pending=0)
    assert replay.replay(owner, path) == Replayed(recorded=0, rolled_back=0, pending=0)
    path.write_bytes(content)
    assert replay.replay(owner, path) == Replayed(recorded=3, rolled_back=0, pending=0)
    assert persist_and_commit(conn) == []
    assert [str(identity) for identity in logged_ids(conn)] == made
    assert path.read_bytes() == b""


def test_the_event_of_a_rolled_back_change_is_dropped(conn: Connection, owner: Connection, spooling: Settings) -> None:
    """Replay drops events whose transaction was rolled back."""
    change_and_record(conn, spooling, 1)
    conn.rollback()
    repair_record(owner)
    assert replay.replay(owner, file_of(spooling)) == Replayed(recorded=0, rolled_back=1, pending=0)
    assert claims(owner) == []
    assert queued_ids(owner) == []
    assert spooled(spooling) == []


def test_the_event_of_an_open_transaction_stays(conn: Connection, owner: Connection, spooling: Settings) -> None:
    """Replay keeps events of an open transaction for the next replay."""
    identity = change_and_record(conn, spooling, 1)
    repair_record(owner)
    assert replay.replay(owner, file_of(spooling)) == Replayed(recorded=0, rolled_back=0, pending=1)
    assert spooled(spooling) == [identity]
    conn.commit()
    assert replay.replay(owner, file_of(spooling)) == Replayed(recorded=1, rolled_back=0, pending=0)
    assert [str(each) for each in queued_ids(owner)] == [identity]


def test_the_event_of_a_transaction_unknown_to_the_server_is_recorded(conn: Connection, spooling: Settings) -> None:
    """An xid that the server does not know, as after a restore, counts as committed."""
    made = event()
    spool.append(spooling.spool_dir, [made.to_json()], "999999999999")
    replay.replay_all(spooling.dsn, spooling)
    assert queued_ids(conn) == [made.id]


def test_replay_all_takes_every_file_and_leaves_none(conn: Connection, owner: Connection, spooling: Settings) -> None:
    """replay_all replays each file, and removes those that are empty."""
    made = change_and_record(conn, spooling, 1)
    conn.commit()
    file_of(spooling).rename(spooling.spool_dir / "other-host-1.ndjson")
    other = change_and_record(conn, spooling, 2)
    repair_record(owner)
    replay.replay_all(spooling.dsn, spooling)
    assert spooled(spooling) == [other]
    conn.commit()
    replay.replay_all(spooling.dsn, spooling)
    assert spool.files(spooling.spool_dir) == []
    assert [str(each) for each in queued_ids(owner)] == [made, other]


@pytest.mark.parametrize("line", ["not json", "[]", '{"xid": null}', '{"event": "x"}', '{"event": {"id"'])
def test_an_invalid_line_stops_the_replay(conn: Connection, owner: Connection, spooling: Settings, line: str) -> None:
    """The error names file and line; nothing is recorded, and the file stays as it is."""
    change_and_record(conn, spooling, 1)
    conn.commit()
    repair_record(owner)
    path = file_of(spooling)
    path.write_text(content := path.read_text() + line + "\n")
    with pytest.raises(SpoolUnreadable, match=rf"{path.name}:2 is no spooled event"):
        replay.replay(owner, path)
    assert queued_ids(owner) == []
    assert path.read_text() == content


def test_replay_needs_autocommit(conn: Connection, owner: Connection, spooling: Settings) -> None:
    """In a caller's transaction the file would be emptied before its events are committed."""
    change_and_record(conn, spooling, 1)
    conn.commit()
    repair_record(owner)
    with pytest.raises(ValueError, match="autocommit"):
        replay.replay(conn, file_of(spooling))
    assert len(spooled(spooling)) == 1


def test_an_invalid_event_is_not_spooled(conn: Connection, owner: Connection, spooling: Settings) -> None:
    """Only errors of the database are spooled; an invalid event raises."""
    strict = spooling.model_copy(update={"max_event_bytes": 1_024})
    made = event().model_copy(update={"reason": "x" * 2_000})
    with pytest.raises(InvalidEvent):
        AuditLog(strict).record(conn, made)
    with pytest.raises(InvalidEvent):
        AuditLog(strict).record_autonomous(made)
    assert spool.files(spooling.spool_dir) == []
    assert claims(owner) == []


def test_a_broken_connection_raises(conn: Connection, owner: Connection, spooling: Settings) -> None:
    """An event on a broken connection is not spooled, because its change is lost, too."""
    conn.execute("INSERT INTO claims VALUES (1)")
    owner.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        AuditLog(spooling).record(conn, event())
    assert spool.files(spooling.spool_dir) == []


async def test_record_async_spools(owner: Connection, spooling: Settings) -> None:
    """record_async spools an event that cannot be recorded."""
    async with await psycopg.AsyncConnection.connect(spooling.dsn) as caller:
        await caller.execute("INSERT INTO claims VALUES (1)")
        await AuditLog(spooling).record_async(caller, made := event(1))
    assert claims(owner) == [1]
    assert spooled(spooling) == [str(made.id)]
    repair_record(owner)
    assert replay.replay(owner, file_of(spooling)).recorded == 1


async def test_autonomous_events_are_spooled_while_the_database_is_down(conn: Connection, spooling: Settings) -> None:
    """Autonomous events are spooled while the database is down; by default they raise."""
    down = spooling.model_copy(update={"dsn": "host=127.0.0.1 port=1 connect_timeout=2"})
    AuditLog(down).record_autonomous(first := event(1))
    await AuditLog(down).record_autonomous_async(second := event(2))
    for_raise = AuditLog(down.model_copy(update={"on_failure": OnFailure.RAISE}))
    with pytest.raises(psycopg.OperationalError):
        for_raise.record_autonomous(event(3))
    with pytest.raises(psycopg.OperationalError):
        await for_raise.record_autonomous_async(event(3))
    replay.replay_all(spooling.dsn, spooling)
    assert queued_ids(conn) == [first.id, second.id]
