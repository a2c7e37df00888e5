"""The pages of the dashboard. A page is a module with ``routes(dashboard)``; this is the list of them."""

from collections.abc import Callable
from typing import Final

from starlette.routing import Route

from pgaudit.web.dashboard import (
    coverage,
    event,
    events,
    exports,
    integrity,
    jobs,
    login,
    overview,
    searches,
    streams,
    timeline,
    workers,
)
from pgaudit.web.dashboard.assets import ASSETS
from pgaudit.web.dashboard.frame import Dashboard

PAGES: Final[tuple[Callable[[Dashboard], list[Route]], ...]] = (
    login.routes,
    overview.routes,
    events.routes,
    event.routes,
    timeline.routes,
    searches.routes,
    jobs.routes,
    workers.routes,
    streams.routes,
    integrity.routes,
    coverage.routes,
    exports.routes,
)


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of all pages and of their style sheet and scripts, and fills the menu."""
    found = [route for page in PAGES for route in page(dashboard)]
    dashboard.offer(route.path for route in found)
    return found + ASSETS.routes()
