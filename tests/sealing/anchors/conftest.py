"""Fixtures: a log that is sealed step by step."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from pgaudit.sealing.keys import HighWaterMark, new_keys
from pgaudit.sealing.notes import Note
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
Grow = Callable[[int], Note]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """A signer of the log."""
    return Signer(new_keys("audit.example.com/claims"), HighWaterMark(tmp_path / "mark"))


@pytest.fixture
def grow(conn: psycopg.Connection, signer: Signer) -> Grow:
    """Appends that many events, and seals the log; returns the checkpoint."""

    def grown(count: int) -> Note:
        record_persist_and_commit(conn, *events(count))
        note = seal(conn, signer)
        assert note is not None
        conn.commit()
        return note

    return grown
