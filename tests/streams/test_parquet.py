"""A stream to Parquet: a file for each hour of the log, which DuckDB reads; each event is there once."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings

from docs.code.parquet_ import denied_by_day
from pgaudit import streams
from pgaudit.streams.destinations import parquet
from pgaudit.streams.request import Request
from pgaudit.streams.urls import StreamURL
from pgaudit.testing.server import Server
from tests.streams.forms.events import ENTRIES
from tests.support.kills import send_until_killed
from tests.support.queries import LOG_SIZE, value_in
from tests.support.streams import append, fresh_directory, send_all

MORNING = datetime(2026, 11, 27, 8, 15, tzinfo=UTC)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours are over as soon as they begin."""
    monkeypatch.setattr(parquet, "GRACE", -parquet.HOUR)


def read(directory: Path, columns: str = "index") -> list[Any]:
    """Returns a column of all events, or a tuple of columns, as DuckDB reads them."""
    with duckdb.connect() as conn:
        query = f"SELECT {columns} FROM read_parquet('{directory}/*/*/*.parquet') ORDER BY index"
        rows = conn.execute(query).fetchall()
    return [row[0] if len(row) == 1 else row for row in rows]


def files(directory: Path) -> list[str]:
    """Returns the files, below the directory."""
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.parquet"))


def opened(directory: Path, *, continued: bool = False) -> parquet.ParquetFiles:
    """Returns the destination of a stream."""
    return parquet.open_destination(Request("archive", StreamURL.parse(f"parquet:{directory}"), continued=continued))


def entries_at(*minutes: int) -> list[Any]:
    """Returns events that were appended so many minutes after a quarter past eight."""
    return [replace(ENTRIES[n], persisted_at=MORNING + timedelta(minutes=minute)) for n, minute in enumerate(minutes)]


def add(conn: psycopg.Connection, directory: Path) -> None:
    """Adds a stream from the beginning of the log."""
    streams.add(conn, "archive", to=f"parquet:{directory}", start=0)


def reason(conn: psycopg.Connection) -> str:
    """Returns state of the stream, and why it is so."""
    stream = streams.catalog.get_stream(conn, "archive")
    return f"{stream.state}: {stream.pause_reason or stream.error}"


def test_an_hour_is_sent_when_it_is_over() -> None:
    """Events wait for the rest of their hour, and half a minute for those that are about to be appended."""
    destination, entries = opened(Path("/nowhere")), entries_at(0, 10)
    assert destination.ready(entries, MORNING + timedelta(minutes=45, seconds=29), is_full=False) == 0
    assert destination.ready(entries, MORNING + timedelta(minutes=45, seconds=30), is_full=False) == 2


def test_an_hour_is_sent_when_the_next_one_has_begun_or_a_file_is_full() -> None:
    """An event of a later hour shows that the hour is complete; a full file waits for nothing."""
    destination = opened(Path("/nowhere"))
    assert destination.ready(entries_at(0, 10, 50), MORNING, is_full=False) == 2
    assert destination.ready(entries_at(0, 10), MORNING, is_full=True) == 2


def test_the_log_is_not_read_again_while_an_hour_goes_on() -> None:
    """Until the hour is over, or there may be enough events for a file, nothing is read."""
    destination, now = opened(Path("/nowhere")), MORNING + timedelta(minutes=20)
    assert not destination.is_waiting(2, now)
    destination.ready(entries_at(0, 10), now, is_full=False)
    assert destination.is_waiting(3, now)
    assert not destination.is_waiting(2 + destination.limits.events, now)
    assert not destination.is_waiting(3, MORNING + timedelta(minutes=46))


def test_a_file_is_named_for_its_hour_and_its_events(tmp_path: Path) -> None:
    """DuckDB, Spark and Athena know ``date=…/hour=…`` as columns."""
    destination, entries = opened(tmp_path), entries_at(0, 10, 50)
    destination.send(entries[:2])
    destination.send(entries[2:])
    assert files(tmp_path) == [
        f"date=2026-11-27/hour=08/{0:016d}-{1:016d}.parquet", f"date=2026-11-27/hour=09/{2:016d}-{2:016d}.parquet",
    ]  # fmt: skip
    assert read(tmp_path, "index, date::text, hour::int") == [
        (0, "2026-11-27", 8),
        (1, "2026-11-27", 8),
        (2, "2026-11-27", 9),
    ]


def test_columns_have_what_the_log_has(tmp_path: Path) -> None:
    """Times, the exact text and its hash are read back by DuckDB as they were."""
    entries = entries_at(*[0] * 8)
    opened(tmp_path).send(entries)
    found = read(tmp_path, "action, actor_id, occurred_at, event, leaf_hash")
    assert found == [(e.action, e.actor_id, e.occurred_at, e.text, e.leaf_hash) for e in entries]


def test_exact_numbers_are_found(tmp_path: Path) -> None:
    """Amounts in ``data`` have all their digits, as a text; DuckDB's functions for JSON would round them."""
    opened(tmp_path).send(entries_at(*[0] * 6))
    query = "try_cast(regexp_extract(data, '\"total\": ([-0-9.]+)', 1) AS decimal(38, 4))"
    assert read(tmp_path, query)[5] == Decimal("12345678901234567890.1200")


def test_the_program_of_the_documentation_counts_what_was_denied(tmp_path: Path) -> None:
    """DuckDB reads days from the paths, and actors from the columns."""
    opened(tmp_path).send(entries_at(*[0] * 8))
    assert denied_by_day(tmp_path) == [("2026-11-27", "robot:eve", 1)]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("moment", range(1, 25))
def test_a_worker_that_is_killed_leaves_no_event_twice(
    dsn: str, admin: psycopg.Connection, tmp_path: Path, moment: int
) -> None:
    """SIGKILL at each moment: in the middle of a file, around each fsync, rename, and move of the position."""
    add(admin, tmp_path)
    append(dsn, 18)
    assert send_until_killed(dsn, "archive", moment)
    append(dsn, 3)
    send_all(dsn, "archive")
    assert read(tmp_path) == list(range(21))


@hypothesis_settings(max_examples=6, deadline=None)
@given(seed=strategies.integers(0, 2**32))
def test_any_history_of_kills_has_each_event_once(server: Server, seed: int) -> None:
    """Appending, killing, setting back and sending in any order: at the end, each event is there once."""
    chance = random.Random(seed)
    with (
        fresh_directory(server) as (dsn, directory),
        psycopg.connect(dsn, autocommit=True) as conn,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(parquet, "GRACE", -parquet.HOUR)
        add(conn, directory)
        count = 0
        for _ in range(3):
            number = chance.randint(1, 30)
            append(dsn, number)
            count += number
            while chance.random() < 0.7:
                send_until_killed(dsn, "archive", chance.randint(1, 60))
                if chance.random() < 0.3:
                    streams.rewind(conn, "archive", chance.randint(0, count))
        streams.rewind(conn, "archive", 0)
        send_all(dsn, "archive")
        assert read(directory) == list(range(value_in(dsn, LOG_SIZE)))


@pytest.mark.usefixtures("at_once")
def test_a_rewound_stream_writes_what_is_missing(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """What is there stays, and nothing is there twice; what was lost is written again."""
    add(admin, tmp_path)
    for _ in range(3):
        append(dsn, 2)
        send_all(dsn, "archive")
    lost = next(tmp_path.rglob(f"{2:016d}-*.parquet"))
    lost.unlink()
    streams.rewind(admin, "archive", 1)
    send_all(dsn, "archive")
    assert read(tmp_path) == list(range(6))
    assert len(files(tmp_path)) == 3


@pytest.mark.usefixtures("at_once")
def test_a_restored_backup_overwrites_nothing(
    dsn: str, admin: psycopg.Connection, backup: Callable[[], str], tmp_path: Path
) -> None:
    """After a restore, the log goes on with other events: the stream is paused, and the files stay as they are."""
    add(admin, tmp_path)
    append(dsn, 2)
    send_all(dsn, "archive")
    admin.close()
    restored = backup()
    append(dsn, 3)
    send_all(dsn, "archive")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    append(restored, 3)
    send_all(restored, "archive")
    with psycopg.connect(restored, autocommit=True) as conn:
        assert reason(conn).startswith(f"paused: {tmp_path} has another event with the index 2 than the log")
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == before
        streams.rewind(conn, "archive", 2)
        streams.resume(conn, "archive")
    send_all(restored, "archive")
    assert read(tmp_path) == [0, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.usefixtures("at_once")
def test_a_damaged_file_is_named(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """What is there cannot be compared: the stream is paused, and nothing is written over it."""
    add(admin, tmp_path)
    append(dsn, 2)
    send_all(dsn, "archive")
    path = next(tmp_path.rglob("*.parquet"))
    path.write_bytes(b"nothing")
    streams.rewind(admin, "archive", 0)
    send_all(dsn, "archive")
    assert reason(admin) == f"paused: {path} cannot be read (ArrowInvalid): move it away"


@pytest.mark.usefixtures("at_once")
def test_two_kinds_cannot_share_a_directory(dsn: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    """Files of NDJSON are no Parquet, even of a stream of the same name."""
    append(dsn, 1)
    streams.add(admin, "archive", to=f"file:{tmp_path}", start=0)
    send_all(dsn, "archive")
    streams.remove(admin, "archive")
    add(admin, tmp_path)
    send_all(dsn, "archive")
    assert reason(admin) == f"paused: {tmp_path} has files of another kind: choose another directory"
