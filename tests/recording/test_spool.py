"""PGAUDIT_ON_FAILURE=spool: the change is committed, and its event is recorded later, once."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import AuditLog, InvalidEvent, OnFailure, Settings
from pgaudit.recording import replay, spool
from pgaudit.recording.replay import Replayed
from pgaudit.recording.spool import Origin
from tests.support.audit_log import logged_ids
from tests.support.events import event
from tests.support.jobs import persist_and_commit, queued_ids
from tests.support.queries import Connection
from tests.support.spool import break_record, repair_record, spooled_lines


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


def this_cluster(conn: Connection) -> tuple[str, str]:
    """The server's system identifier and timeline, as a spooled line names them."""
    query = "SELECT system_identifier::text, left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()"
    cluster, timeline = conn.execute(query).fetchone() or ("", "")
    return str(cluster), str(timeline)


def claims(owner: Connection) -> list[int]:
    """Returns the changes that were committed."""
    return [number for (number,) in owner.execute("SELECT id FROM claims ORDER BY id").fetchall()]


def file_of(settings: Settings) -> Path:
    """Returns the one file of the spool."""
    (path,) = spool.files(settings.spool_dir)
    return path


def spooled(settings: Settings) -> list[str]:
    """Returns the ids of the events in the spool."""
    assert settings.spool_dir is not None
    return [line["event"]["id"] for line in spooled_lines(settings.spool_dir)]


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
    cluster, timeline = this_cluster(conn)
    spool.append(spooling.require_spool_dir(), [made.to_json()], Origin("999999999999", cluster, timeline))
    replay.replay_all(spooling.dsn, spooling)
    assert queued_ids(conn) == [made.id]


def test_replay_all_takes_every_file_and_leaves_none(conn: Connection, owner: Connection, spooling: Settings) -> None:
    """replay_all replays each file, and removes those that are empty."""
    made = change_and_record(conn, spooling, 1)
    conn.commit()
    file_of(spooling).rename(file_of(spooling).with_name("other-host-1.ndjson"))
    other = change_and_record(conn, spooling, 2)
    repair_record(owner)
    replay.replay_all(spooling.dsn, spooling)
    assert spooled(spooling) == [other]
    conn.commit()
    replay.replay_all(spooling.dsn, spooling)
    assert spool.files(spooling.spool_dir) == []
    assert [str(each) for each in queued_ids(owner)] == [made, other]


@pytest.mark.parametrize("field", ["cluster", "timeline"])
def test_a_transaction_of_another_cluster_counts_as_committed(conn: Connection, spooling: Settings, field: str) -> None:
    """The transaction of that number here is another one: rather an event too many than one lost."""
    with psycopg.connect(spooling.dsn) as other:
        rolled_back = str(other.execute("SELECT pg_current_xact_id()::text").fetchone()[0])  # type: ignore[index]
        other.rollback()
    here = Origin(rolled_back, *this_cluster(conn))
    elsewhere = replace(here, **{field: "0000000F"})
    spool.append(spooling.require_spool_dir(), [event(1).to_json()], here)
    spool.append(spooling.require_spool_dir(), [(kept := event(2)).to_json()], elsewhere)
    replay.replay_all(spooling.dsn, spooling)
    assert queued_ids(conn) == [kept.id]


BAD_LINES = ["not json", "[]", '{"xid": null}', '{"event": "x"}', '{"event": {"id"', '{"event": {"action": "no id"}}']


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_set_aside_and_blocks_no_other(
    conn: Connection, owner: Connection, spooling: Settings, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    """The line is moved to a file beside; the log names file and number, not the line's content."""
    first = change_and_record(conn, spooling, 1)
    conn.commit()
    path = file_of(spooling)
    path.write_text(line + "\n" + path.read_text())
    last = change_and_record(conn, spooling, 2)
    conn.commit()
    repair_record(owner)
    assert replay.replay(owner, path) == Replayed(recorded=2, rolled_back=0, pending=0, refused=1)
    assert [str(each) for each in queued_ids(owner)] == [first, last]
    assert path.read_text() == ""
    assert path.with_suffix(".refused").read_text() == line + "\n"
    assert f"{path} cannot be recorded" in caplog.text
    assert "line 1: " in caplog.text
    assert line not in caplog.text


def test_a_refused_line_that_was_corrected_is_replayed(conn: Connection, owner: Connection, spooling: Settings) -> None:
    """The file of refused lines can be replayed itself; what is still refused stays in it."""
    repair_record(owner)
    made = event(1)
    refused = spool.append(spooling.require_spool_dir(), [made.to_json()], None).rename(
        spooling.require_spool_dir() / "web1-7.refused"
    )
    with refused.open("a") as file:
        file.write("still wrong\n")
    assert replay.replay(owner, refused) == Replayed(recorded=1, rolled_back=0, pending=0, refused=1)
    assert queued_ids(conn) == [made.id]
    assert refused.read_text() == "still wrong\n"


def test_refused_events_among_many_are_found(conn: Connection, owner: Connection, spooling: Settings) -> None:
    """Of 2,500 events in a file, the three that the database refuses are set aside; all others are recorded."""
    directory = spooling.require_spool_dir()
    documents = [event(number).to_json() for number in range(2_500)]
    for number in (0, 1_234, 2_499):
        documents[number] = json.dumps(json.loads(documents[number]) | {"action": "no dot"})
    path = spool.append(directory, documents, None)
    repair_record(owner)
    assert replay.replay(owner, path) == Replayed(recorded=2_497, rolled_back=0, pending=0, refused=3)
    assert len(queued_ids(conn)) == 2_497
    assert len(path.with_suffix(".refused").read_text().splitlines()) == 3


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
