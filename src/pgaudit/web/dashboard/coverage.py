"""The page of the coverage: which tables are captured or guarded, and what passed without an event in the last day."""

from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgaudit.guard import coverage
from pgaudit.web.coverage import shown
from pgaudit.web.dashboard.frame import Dashboard

ALL_TENANTS: Final = "Tables hold the rows of all tenants, and you may see a part: ask for access to all tenants."


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of the page and of its live part."""
    page = CoveragePage(dashboard)
    return [Route("/coverage", page.page), Route("/coverage/live", page.live)]


class CoveragePage:
    """The page of the coverage."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._coverage = dashboard.lookups.share(coverage.report)

    async def page(self, request: Request) -> Response:
        """Returns the page."""
        return await self._render(request, "coverage.html")

    async def live(self, request: Request) -> Response:
        """Returns the part of the page that changes."""
        return await self._render(request, "coverage_live.html")

    async def _render(self, request: Request, template: str) -> Response:
        """Returns one of the templates.

        :raises HTTPException: 403, the viewer sees a part of the trail: targets and counts are those of all tenants.
        """
        viewer = await self._dashboard.viewer(request)
        if not viewer.sees_everything:
            raise HTTPException(HTTPStatus.FORBIDDEN, ALL_TENANTS)
        seen = await shown(viewer, await self._coverage.result())
        return self._dashboard.render(request, template, viewer, seen=seen)
