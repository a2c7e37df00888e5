"""Timelines: the life of a thing with its state at any moment, and what an actor has done, day by day."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from http import HTTPStatus
from itertools import groupby
from typing import Any, Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgaudit.errors import InvalidQuery
from pgaudit.sealing.completeness import sealed_until
from pgaudit.trail import FieldDifference, Moment, Query, Stop, Term, Timeline, Told
from pgaudit.web import views
from pgaudit.web.dashboard import event_views, values
from pgaudit.web.dashboard.filters import zone_of
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.dashboard.timeline_requests import Asked, reference_of
from pgaudit.web.reads import Reader
from pgaudit.web.views import Connection

T = TypeVar("T")
MOST_MOMENTS: Final = 5_000
SHOWN: Final = 100  # on one page


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of both timelines."""
    timelines = Timelines(dashboard)
    return [
        Route("/timeline/{type}/{id:path}", timelines.target),
        Route("/actors/{type}/{id:path}", timelines.actor),
    ]


@dataclass(frozen=True, slots=True)
class Day:
    """The events of a day in the viewer's time zone, the newest first."""

    day: date
    moments: list[Moment]


class Timelines:
    """The pages of targets and actors."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard

    async def target(self, request: Request) -> Response:
        """Returns the life of a thing."""
        viewer = await self._dashboard.viewer(request)
        thing = reference_of(request)
        zone = zone_of(request.cookies.get("pgaudit_tz", ""))
        asked = Asked.of(request, zone)
        reader = Reader.of(request, viewer, self._dashboard.settings)

        def look(conn: Connection) -> tuple[Timeline, datetime | None]:
            life = views.timeline(conn, viewer, thing, MOST_MOMENTS)
            reader.viewed(conn, target=life.target, count=len(life.moments))
            is_whole = viewer.sees_everything and not life.stopped
            return life, sealed_until(conn, thing) if is_whole else None

        life, sealed = await self._run(look)
        return self._dashboard.render(
            request,
            "timeline.html",
            viewer,
            name=life.target,
            sealed=sealed,
            page=event_views.timeline_path("/timeline", *thing),
            asked=asked,
            state=life.state(asked.as_of_moment),
            differences=differences(life, asked),
            told=told,
            contradicted={one.by.index for one in life.contradictions()},
            search=str(Query((Term("target", (life.target,)),))),
            **listed(life.moments, life.stopped, asked.before, zone),
        )

    async def actor(self, request: Request) -> Response:
        """Returns what an actor has done."""
        viewer = await self._dashboard.viewer(request)
        actor = reference_of(request)
        zone = zone_of(request.cookies.get("pgaudit_tz", ""))
        asked = Asked.of(request, zone)
        reader = Reader.of(request, viewer, self._dashboard.settings)

        def look(conn: Connection) -> tuple[str, Sequence[Moment], Stop | None]:
            life = views.actor_timeline(conn, viewer, actor, asked.before)
            reader.viewed(conn, query=str(Query((Term("actor", (life.actor,)),))), count=len(life.moments))
            return life.actor, life.moments, life.stopped

        name, moments, stopped = await self._run(look)
        return self._dashboard.render(
            request,
            "actor.html",
            viewer,
            name=name,
            page=event_views.timeline_path("/actors", *actor),
            search=str(Query((Term("actor", (name,)),))),
            **listed(moments, stopped, asked.before, zone),
        )

    async def _run(self, look: Callable[[Connection], T]) -> T:
        """Returns what a look finds.

        :raises HTTPException: 404, the address names no single thing or actor.
        """
        try:
            return await self._dashboard.lookups.run(look)
        except InvalidQuery as error:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"{error}.") from error


def listed(moments: Sequence[Moment], stopped: Stop | None, before: int | None, zone: tzinfo) -> dict[str, Any]:
    """Returns the part of the moments that a page lists, by day, the newest first."""
    newest_first = [moment for moment in reversed(moments) if before is None or moment.index < before]
    shown = newest_first[:SHOWN]
    older = shown[-1].index if len(newest_first) > SHOWN else None
    return {
        "days": days(shown, zone),
        "total": len(moments),
        "older": older,
        "is_first": before is None,
        "stopped": stopped,
        "now": datetime.now(UTC),
        "events": event_views,
        "values": values,
    }


def days(moments: Sequence[Moment], zone: tzinfo) -> list[Day]:
    """Returns the moments by the day on which they occurred."""
    return [Day(day, list(those)) for day, those in groupby(moments, lambda moment: day_of(moment, zone))]


def day_of(moment: Moment, zone: tzinfo) -> date:
    """Returns the day of a moment in a time zone; in UTC where the zone would lead out of the years that there are."""
    try:
        return moment.occurred_at.astimezone(zone).date()
    except OverflowError:
        return moment.occurred_at.date()


def differences(life: Timeline, asked: Asked) -> list[FieldDifference] | None:
    """Returns what is not the same at the two moments; None if none is to be compared."""
    return None if asked.compare_moment is None else life.difference(asked.compare_moment, asked.as_of_moment)


def told(value: Told | None) -> object:
    """Returns how a page shows what was told: None for what is unknown."""
    return values.plain(value.value) if value and value.known else None
