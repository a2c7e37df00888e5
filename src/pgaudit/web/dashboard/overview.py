"""The first page: whether the trail is keeping up, and what is wrong if not."""

from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgaudit.health import Check, HealthReport, Status
from pgaudit.jobs import pages as job_pages
from pgaudit.web.bodies import public_message
from pgaudit.web.dashboard import axes, figures, plots
from pgaudit.web.dashboard.figures import Figures
from pgaudit.web.dashboard.filters import zone_of
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.dashboard.job_views import ShownJob, scope_of, sees_everything
from pgaudit.web.guard import Viewer
from pgaudit.web.reads import Reader
from pgaudit.web.views import Connection

SENTENCES: Final = {
    Status.HEALTHY: "The audit trail is keeping up.",
    Status.DEGRADED: "The audit trail is keeping up, and something needs attention.",
    Status.UNHEALTHY: "Events do not reach the log in time.",
}
# Checks of what comes after the log: when nothing else is unhealthy, events do reach it.
AFTER_THE_LOG: Final = frozenset({"streams", "sealing", "verification"})
BROKEN_AFTERWARDS: Final = "Events reach the log, but something after it is broken."


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of the overview and of its live part."""
    overview = Overview(dashboard)
    return [Route("/", overview.page), Route("/overview/live", overview.live)]


class Overview:
    """The overview."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._figures = dashboard.lookups.share(partial(figures.look, settings=dashboard.settings))

    async def page(self, request: Request) -> Response:
        """Returns the page."""
        return await self._render(request, "overview.html")

    async def live(self, request: Request) -> Response:
        """Returns the part of the page that changes."""
        return await self._render(request, "overview_live.html")

    async def _render(self, request: Request, template: str) -> Response:
        viewer = await self._dashboard.viewer(request)
        seen = await self._figures.result()
        failed = [ShownJob.of(viewer, job) for job in await self._failed(request, viewer, seen)]
        shown: dict[str, Any] = {
            "hours": hours_of(request),
            "ranges": list(plots.RANGES),
            "failed": failed,
        }
        return self._dashboard.render(request, template, viewer, **shown, **drawn(request, viewer, seen))

    async def _failed(self, request: Request, viewer: Viewer, seen: Figures) -> list[job_pages.QueuedJob]:
        """Returns the jobs that have failed last, of those that the viewer sees."""
        whole, wanted = sees_everything(viewer), scope_of(viewer)
        reader = Reader.of(request, viewer, self._dashboard.settings)
        if whole and not (seen.failed and reader.records_reads):
            return seen.failed

        def look(conn: Connection) -> list[job_pages.QueuedJob]:
            failed = seen.failed if whole else job_pages.newest_failed(conn, wanted)
            if failed:
                reader.viewed(conn, jobs="failed", count=len(failed))
            return failed

        return await self._dashboard.lookups.run(look)


def hours_of(request: Request) -> int:
    """Returns how many hours the plots show."""
    given = request.query_params.get("hours", "")
    return next((hours for hours in plots.RANGES if str(hours) == given), plots.DEFAULT_HOURS)


def drawn(request: Request, viewer: Viewer, seen: Figures) -> dict[str, Any]:
    """Returns the variables of the page. A viewer of a part of the trail sees no numbers of the whole."""
    zone = zone_of(request.cookies.get("pgaudit_tz", ""))
    whole = sees_everything(viewer)
    buckets = plots.buckets(seen.throughput, hours_of(request), seen.observed_at)
    checks = figures.by_status(shown_checks(seen.health, whole=whole))
    return {
        "observed_at": seen.observed_at,
        "verdict": seen.health.status,
        "sentence": sentence_of(seen.health),
        "checks": checks,
        "buckets": buckets,
        "duration": axes.duration,
        "lag": plots.lag_plot(buckets, zone),
        "throughput": plots.throughput_plot(buckets, zone) if whole else None,
        "figures": seen if whole else None,
        "groups": figures.storage_groups(seen.storage or []),
        "largest": (seen.storage or [])[: figures.LARGEST],
    }


def sentence_of(report: HealthReport) -> str:
    """Returns what the whole report says."""
    unhealthy = {check.name for check in report.checks if check.status is Status.UNHEALTHY}
    return BROKEN_AFTERWARDS if unhealthy and unhealthy <= AFTER_THE_LOG else SENTENCES[report.status]


def shown_checks(report: HealthReport, *, whole: bool) -> list[Check]:
    """Returns the checks; to a viewer of a part of the trail, only those of the public health routes."""
    if whole:
        return list(report.checks)
    return [Check(check.name, check.status, None, None, public_message(check)) for check in report.checks]
