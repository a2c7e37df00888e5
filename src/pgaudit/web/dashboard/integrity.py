"""The page of the integrity: how far the log is signed, verified and anchored, and what verifications have found."""

from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgaudit.web import integrity
from pgaudit.web.dashboard.frame import Dashboard

WHOLE_TRAIL: Final = "The log is signed as a whole, and you may see a part of it: ask for access to all tenants."


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of the page and of its live part."""
    page = IntegrityPage(dashboard)
    return [Route("/integrity", page.page), Route("/integrity/live", page.live)]


class IntegrityPage:
    """The page of the integrity."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._integrity = dashboard.lookups.share(integrity.look)

    async def page(self, request: Request) -> Response:
        """Returns the page."""
        return await self._render(request, "integrity.html")

    async def live(self, request: Request) -> Response:
        """Returns the part of the page that changes."""
        return await self._render(request, "integrity_live.html")

    async def _render(self, request: Request, template: str) -> Response:
        """Returns one of the templates.

        :raises HTTPException: 403, the viewer sees a part of the trail: the numbers are those of all tenants.
        """
        viewer = await self._dashboard.viewer(request)
        if not viewer.sees_everything:
            raise HTTPException(HTTPStatus.FORBIDDEN, WHOLE_TRAIL)
        seen = await self._integrity.result()
        return self._dashboard.render(request, template, viewer, seen=seen, runbook=integrity.RUNBOOK)
