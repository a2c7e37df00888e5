"""What users of the API and the dashboard do with streams; the events about it name them."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final, TypeVar

import psycopg
from anyio import CapacityLimiter, to_thread
from psycopg.errors import InsufficientPrivilege, LockNotAvailable
from starlette.exceptions import HTTPException
from starlette.requests import Request

from pgaudit.errors import PgauditError
from pgaudit.settings import Settings
from pgaudit.streams import Stream, found
from pgaudit.web.guard import Viewer
from pgaudit.web.lookups import Lookups
from pgaudit.web.reads import Reader

T = TypeVar("T")
Connection = psycopg.Connection[Any]
BUSY: Final = "A worker is sending a chunk of this stream. Try again in a few seconds."


class StreamOperations:
    """Runs operations in the thread pool of the application; tests of destinations, which may be slow, one by one."""

    def __init__(self, lookups: Lookups, settings: Settings) -> None:
        self._lookups = lookups
        self._settings = settings
        self._tests = CapacityLimiter(1)

    async def run(self, request: Request, viewer: Viewer, operation: Callable[[Connection], T]) -> T:
        """Returns what an operation returns.

        :raises StreamNotFound: there is no such stream.
        :raises InvalidStream: it cannot be done.
        :raises HTTPException: 409, a worker is busy with the stream; 503, the role of this server may not.
        """
        reader = Reader.of(request, viewer, self._settings)

        def acting(conn: Connection) -> T:
            with explained(conn):
                reader.acts(conn)
                return operation(conn)

        return await self._lookups.run(acting)

    async def test(self, name: str) -> tuple[bool, str]:
        """Returns whether a destination takes an event from this server, and what it has answered.

        :raises StreamNotFound: there is no such stream.
        """
        stream = await self._lookups.run(lambda conn: found(conn, name))
        return await to_thread.run_sync(tested, stream, limiter=self._tests)


def tested(stream: Stream) -> tuple[bool, str]:
    """Returns whether a destination takes a test event, and what it has answered."""
    from pgaudit.streams import probing  # noqa: PLC0415 - needs the packages of destinations

    try:
        return True, probing.probe(stream)
    except PgauditError as error:
        return False, str(error)


@contextmanager
def explained(conn: Connection) -> Generator[None]:
    """Says what to do when the role of the connection may not act, or a worker is busy.

    :raises HTTPException: 409 or 503.
    """
    try:
        yield
    except LockNotAvailable as error:
        raise HTTPException(HTTPStatus.CONFLICT, BUSY) from error
    except InsufficientPrivilege as error:
        detail = (
            f"The database role of this server, {conn.info.user}, may not operate streams. "
            f"The owner of the schema can allow it: pgaudit grant --operator {conn.info.user}"
        )
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, detail) from error
