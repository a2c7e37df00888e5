"""Routes that find events: a page of those that a search finds, and one by its index or id."""

from hashlib import sha256
from http import HTTPStatus
from typing import Final

from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pgaudit.settings import Settings
from pgaudit.web import views
from pgaudit.web.api.bodies import event_text, page_text
from pgaudit.web.api.parameters import NOT_A_KEY, After, EventId, Limit, Q, search_of
from pgaudit.web.api.viewer import CurrentViewer
from pgaudit.web.lookups import Lookups
from pgaudit.web.mount import root_of
from pgaudit.web.reads import Reader
from pgaudit.web.views import Connection, View

# A user's own cache may keep an event, and asks each time: what the user may see can change.
PRIVATE: Final = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
NO_EVENT: Final = "There is no event {id} that you may see."


class EventRoutes:
    """The routes that find events."""

    def __init__(self, lookups: Lookups, settings: Settings) -> None:
        self._lookups = lookups
        self._settings = settings

    async def events(
        self,
        request: Request,
        viewer: CurrentViewer,
        q: Q = "",  # noqa: ARG002 - it is read with the other fields
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """Returns a page of the events that a search finds, the newest first.

        What no index serves is looked for in 100,000 events a page; `stopped` then says how far the search has looked,
        and `next` goes on there.
        """
        reader = Reader.of(request, viewer, self._settings)
        search = search_of(request.query_params, ("q", "after", "limit"))

        def look(conn: Connection) -> View:
            view = views.search(conn, viewer, search, after, limit)
            reader.viewed(conn, query=str(search), count=len(view.entries))
            return view

        view = await self._lookups.run(look)
        return Response(page_text(view, links(request, view)), media_type="application/json")

    async def event(self, request: Request, viewer: CurrentViewer, key: EventId) -> Response:
        """Returns one event, by its index in the log or by its id."""
        reader = Reader.of(request, viewer, self._settings)
        wanted = views.key_of(key)
        if wanted is None:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, NOT_A_KEY)

        def look(conn: Connection) -> str | None:
            entry = views.find(conn, viewer, wanted)
            if entry is None:
                return None
            reader.viewed(conn, event=str(entry.event_id))
            return event_text(entry)

        text = await self._lookups.run(look)
        if text is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, NO_EVENT.format(id=wanted))
        return tagged(request, text)


def links(request: Request, view: View) -> dict[str, str | None]:
    """Returns the addresses of a page and of its neighbours, below the mount."""

    def address(**changed: str) -> str:
        query = request.url.include_query_params(**changed).query
        return root_of(request.scope) + get_route_path(request.scope) + (f"?{query}" if query else "")

    return {
        "self": address(),
        "next": view.next and address(after=view.next),
        "previous": view.previous and address(after=view.previous),
    }


def tagged(request: Request, text: str) -> Response:
    """Returns a body with its tag, or 304 if the client has it. The tag is that of what is sent: it tells no more."""
    body = text.encode()
    headers = PRIVATE | {"ETag": f'"{sha256(body).hexdigest()[:32]}"'}
    if is_known(request.headers.get("If-None-Match", ""), headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def is_known(given: str, tag: str) -> bool:
    """Returns whether If-None-Match names the tag."""
    tags = {one.strip().removeprefix("W/") for one in given.split(",")}
    return tag in tags or "*" in tags
