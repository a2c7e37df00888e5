"""The live tail: events that a search finds, sent to the page as they come into the log.

However many pages follow the log, its size is looked at once a second; each then asks for its own events, one after the
other in one thread, as exports have one, so that other requests keep two of the four connections.
"""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import psycopg
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pgaudit.access_log import VIEWED
from pgaudit.errors import InvalidQuery
from pgaudit.trail import Query
from pgaudit.trail.page_cursor import Cursor
from pgaudit.trail.spans import ALL
from pgaudit.web import views
from pgaudit.web.dashboard import event_views
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.guard import Viewer
from pgaudit.web.reads import Reader
from pgaudit.web.streams import ClosedStream
from pgaudit.web.views import Connection, View

MEDIA_TYPE: Final = "text/event-stream"
MOST_CLIENTS: Final = 100
PAUSE_SECONDS: Final = 1.0
MOST_ROWS: Final = 100  # events at once; if a page has missed more, the last message says so
# After that the browser asks again, and it is decided again whether the user may see the events.
LONGEST_SECONDS: Final = 300.0
COMMENT_SECONDS: Final = 15.0  # a line that shows whether the client is still there
BUSY: Final = "Too many pages follow the log. Close one, or load the page again to see newer events."


class LiveTail:
    """The streams of one process."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._lookups = dashboard.lookups.apart(1)
        self._size = self._lookups.share(views.size_of_log)
        self._clients = 0

    async def stream(self, request: Request) -> Response:
        """Returns the events after the one that the client has seen last, as server-sent events.

        :raises HTTPException: 422 for a search or an index that cannot be understood, 503 for too many clients.
        """
        viewer = await self._dashboard.viewer(request)
        try:
            query = views.checked(viewer, request.query_params.get("q", ""))
            last = last_seen(request)
        except InvalidQuery as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.") from error
        if self._clients >= MOST_CLIENTS:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, BUSY, {"Retry-After": "60"})
        if request.method == "HEAD":
            return Response(media_type=MEDIA_TYPE)
        self._clients += 1
        messages = self._messages(request, viewer, query, last)
        return ClosedStream(messages, MEDIA_TYPE, {"X-Accel-Buffering": "no"}, self._left)

    def _left(self) -> None:
        """Counts a client that is gone."""
        self._clients -= 1

    async def _messages(
        self, request: Request, viewer: Viewer, query: Query, last: int | None
    ) -> AsyncGenerator[bytes]:
        """Yields a message for each event, and comments between them."""
        yield b": following\n\n"
        loop = asyncio.get_running_loop()
        end, comment = loop.time() + LONGEST_SECONDS, loop.time() + COMMENT_SECONDS
        while loop.time() < end:
            size = await self._current_size()
            last = size - 1 if last is None and size is not None else last
            if size is not None and last is not None and size - 1 > last:
                view = await self._view(request, viewer, query, last)
                for message in self._rows(request, viewer, query, view):
                    yield message.encode()
                last = max(size - 1, *(entry.index for entry in view.entries)) if view.entries else size - 1
                yield f"id: {last}\n\n".encode()
            if loop.time() >= comment:
                comment = loop.time() + COMMENT_SECONDS
                yield b": still here\n\n"
            await asyncio.sleep(PAUSE_SECONDS)

    async def _current_size(self) -> int | None:
        """Returns the size of the log; None while the database does not answer: the stream goes on afterwards."""
        try:
            return await self._size.result()
        except (psycopg.Error, TimeoutError):
            return None

    async def _view(self, request: Request, viewer: Viewer, query: Query, last: int) -> View:
        """Returns the events after an index. The next page of them, if there is one, is not asked for."""
        reader = Reader.of(request, viewer, self._dashboard.settings)

        def look(conn: Connection) -> View:
            view = views.search(conn, viewer, query, str(Cursor("after", last)), MOST_ROWS)
            if any(entry.action != VIEWED for entry in view.entries):  # or each look would be the next one's news
                reader.viewed(conn, query=str(query), count=len(view.entries))
            return view

        return await self._lookups.queue(look)

    def _rows(self, request: Request, viewer: Viewer, query: Query, view: View) -> list[str]:
        """Returns a message with the row of each event, the oldest first; the last one says if some were left out."""
        render = self._dashboard.render
        common: dict[str, Any] = {"now": datetime.now(UTC), "events": event_views, "q": str(query)}
        rows = [
            (entry.index, render(request, "event_row.html", viewer, entry=entry, **common).body)
            for entry in reversed(view.entries)
        ]
        if view.previous is not None and rows:
            rows.append((rows[-1][0], render(request, "event_left_out.html", viewer, **common).body))
        return [message_of(index, bytes(html).decode()) for index, html in rows]


def last_seen(request: Request) -> int | None:
    """Returns the index that the client has seen last: what its browser says after a break, or what the page says.

    :raises InvalidQuery: it is not an index.
    """
    given = request.headers.get("Last-Event-ID") or request.query_params.get("last")
    if not given:
        return None
    if given != "-1" and not isinstance(views.key_of(given), int):
        raise InvalidQuery("the last event that was seen is named by its index in the log")
    return min(int(given), ALL.stop - 2)


def message_of(index: int, html: str) -> str:
    """Returns a server-sent event."""
    lines = [f"data: {line}" for line in html.splitlines() if line.strip()]
    return f"id: {index}\n" + "\n".join(lines) + "\n\n"
