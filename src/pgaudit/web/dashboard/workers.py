"""The page of the workers: which are alive, and what they do."""

from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgaudit.web.dashboard import figures
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.dashboard.job_views import sees_everything

WHOLE_TRAIL: Final = "Workers work for the whole trail, and you may see a part of it: ask for access to all tenants."


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of the page and of its live part."""
    workers = Workers(dashboard)
    return [Route("/workers", workers.page), Route("/workers/live", workers.live)]


class Workers:
    """The page of the workers."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._figures = dashboard.lookups.share(figures.look_at_workers)

    async def page(self, request: Request) -> Response:
        """Returns the page."""
        return await self._render(request, "workers.html")

    async def live(self, request: Request) -> Response:
        """Returns the part of the page that changes."""
        return await self._render(request, "workers_live.html")

    async def _render(self, request: Request, template: str) -> Response:
        """Returns one of the templates.

        :raises HTTPException: 403, the viewer sees a part of the trail.
        """
        viewer = await self._dashboard.viewer(request)
        if not sees_everything(viewer):
            raise HTTPException(HTTPStatus.FORBIDDEN, WHOLE_TRAIL)
        seen = await self._figures.result()
        return self._dashboard.render(request, template, viewer, seen=seen)
