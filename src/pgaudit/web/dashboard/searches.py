"""Saved searches: the form that saves one under a name, and the one that deletes it."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgaudit import saved_searches, trail
from pgaudit.errors import InvalidQuery, SearchNotSaved
from pgaudit.web.dashboard.frame import Dashboard


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of the forms."""
    searches = Searches(dashboard)
    return [
        Route("/searches", searches.save, methods=["POST"]),
        Route("/searches/delete", searches.delete, methods=["POST"]),
    ]


class Searches:
    """The searches of the users, each of which sees their own."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard

    async def save(self, request: Request) -> Response:
        """Saves a search under a name, in place of one that has the name, and leads back to it.

        :raises HTTPException: 422, it is not a search or cannot be saved.
        """
        viewer, form = await self._dashboard.posted(request, "read")
        try:
            q = str(trail.parse(form.text("q")))
            name = form.text("name") or q or "All events"
            await self._dashboard.lookups.run(lambda conn: saved_searches.save(conn, viewer.id, name, q))
        except (InvalidQuery, SearchNotSaved) as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.") from error
        return self._dashboard.redirect(request, "/events", q=q or None)

    async def delete(self, request: Request) -> Response:
        """Deletes a search of the user, and leads back to what was shown."""
        viewer, form = await self._dashboard.posted(request, "read")
        name = form.text("name")
        await self._dashboard.lookups.run(lambda conn: saved_searches.delete(conn, viewer.id, name))
        return self._dashboard.redirect(request, "/events", q=form.text("q") or None)
