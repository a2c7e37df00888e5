"""Cursors that the database keeps under a name: the application reads on where it has ended, without a gap.

>>> with conn.transaction():
...     siem = trail.cursor(conn, "siem")
...     for entry in siem.read(500):
...         notify(entry)
...     siem.advance()

What the block writes to the same database, and the cursor's new position, are committed together: each event is handled
once. Another process with this cursor waits until the transaction ends.
"""

from typing import Final

from pgaudit._reading import Statement, Steps, run, run_async
from pgaudit.errors import InvalidCursor
from pgaudit.trail.chunks import Chunk, read_chunk
from pgaudit.trail.entry import Entry
from pgaudit.trail.query import Query, as_query

MOST_BYTES: Final = 16_000_000
OPEN: Final = "SELECT pgaudit.open_cursor(%(name)s, %(query)s, %(start)s)"
LOCK: Final = "SELECT next_index, query, problem FROM pgaudit.lock_cursor(%(name)s)"
MOVE: Final = "SELECT pgaudit.move_cursor(%(name)s, %(old)s, %(new)s, %(last_index)s, %(last_hash)s, %(events)s)"


class NamedCursor:
    """A place in the log that has a name. ``read`` returns what follows it, and ``advance`` moves it behind that."""

    def __init__(self, conn: object, name: str) -> None:
        self.name = name
        self._conn = conn
        self._start = 0
        self._chunk: Chunk | None = None

    def read(self, limit: int = 1_000) -> list[Entry]:
        """Returns the next events, in the order of the log; none at its end. Until the transaction ends, others wait.

        :raises InvalidCursor: the log is not the one that was read: it was restored from an older backup.
        """
        return run(self._conn, self._read(limit))

    async def read_async(self, limit: int = 1_000) -> list[Entry]:
        """``read`` for an asynchronous connection."""
        return await run_async(self._conn, self._read(limit))

    def advance(self) -> None:
        """Moves the cursor behind the events that ``read`` has returned, in the caller's transaction.

        :raises InvalidCursor: nothing was read, or another process has moved the cursor meanwhile.
        """
        run(self._conn, self._advance())

    async def advance_async(self) -> None:
        """``advance`` for an asynchronous connection."""
        await run_async(self._conn, self._advance())

    def _read(self, limit: int) -> Steps[list[Entry]]:
        ((self._start, query, problem),) = yield Statement(LOCK, {"name": self.name})
        if problem is not None:
            raise InvalidCursor(f"the cursor {self.name} cannot continue: {problem}")
        self._chunk = yield from read_chunk(as_query(query), self._start, limit, MOST_BYTES)
        return list(self._chunk.entries)

    def _advance(self) -> Steps[None]:
        chunk = self._chunk
        if chunk is None:
            raise InvalidCursor(f"the cursor {self.name} has read nothing yet: call read() first")
        last = chunk.entries[-1] if chunk.entries else None
        ((moved,),) = yield Statement(
            MOVE,
            {
                "name": self.name, "old": self._start, "new": chunk.next_index, "events": len(chunk.entries),
                "last_index": last.index if last else None, "last_hash": last.leaf_hash if last else None,
            },
        )  # fmt: skip
        if not moved:
            raise InvalidCursor(f"the cursor {self.name} was moved meanwhile: read and advance in one transaction")
        self._start, self._chunk = chunk.next_index, None


def cursor(conn: object, name: str, query: Query | str = "", start: int | None = None) -> NamedCursor:
    """Returns the cursor of that name; makes it if there is none.

    :param query: which events it reads; a cursor keeps its query.
    :param start: the index that a new cursor begins with; the next one that is appended when it is None.
    :raises InvalidCursor: the name cannot be used, or the cursor of that name has another query.
    """
    run(conn, opened(name, as_query(query), start))
    return NamedCursor(conn, name)


async def cursor_async(conn: object, name: str, query: Query | str = "", start: int | None = None) -> NamedCursor:
    """``cursor`` for an asynchronous connection; read it with ``read_async``, and move it with ``advance_async``."""
    await run_async(conn, opened(name, as_query(query), start))
    return NamedCursor(conn, name)


def opened(name: str, query: Query, start: int | None) -> Steps[None]:
    """Makes the cursor if there is none."""
    ((problem,),) = yield Statement(OPEN, {"name": name, "query": str(query), "start": start})
    if problem is not None:
        raise InvalidCursor(problem)
