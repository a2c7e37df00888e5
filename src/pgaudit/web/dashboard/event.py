"""The page of one event: its fields, whether it still matches its hash, and the events of the same request."""

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgaudit.trail import Query, Stop, Term
from pgaudit.trail.page_cursor import Cursor
from pgaudit.web import integrity, proofs, views
from pgaudit.web.dashboard import event_views, values
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.guard import Viewer
from pgaudit.web.integrity import Sealed
from pgaudit.web.masking import MaskedEntry, masked_value
from pgaudit.web.reads import Reader
from pgaudit.web.views import Connection

NO_EVENT: Final = "There is no such event, or you may not see it."
SIGHTINGS: Final = (
    "SELECT recorded_by, recorded_at FROM pgaudit.event_sighting WHERE index = %s ORDER BY recorded_at LIMIT 20"
)
NEARBY: Final = 1_000  # events after it, at which the look for its neighbours begins
MOST_NEIGHBOURS: Final = 20
# What the page shows elsewhere than under "Further fields".
SHOWN: Final = frozenset(
    {"id", "action", "actor", "targets", "tenant", "outcome", "reason", "changes", "context", "data", "occurred_at"}
    | {"recorded_at", "recorded_by", "xid", "schema_version"}
)


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of the page and of the part with its neighbours."""
    event = Event(dashboard)
    return [
        Route("/events/{key}", event.page),
        Route("/events/{key}/neighbours", event.neighbours),
        Route("/events/{key}/proof", event.proof),
    ]


@dataclass(frozen=True, slots=True)
class Seen:
    """An event, the events that share its id, when the same event was recorded again, and how it is sealed.

    ``finding`` is what verifications have found about it.
    """

    entry: MaskedEntry
    same_id: list[MaskedEntry]
    sightings: list[tuple[object, datetime]]
    sealed: Sealed | None
    finding: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Events that share something with an event. ``stopped`` says how far the search for them has looked."""

    of: str
    query: str
    entries: list[MaskedEntry]
    stopped: Stop | None


class Event:
    """The page of one event."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard

    async def page(self, request: Request) -> Response:
        """Returns the page; an id leads to the address with the index, which is shorter.

        :raises HTTPException: 404, there is no such event that the viewer may see.
        """
        viewer = await self._dashboard.viewer(request)
        key = key_of(request)
        seen = await self._dashboard.lookups.run(lambda conn: self._look(conn, request, viewer, key))
        if isinstance(key, UUID):
            return self._dashboard.redirect(request, f"/events/{seen.entry.index}")
        return self._dashboard.render(
            request,
            "event.html",
            viewer,
            entry=seen.entry,
            seen=seen,
            others={name: value for name, value in seen.entry.event.items() if name not in SHOWN},
            now=datetime.now(UTC),
            events=event_views,
            values=values,
        )

    async def proof(self, request: Request) -> Response:
        """Returns the proof that the event is in the signed log, as a file.

        :raises HTTPException: 403, 404 or 409, as ``proofs.prove`` says.
        """
        viewer = await self._dashboard.viewer(request)
        key = key_of(request)
        reader = Reader.of(request, viewer, self._dashboard.settings)

        def look(conn: Connection) -> tuple[int, str]:
            entry, proof = proofs.prove(conn, viewer, key)
            reader.viewed(conn, event=str(entry.event_id), proof=True)
            return entry.index, proof

        return proofs.file_of(*await self._dashboard.lookups.run(look))

    async def neighbours(self, request: Request) -> Response:
        """Returns the part of the page with events of the same request and correlation.

        :raises HTTPException: 404, there is no such event that the viewer may see.
        """
        viewer = await self._dashboard.viewer(request)
        key = key_of(request)

        def look(conn: Connection) -> list[Neighbours]:
            entry = found(views.find(conn, viewer, key))
            groups = [near(conn, viewer, entry, *one) for one in event_views.neighbours_of(entry)]
            reader = Reader.of(request, viewer, self._dashboard.settings)
            for group in groups:
                reader.viewed(conn, query=group.query, count=len(group.entries))
            return groups

        groups = await self._dashboard.lookups.run(look)
        return self._dashboard.render(
            request, "event_neighbours.html", viewer, groups=groups, now=datetime.now(UTC), events=event_views
        )

    def _look(self, conn: Connection, request: Request, viewer: Viewer, key: int | UUID) -> Seen:
        """Finds the event and what belongs to it."""
        entry = found(views.find(conn, viewer, key))
        same = views.search(conn, viewer, Query((Term("id", (str(entry.event_id),)),)), limit=MOST_NEIGHBOURS)
        rows = conn.execute(SIGHTINGS, [entry.index]).fetchall()
        sightings = [(masked_value(viewer, "recorded_by", role), moment) for role, moment in rows]
        Reader.of(request, viewer, self._dashboard.settings).viewed(conn, event=str(entry.event_id))
        others = [one for one in same.entries if one.index != entry.index]
        sealed, finding = integrity.sealed(conn, entry.index), integrity.finding_about(conn, entry.index)
        return Seen(entry, others, sightings, sealed, finding)


def near(conn: Connection, viewer: Viewer, entry: MaskedEntry, of: str, query: Query) -> Neighbours:
    """Returns the events of a search near an event; without an index for it, in the 100,000 events before it."""
    after = str(Cursor("before", entry.index + NEARBY))
    view = views.search(conn, viewer, query, after, MOST_NEIGHBOURS + 1)
    others = [one for one in view.entries if one.index != entry.index]
    return Neighbours(of, str(query), others[:MOST_NEIGHBOURS], view.stopped)


def key_of(request: Request) -> int | UUID:
    """Returns the index or the id that an address names.

    :raises HTTPException: 404, it names none.
    """
    key = views.key_of(request.path_params["key"])
    if key is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, NO_EVENT)
    return key


def found(entry: MaskedEntry | None) -> MaskedEntry:
    """Returns the entry.

    :raises HTTPException: 404, there is none.
    """
    if entry is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, NO_EVENT)
    return entry
