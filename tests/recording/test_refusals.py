"""InvalidEvent for an event that only the database refuses, because its size limit is narrower than Python's."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, InvalidEvent, Settings
from tests.support.drivers import ASYNC, SYNC
from tests.support.jobs import queued
from tests.support.queries import Connection

NARROW = 16_384


def too_large() -> AuditEvent:
    """Returns an event that is within Python's limit and above the database's."""
    return AuditEvent(action="claim.approved", data={"text": "x" * 20_000})


@pytest.fixture
def narrow(dsn: str, conn: Connection) -> str:
    """A database whose limit is narrower than Python's."""
    conn.execute("UPDATE pgaudit.settings SET max_event_bytes = %s", [NARROW])
    conn.commit()
    return dsn


@pytest.fixture(params=["raise", "spool"])
def audit(request: pytest.FixtureRequest, narrow: str, tmp_path: Path) -> AuditLog:
    """The library with each setting of on_failure."""
    return AuditLog(Settings(dsn=narrow, on_failure=request.param, spool_dir=tmp_path / "spool"))


def assert_nothing_kept(audit: AuditLog) -> None:
    """Fails if an event is in the queue or in the spool."""
    with psycopg.connect(audit.settings.dsn) as conn:
        assert queued(conn) == []
    assert [path for path in audit.settings.require_spool_dir().glob("**/*") if path.is_file()] == []


LIBRARIES: dict[str, Callable[[str], Any]] = {"psycopg": psycopg.connect, **SYNC}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_refusal_of_the_database_is_an_invalid_event(narrow: str, audit: AuditLog, library: str) -> None:
    """Every library's error becomes InvalidEvent; nothing is recorded or spooled."""
    with pytest.raises(InvalidEvent, match=f"{NARROW} are allowed"), LIBRARIES[library](narrow) as conn:
        audit.record(conn, AuditEvent(action="claim.approved"), too_large())
    assert_nothing_kept(audit)


async def record_async(library: str, audit: AuditLog) -> None:
    """Records an event that the database refuses, with that library."""
    if library == "psycopg":
        async with await psycopg.AsyncConnection.connect(audit.settings.dsn) as conn:
            await audit.record_async(conn, AuditEvent(action="claim.approved"), too_large())
    else:
        async with ASYNC[library](audit.settings.dsn) as conn:
            await audit.record_async(conn, AuditEvent(action="claim.approved"), too_large())


@pytest.mark.parametrize("library", ["psycopg", *ASYNC])
def test_an_async_refusal_of_the_database_is_an_invalid_event(audit: AuditLog, library: str) -> None:
    """Every asynchronous library's error becomes InvalidEvent; nothing is recorded or spooled."""
    with pytest.raises(InvalidEvent, match=f"{NARROW} are allowed"):
        asyncio.run(record_async(library, audit))
    assert_nothing_kept(audit)


def test_an_autonomous_refusal_of_the_database_is_an_invalid_event(audit: AuditLog) -> None:
    """record_autonomous raises InvalidEvent; nothing is recorded or spooled."""
    with pytest.raises(InvalidEvent, match=f"{NARROW} are allowed"):
        audit.record_autonomous(too_large())
    with pytest.raises(InvalidEvent, match=f"{NARROW} are allowed"):
        asyncio.run(audit.record_autonomous_async(too_large()))
    assert_nothing_kept(audit)


def test_a_refused_event_leaves_the_transaction_usable_when_spooling(narrow: str, tmp_path: Path) -> None:
    """With on_failure=spool the caller can catch the error and commit its change."""
    audit = AuditLog(Settings(dsn=narrow, on_failure="spool", spool_dir=tmp_path))
    with psycopg.connect(narrow) as conn:
        with pytest.raises(InvalidEvent):
            audit.record(conn, too_large())
        audit.record(conn, AuditEvent(action="claim.kept"))
    with psycopg.connect(narrow) as conn:
        assert [job["event"]["action"] for job in queued(conn)] == ["claim.kept"]
