"""The maintenance rounds of a worker go on after an error."""

import asyncio
import json
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from pgaudit import Settings
from pgaudit.recording import replay, spool
from pgaudit.recording.spool import Spooled
from pgaudit.worker.procrastinate_app import cancel_and_wait
from tests.support.events import event
from tests.support.jobs import queue_events
from tests.support.queries import COUNT_JOBS, LOG_SIZE, Connection, value_and_commit
from tests.support.waiting import wait_until_async
from tests.support.worker import working

pytestmark = pytest.mark.anyio

LEAVE_BEHIND = "UPDATE pgaudit.audit_jobs SET status = 'doing', worker_id = 4711"


@pytest.fixture
def spooling(dsn: str, tmp_path: Path) -> Settings:
    """Settings with a spool of their own, and frequent rounds."""
    return Settings(dsn=dsn, spool_dir=tmp_path, stalled_after=0.4)


def is_logged(conn: Connection, count: int) -> bool:
    """Returns whether that many events are in the log."""
    return bool(value_and_commit(conn, LOG_SIZE) == count)


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\n", b"no JSON\n", b'{"event": 7}\n', b"\n", b"[]\n", b"null\n"],
)
async def test_a_broken_spool_file_does_not_stop_maintenance(
    conn: Connection, spooling: Settings, content: bytes
) -> None:
    """A line that is no event is set aside; later passes still reclaim what stalls."""
    (spooling.require_spool_dir() / "broken.ndjson").write_bytes(content)
    async with working(spooling):
        await wait_until_async(
            "a worker has registered",
            lambda: value_and_commit(conn, "SELECT count(*) FROM pgaudit.procrastinate_workers"),
        )
        for count in (1, 2):
            queue_events(spooling.dsn)
            conn.execute(LEAVE_BEHIND)
            conn.commit()
            await wait_until_async("the stalled job is in the log", partial(is_logged, conn, count))
    assert (spooling.require_spool_dir() / "broken.refused").read_bytes() == content


async def test_a_broken_spool_file_does_not_keep_others_waiting(conn: Connection, spooling: Settings) -> None:
    """A worker replays each file that it can, whatever is older."""
    (spooling.require_spool_dir() / "broken.ndjson").write_text("no JSON\n")
    path = spool.append(spooling.require_spool_dir(), [event().to_json()], None)
    async with working(spooling):
        await wait_until_async("the log has 1 event", lambda: value_and_commit(conn, LOG_SIZE) == 1)
        await wait_until_async("the spool file is removed", lambda: not path.exists())
    assert spool.files(spooling.spool_dir) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"id": "no uuid"}, "invalid audit event: id must be a UUID"),
        ({"id": str(uuid4()), "action": "approved"}, "invalid audit event: action must be"),
    ],
    ids=["id", "action"],
)
async def test_an_event_that_record_refuses_is_set_aside(
    conn: Connection, spooling: Settings, caplog: pytest.LogCaptureFixture, content: dict[str, str], reason: str
) -> None:
    """An event that pgaudit.record refuses is moved to a file beside, and the others of its file are recorded."""
    good = Spooled(json.loads(event().to_json()), None, "")
    path = spooling.require_spool_dir() / "a.ndjson"
    path.write_bytes(Spooled(content, None, "").to_line() + good.to_line())
    async with working(spooling):
        await wait_until_async("the log has 1 event", lambda: value_and_commit(conn, LOG_SIZE) == 1)
        await wait_until_async("the spool file is removed", lambda: not path.exists())
    assert path.with_suffix(".refused").read_bytes() == Spooled(content, None, "").to_line()
    assert reason in caplog.text


async def test_a_worker_without_a_spool_reads_no_file_of_its_directory(
    dsn: str, conn: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without PGAUDIT_SPOOL_DIR, a worker does not replay a spool file in its working directory."""
    for directory in (tmp_path, tmp_path / "pgaudit-spool"):
        spool.append(directory, [event().to_json()], None)
    monkeypatch.chdir(tmp_path)
    await asyncio.to_thread(replay.replay_all, dsn, Settings(dsn=dsn))
    assert value_and_commit(conn, COUNT_JOBS) == 0


async def test_a_swallowed_cancellation_is_repeated() -> None:
    """A worker ends even if a library has swallowed the first cancellation."""
    waiting = asyncio.Event()

    async def swallow_first() -> None:
        waiting.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    companion = asyncio.create_task(swallow_first())
    await waiting.wait()
    async with asyncio.timeout(20):
        await cancel_and_wait([companion])
    assert companion.cancelled()
