"""The page of the events: a search as text and as filters, its events, and new ones as they come in."""

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgaudit import saved_searches, trail
from pgaudit.errors import InvalidQuery
from pgaudit.saved_searches import SavedSearch
from pgaudit.trail import Count
from pgaudit.web import views
from pgaudit.web.dashboard import event_views
from pgaudit.web.dashboard.event_requests import SIZES, Asked, chips, field_names, with_term
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.dashboard.live_tail import LiveTail
from pgaudit.web.guard import Viewer
from pgaudit.web.reads import Reader
from pgaudit.web.views import Connection, View

NOTHING: Final = View([], None, None, None)


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of the page, of its count and of its live tail."""
    events = Events(dashboard)
    tail = LiveTail(dashboard)
    return [
        Route("/events", events.page),
        Route("/events/count", events.count),
        Route("/events/live", tail.stream),
    ]


@dataclass(frozen=True, slots=True)
class Found:
    """What the page shows: events, how many there are if that was asked, and the size of the log at that moment."""

    view: View
    count: Count | None
    saved: list[SavedSearch]
    size: int


class Events:
    """The page of the events."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard

    async def page(self, request: Request) -> Response:
        """Returns a page of events; a search that cannot be understood is shown with the place of the fault."""
        viewer = await self._dashboard.viewer(request)
        asked = Asked.of(request.query_params)
        try:
            if "field" in request.query_params:
                return self._with_term(request, asked)
            query = trail.parse(asked.q)
            found = await self._dashboard.lookups.run(lambda conn: self._look(conn, request, viewer, asked))
        except InvalidQuery as error:
            saved = await self._dashboard.lookups.run(lambda conn: saved_searches.saved(conn, viewer.id))
            return self._render(request, viewer, asked, Found(NOTHING, None, saved, 0), error=error)
        return self._render(request, viewer, asked, found, chips=chips(query))

    async def count(self, request: Request) -> Response:
        """Returns how many events the search finds: exactly up to a thousand, and never by reading the whole log."""
        viewer = await self._dashboard.viewer(request)
        asked = Asked.of(request.query_params)
        try:
            count = await self._dashboard.lookups.run(lambda conn: views.count(conn, viewer, asked.q))
        except InvalidQuery as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.") from error
        return self._dashboard.render(request, "event_count.html", viewer, count=count)

    def _with_term(self, request: Request, asked: Asked) -> Response:
        """Leads to the search with one more term, so that the address says what is shown."""
        given = request.query_params
        q = with_term(asked.q, given["field"], given.get("value", "").strip(), negated="not" in given)
        return self._dashboard.redirect(request, "/events", **asked.query(q=q, after=None))

    def _look(self, conn: Connection, request: Request, viewer: Viewer, asked: Asked) -> Found:
        """Finds what the page shows."""
        size = views.size_of_log(conn)
        view = views.search(conn, viewer, asked.q, asked.after, asked.limit)
        reader = Reader.of(request, viewer, self._dashboard.settings)
        reader.viewed(conn, query=asked.q, count=len(view.entries))
        count = self._count(conn, viewer, asked, view)
        return Found(view, count, saved_searches.saved(conn, viewer.id), size)

    @staticmethod
    def _count(conn: Connection, viewer: Viewer, asked: Asked, view: View) -> Count | None:
        """Returns how many events there are, if the only page shows them or the address asks for it."""
        if asked.after is None and view.next is None:
            return Count(len(view.entries), exact=True)
        return views.count(conn, viewer, asked.q) if asked.counts else None

    def _render(self, request: Request, viewer: Viewer, asked: Asked, found: Found, **context: object) -> Response:
        given: dict[str, object] = {"chips": (), "error": None} | context
        status = HTTPStatus.UNPROCESSABLE_ENTITY if given["error"] else HTTPStatus.OK
        return self._dashboard.render(
            request,
            "events.html",
            viewer,
            status,
            asked=asked,
            found=found,
            sizes=SIZES,
            fields=field_names(),
            now=datetime.now(UTC),
            events=event_views,
            **given,
        )
