"""The pytest plugin. Every run of pytest loads it: what only a server needs is imported when one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgaudit.errors import MissingExtra
from pgaudit.testing.recorded import RecordedEvents, recording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgaudit.testing.database import AuditDatabase
    from pgaudit.testing.server import Server


@pytest.fixture
def audit_events() -> Iterator[RecordedEvents]:
    """Returns what the code under test records, in memory: a list of events with asserts. No database is needed."""
    with recording() as events:
        yield events


@pytest.fixture
def audit_database(_pgaudit_server: Server) -> Iterator[AuditDatabase]:
    """Returns a real, migrated database for this test: ``dsn`` and ``settings``; its log and queue are empty.

    One server serves the whole run. PGAUDIT_TEST_PG chooses its version: 18, unless it says 15 or 16.
    """
    from pgaudit.testing.copies import fresh_database  # noqa: PLC0415 - loads SQLAlchemy

    with fresh_database(_pgaudit_server) as database:
        yield database


@pytest.fixture(scope="session")
def _pgaudit_server() -> Iterator[Server]:
    """Starts the server of the whole run."""
    try:
        from pgaudit.testing.copies import migrated_server  # noqa: PLC0415 - an extra, and loads SQLAlchemy
    except ImportError as error:
        raise MissingExtra('audit_database starts a server: pip install "pgaudit[testing]"') from error
    with migrated_server() as server:
        yield server
