"""A stream to files: each event is there once, in the order of the log, whatever happens in between."""

from pathlib import Path

import psycopg

from pgaudit import Settings, streams
from tests.support.streams import append, lines
from tests.support.waiting import wait_until_async
from tests.support.worker import working


async def test_worker(dsn: str, settings: Settings, tmp_path: Path) -> None:
    """A worker sends what is in the log, then what comes."""
    append(dsn, 5)
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "archive", to=f"file:{tmp_path}/out", start=0)
    async with working(settings):
        await wait_until_async("five events are there", lambda: len(lines(tmp_path / "out")) == 5)
        append(dsn, 3)
        await wait_until_async("eight events are there", lambda: len(lines(tmp_path / "out")) == 8)
    assert [line["index"] for line in lines(tmp_path / "out")] == list(range(8))
