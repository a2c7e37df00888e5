"""The pytest plugin. Every run of pytest loads it, so it imports pgaudit when a test asks for a fixture, not before."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pgaudit.testing import AuditDatabase, RecordedEvents
    from pgaudit.testing.guarding import AuditGuard
    from pgaudit.testing.server import Server

GUARD: pytest.StashKey[AuditGuard] = pytest.StashKey()


@pytest.fixture
def audit_events() -> Iterator[RecordedEvents]:
    """Returns what the code under test records, in memory: a list of events with asserts. No database is needed."""
    with ExitStack() as stack:
        with _failing_with_a_sentence():
            from pgaudit.testing import recording
        yield stack.enter_context(recording())


@pytest.fixture
def audit_database(_pgaudit_server: Server) -> Iterator[AuditDatabase]:
    """Returns a real, migrated database for this test: ``dsn``, ``url()``, ``settings``. Its log and queue are empty.

    One server serves the whole run. PGAUDIT_TEST_PG chooses its version, or is the DSN of a server that is running.
    """
    from pgaudit.testing.copies import fresh_database

    with fresh_database(_pgaudit_server) as database:
        yield database


@pytest.fixture
def audit_guard(request: pytest.FixtureRequest) -> Iterator[AuditGuard]:
    """Fails the test if it changes rows of a guarded table without an event, and names the statement.

    It looks at open transactions when the test ends, before fixtures roll them back. ``audit_guard("claims",
    target="claim", key="id")`` guards a table for this test alone.
    """
    with ExitStack() as stack:
        with _failing_with_a_sentence():
            from pgaudit.testing.watching import watching
        guard = request.node.stash[GUARD] = stack.enter_context(watching(request.path))
        yield guard


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fails a test with ``audit_guard`` that has changed rows without an event, while its transactions are open."""
    result = yield
    guard = item.stash.get(GUARD, None)
    if guard and (verdict := guard.verdict()):
        pytest.fail(verdict, pytrace=False)
    return result


@pytest.fixture(scope="session")
def _pgaudit_server() -> Iterator[Server]:
    """Starts the server of the whole run."""
    with ExitStack() as stack:
        with _failing_with_a_sentence():
            from pgaudit.testing.copies import migrated_server

            server = stack.enter_context(migrated_server())
        yield server


@contextmanager
def _failing_with_a_sentence() -> Generator[None]:
    """Fails the test, without a traceback, where a package or program is missing or PGAUDIT_TEST_PG is invalid."""
    try:
        yield
    except (ImportError, ValueError) as error:  # MissingExtra and InvalidSettings are such errors
        pytest.fail(str(error), pytrace=False)
