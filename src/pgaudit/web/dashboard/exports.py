"""The page of the exports: a form for a new one, and the past ones."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgaudit import trail
from pgaudit.access_log import EXPORTED
from pgaudit.errors import InvalidQuery
from pgaudit.trail.export.plans import Format
from pgaudit.web import views
from pgaudit.web.dashboard import event_views
from pgaudit.web.dashboard.forms import Form
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.exporting import File
from pgaudit.web.guard import Viewer
from pgaudit.web.reads import Reader
from pgaudit.web.views import Connection, View

PAST: Final = f"action:{EXPORTED}"
FORMATS: Final[dict[Format, str]] = {
    "ndjson": "NDJSON: an event in each line, exactly as it is stored",
    "csv": "CSV: a table for spreadsheets",
    "parquet": "Parquet: a table for data analysis",
}


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of the page and of its form."""
    exports = ExportsPage(dashboard)
    return [
        Route("/exports", exports.page, methods=["GET"]),
        Route("/exports", exports.export, methods=["POST"]),
    ]


class ExportsPage:
    """The page of the exports."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._exports = dashboard.exports

    async def page(self, request: Request) -> Response:
        """Returns the form for what a search finds, and the past exports."""
        viewer = await self._dashboard.viewer(request)
        q = request.query_params.get("q", "").strip()
        after = request.query_params.get("after") or None
        error: InvalidQuery | None = None
        count = None
        try:
            count = await self._dashboard.lookups.run(lambda conn: views.count(conn, viewer, q))
        except InvalidQuery as fault:
            error = fault
        past = await self._past(request, viewer, after)
        return self._dashboard.render(
            request,
            "exports.html",
            viewer,
            HTTPStatus.UNPROCESSABLE_ENTITY if error else HTTPStatus.OK,
            q=q,
            error=error,
            count=count,
            formats=FORMATS,
            past=past,
            after=after,
            now=datetime.now(UTC),
            events=event_views,
        )

    async def export(self, request: Request) -> Response:
        """Returns the file.

        :raises HTTPException: 403, the viewer may not export; 422, what the form asks for cannot be exported.
        """
        viewer, form = await self._dashboard.posted(request, "export")
        try:
            query = trail.parse(form.text("q"))
            file = File(format_of(form), tuple(form.text("columns").split()), "bom" in form.fields)
            return await self._exports.response(request, viewer, query, file)
        except InvalidQuery as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.") from error

    async def _past(self, request: Request, viewer: Viewer, after: str | None) -> View:
        """Returns exports that have ended, the newest first.

        :raises HTTPException: 422, the address names no page of them.
        """

        def look(conn: Connection) -> View:
            view = views.search(conn, viewer, PAST, after, 20)
            reader = Reader.of(request, viewer, self._dashboard.settings)
            reader.viewed(conn, query=PAST, count=len(view.entries))
            return view

        try:
            return await self._dashboard.lookups.run(look)
        except InvalidQuery as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.") from error


def format_of(form: Form) -> Format:
    """Returns the format of a form.

    :raises HTTPException: 422, there is no such format.
    """
    for known in FORMATS:
        if form.text("format") == known:
            return known
    raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"A format is one of {', '.join(FORMATS)}.")
