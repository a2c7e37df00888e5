"""The pages of the streams: the list, and one with its history and its parked events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgaudit import processors, streams
from pgaudit.processors import ProcessorStats
from pgaudit.streams import Stream
from pgaudit.streams.history import Interval, recent
from pgaudit.web import stream_views
from pgaudit.web.dashboard import filters
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.dashboard.stream_forms import StreamForms
from pgaudit.web.dashboard.stream_input import DONE, after_of
from pgaudit.web.dashboard.stream_plots import DAY, HOUR, Sparkline, delivery_plot, spark
from pgaudit.web.guard import Viewer
from pgaudit.web.reads import Reader
from pgaudit.web.stream_operations import Connection, StreamOperations

ALL_TENANTS: Final = "Streams send events of all tenants, but you may see only some: ask for access to all tenants."
TONES: Final = {"active": "ok", "failing": "warn", "paused": "bad"}


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of the list, of one stream, and of its forms."""
    pages = StreamPages(dashboard)
    forms = StreamForms(dashboard, pages.operations, pages.tested)
    return [
        Route("/streams", pages.list),
        Route("/streams/live", pages.live),
        Route("/streams/{name}", pages.stream, methods=["GET"]),
        Route("/streams/{name}/live", pages.stream_live),
        Route("/streams/{name}/{operation}", forms.submit, methods=["POST"]),
    ]


@dataclass(frozen=True, slots=True)
class Listed:
    """A stream in the list, and the picture of its last day."""

    stream: Stream
    spark: Sparkline


def listed(conn: Connection) -> tuple[datetime, list[Listed], list[ProcessorStats]]:
    """Returns the streams and the processors, and when they were looked at."""
    now, found, intervals = datetime.now(UTC), streams.list_streams(conn), recent(conn, HOUR, DAY)
    return now, [Listed(one, spark(of(one.name, intervals), now)) for one in found], processors.list_processors(conn)


def of(name: str, intervals: Sequence[Interval]) -> list[Interval]:
    """Returns the intervals of one stream."""
    return [one for one in intervals if one.stream == name]


class StreamPages:
    """The pages of the streams, for those who see the whole trail."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._listed = dashboard.lookups.share(listed)
        self.operations = StreamOperations(dashboard.lookups, dashboard.settings)

    async def list(self, request: Request) -> Response:
        """Returns the page of all streams."""
        return await self._render_list(request, "streams.html")

    async def live(self, request: Request) -> Response:
        """Returns the part of it that changes."""
        return await self._render_list(request, "streams_live.html")

    async def stream(self, request: Request) -> Response:
        """Returns the page of one stream.

        :raises StreamNotFound: there is none of that name.
        """
        return await self._render_stream(request, "stream.html", await self._viewer(request))

    async def stream_live(self, request: Request) -> Response:
        """Returns the part of it that changes."""
        return await self._render_stream(request, "stream_live.html", await self._viewer(request))

    async def tested(self, request: Request, viewer: Viewer) -> Response:
        """Returns the page of one stream with what has come of a test."""
        accepted, result = await self.operations.test(request.path_params["name"])
        return await self._render_stream(
            request, "stream.html", viewer, tested={"accepted": accepted, "result": result}
        )

    async def _viewer(self, request: Request) -> Viewer:
        """Returns the user of a request.

        :raises HTTPException: 403, they see a part of the trail.
        """
        viewer = await self._dashboard.viewer(request)
        if not viewer.sees_everything:
            raise HTTPException(HTTPStatus.FORBIDDEN, ALL_TENANTS)
        return viewer

    async def _render_list(self, request: Request, template: str) -> Response:
        viewer = await self._viewer(request)
        now, found, called = await self._listed.result()
        shown = [Listed(stream_views.masked_stream(viewer, one.stream), one.spark) for one in found]
        return self._dashboard.render(
            request, template, viewer, observed_at=now, streams=shown, processors=called, tones=TONES
        )

    async def _render_stream(self, request: Request, template: str, viewer: Viewer, **more: Any) -> Response:
        name, after = request.path_params["name"], after_of(request.query_params.get("after"))
        reader = Reader.of(request, viewer, self._dashboard.settings)
        seen = await self._dashboard.lookups.run(lambda conn: stream_views.look(conn, viewer, reader, name, after))
        now, zone = datetime.now(UTC), filters.zone_of(request.cookies.get("pgaudit_tz", ""))
        given: dict[str, Any] = {
            "one": seen.stream,
            "seen": seen,
            "tones": TONES,
            "plot_of_day": delivery_plot(seen.intervals, now, zone),
            "observed_at": now,
            "after": after,
            "page_size": stream_views.PARKED_PAGE,
            "done": DONE.get(request.query_params.get("done", "")),
            "tested": None,
        }
        return self._dashboard.render(request, template, viewer, **(given | more))
