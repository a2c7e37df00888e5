"""A stream to files: an event on each line, in files of a size and a day."""

import json
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pgaudit import Settings, streams
from pgaudit.streams.destinations.file import Files
from tests.streams.file.directory import add, indexes
from tests.support.streams import append, lines, send_all
from tests.support.waiting import wait_until_async
from tests.support.worker import working


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
