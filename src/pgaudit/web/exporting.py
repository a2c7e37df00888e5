"""Exports over HTTP: each portion of events is a short look of its own, so that slow clients hold no connection.

All exports have one thread together, as the live tail has: other requests keep two of the four connections. The start
and the end of each are recorded, and an export whose recording fails is not sent, or breaks off.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pgaudit.access_log import record_access
from pgaudit.errors import MissingExtra
from pgaudit.settings import Settings
from pgaudit.trail import Entry, Query, export
from pgaudit.trail.bounded import LARGEST_PAGE
from pgaudit.trail.export import ExportRefused, MaskedRow, Plan, Portion, Row, Stream
from pgaudit.trail.export.plans import Format
from pgaudit.web import views
from pgaudit.web.access import unmasked
from pgaudit.web.guard import Viewer
from pgaudit.web.lookups import Lookups
from pgaudit.web.masking import masked
from pgaudit.web.reads import Reader
from pgaudit.web.streams import ClosedStream
from pgaudit.web.views import Connection

MEDIA_TYPES: Final[dict[Format, str]] = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
FIRST_LIMIT: Final = 50
BROKEN_OFF: Final = "It was broken off before its end."


@dataclass(frozen=True, slots=True)
class File:
    """The file that a client asks for: its format, and the columns of a table."""

    format: Format
    columns: tuple[str, ...] = ()
    bom: bool = False


class Exports:
    """The exports of a server."""

    def __init__(self, lookups: Lookups, settings: Settings) -> None:
        self._lookups = lookups.apart(1)
        self._settings = settings

    async def response(self, request: Request, viewer: Viewer, query: Query, file: File) -> Response:
        """Returns the events that a query finds, as a file.

        :raises InvalidQuery: the query cannot be understood.
        :raises HTTPException: 403, the query asks for a value that is hidden from the viewer; 422, the format cannot be
            written, or not with these columns.
        """
        asked = views.checked(viewer, query)
        reader = Reader.of(request, viewer, self._settings)
        is_masked = viewer.access.mask is not unmasked

        def begin(conn: Connection) -> Plan:
            plan = export.plan(
                conn,
                asked,
                file.format,
                columns=file.columns,
                bom=file.bom,
                masked=is_masked,
                scope=viewer.scope_query,
            )
            if request.method != "HEAD":
                record_access(conn, reader.about(export.started(plan)))
            return plan

        try:
            plan = await self._lookups.queue(begin)
            stream = Stream(plan)
        except (ExportRefused, MissingExtra) as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.") from error
        headers = headers_of(plan)
        if request.method == "HEAD":
            return Response(headers=headers, media_type=MEDIA_TYPES[file.format])
        return ClosedStream(self._body(stream, viewer, reader), MEDIA_TYPES[file.format], headers)

    async def _body(self, stream: Stream, viewer: Viewer, reader: Reader) -> AsyncGenerator[bytes]:
        """Yields the file, and records how the export has ended."""
        limits = growing()

        def portion(conn: Connection, position: int, limit: int) -> Portion[Row]:
            found = export.portion(conn, stream.plan, position, limit)
            return found.masked(lambda entry: row_of(viewer, entry))

        async def read(position: int) -> Portion[Row]:
            limit = next(limits)
            return await self._lookups.queue(lambda conn: portion(conn, position, limit))

        def ended(conn: Connection, reason: str | None = None) -> None:
            record_access(conn, reader.about(export.exported(stream, reason=reason)))

        try:
            async for piece in export.chunks_async(stream, read):
                yield piece
        except BaseException:  # GeneratorExit, too: the client has left
            self._lookups.start(lambda conn: ended(conn, BROKEN_OFF))
            raise
        await asyncio.shield(self._lookups.queue(ended))  # recorded once, also if the client leaves meanwhile


def growing() -> Iterator[int]:
    """Yields how many events the next portion has: few at first, because a slow client makes the server keep one."""
    limit = FIRST_LIMIT
    while True:
        yield limit
        limit = min(limit * 2, LARGEST_PAGE)


def row_of(viewer: Viewer, entry: Entry) -> Row:
    """Returns an event as the viewer may export it: exactly as it is stored, unless a value is masked."""
    if viewer.access.mask is unmasked:
        return entry
    seen = masked(viewer, entry)
    return MaskedRow.of(entry, seen.event) if seen.is_masked else entry


def headers_of(plan: Plan) -> dict[str, str]:
    """Returns the headers of a file: it is named after the part of the log in which it has looked."""
    part = f"0-{plan.size - 1}" if plan.size else "empty"
    return {
        "Content-Disposition": f'attachment; filename="pgaudit-{part}.{plan.format}"',
        "Export-Id": str(plan.id),
        "X-Accel-Buffering": "no",
    }
