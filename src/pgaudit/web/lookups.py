"""Look-ups in the database: few at a time, in threads of their own, shared by requests that ask for the same.

The threads are not those of the application that the routes are mounted in, so that probes that wait for a locked
table keep none of its requests waiting. Futures of ``concurrent.futures`` belong to no event loop.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, Final, Generic, TypeVar

import psycopg

from pgaudit._db_errors import safe_summary
from pgaudit.web.database import MAX_CONNECTIONS, Database
from pgaudit.web.forks import renew_in_child

logger = logging.getLogger("pgaudit.web")

T = TypeVar("T")
TIMEOUT_SECONDS: Final = 5.0
SHARED_SECONDS: Final = 1.0
RETRY_DELAYS_SECONDS: Final = (0.1, 0.5, 2.0, 5.0)


class Lookups:
    """Runs functions of a connection, each in a transaction, in as many threads as there are connections."""

    def __init__(self, database: Database, threads: int = MAX_CONNECTIONS) -> None:
        self._database = database
        self._threads = threads
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Creates the threads: at first, and again in a forked process."""
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="pgaudit web")

    def apart(self, threads: int) -> "Lookups":
        """Returns look-ups of the same database in threads of their own: however many wait, others do not."""
        return Lookups(self._database, threads)

    async def run(self, lookup: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Returns what the look-up returns.

        :raises TimeoutError: it took longer than ``TIMEOUT_SECONDS``. If it had not begun, it never will.
        """
        return await asyncio.wait_for(asyncio.wrap_future(self.submit(partial(self._run, lookup))), TIMEOUT_SECONDS)

    async def queue(self, lookup: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Returns what the look-up returns, however long it waits for its turn."""
        return await asyncio.wrap_future(self.submit(partial(self._run, lookup)))

    def start(self, lookup: Callable[[psycopg.Connection[Any]], object]) -> None:
        """Runs a look-up for which nobody waits, such as one at the end of a request whose client has left.

        It is tried again for some seconds if the database is away or busy, because nobody else would.
        """
        self.submit(partial(self._run_again, lookup))

    def share(self, lookup: Callable[[psycopg.Connection[Any]], T]) -> "SharedLookup[T]":
        """Returns the look-up as one that requests share."""
        return SharedLookup(self.submit, partial(self._run, lookup))

    def submit(self, lookup: Callable[[], T]) -> "Future[T]":
        """Runs a look-up in one of the threads."""
        return self._executor.submit(lookup)

    def _run_again(self, lookup: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Returns what the look-up returns, at the last attempt at the latest."""
        for delay in RETRY_DELAYS_SECONDS:
            try:
                return self._run(lookup)
            except (psycopg.OperationalError, OSError):
                time.sleep(delay)
        return self._run(lookup)

    def _run(self, lookup: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Returns what the look-up returns, and logs why it cannot: once, however many requests share it."""
        try:
            with self._database.connection() as conn:
                return lookup(conn)
        except (psycopg.Error, OSError) as error:
            logger.warning("cannot look at the trail: %s", safe_summary(error))
            raise


class SharedLookup(Generic[T]):
    """A look-up that runs once at a time and begins at most once a second, however many requests wait for it."""

    def __init__(self, submit: "Callable[[Callable[[], T]], Future[T]]", lookup: Callable[[], T]) -> None:
        self._submit = submit
        self._lookup = lookup
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Forgets the look-up that is running: after a fork, it runs in the parent."""
        self._lock = Lock()
        self._begun = 0.0
        self._future: Future[T] | None = None

    async def result(self) -> T:
        """Returns what the look-up returned within the last second, or returns now.

        :raises TimeoutError: it takes longer than ``TIMEOUT_SECONDS``. It goes on, because other requests may wait.
        """
        shared = asyncio.shield(asyncio.wrap_future(self._current()))
        return await asyncio.wait_for(shared, TIMEOUT_SECONDS)

    def _current(self) -> Future[T]:
        with self._lock:
            now = time.monotonic()
            if self._future is None or (self._future.done() and now - self._begun >= SHARED_SECONDS):
                self._begun = now
                self._future = self._submit(self._lookup)
            return self._future
