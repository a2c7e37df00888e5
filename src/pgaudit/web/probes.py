"""The health routes. The application and the health port of a worker serve them; they do without FastAPI."""

from collections.abc import Sequence
from typing import Final

import psycopg
from starlette.requests import Request
from starlette.responses import Response

from pgaudit import health
from pgaudit.health import Check, HealthReport, Status
from pgaudit.settings import Settings
from pgaudit.web.bodies import health_response
from pgaudit.web.lookups import TIMEOUT_SECONDS, Lookups, SharedLookup

QUEUES: Final = "/api/v1/health/queues"
READY: Final = "/api/v1/health/ready"
LIVE: Final = "/api/v1/health/live"

NEEDED_TO_SERVE: Final = frozenset({"database", "schema_version"})


class HealthRoutes:
    """The health routes of an HTTP server."""

    def __init__(self, lookups: Lookups, settings: Settings) -> None:
        self._report = lookups.share(lambda conn: health.check(conn, settings))

    async def queues(self, _request: Request) -> Response:
        """Returns 200 while the trail is healthy or degraded, 503 with the reason when events are late."""
        return health_response(await self.report())

    async def ready(self, _request: Request) -> Response:
        """Returns 200 when this server can do its work, however late events are; 503 with the reason otherwise."""
        return health_response(await self.readiness())

    async def live(self, _request: Request) -> Response:
        """Returns 200 without a look at the database: the process answers."""
        return health_response(summarize(()))

    async def report(self) -> HealthReport:
        """Returns the health of the trail; a database that does not answer is reported, too."""
        return await report_or_unreachable(self._report)

    async def readiness(self) -> HealthReport:
        """Returns the checks without which no request can be answered."""
        report = await self.report()
        return summarize([check for check in report.checks if check.name in NEEDED_TO_SERVE])


async def report_or_unreachable(lookup: SharedLookup[HealthReport]) -> HealthReport:
    """Returns the report of the look-up, or one which says that the database does not answer."""
    try:
        return await lookup.result()
    except psycopg.Error as error:
        return health.unreachable(error)
    except TimeoutError:
        return health.unreachable(psycopg.OperationalError(f"no answer within {TIMEOUT_SECONDS:.0f} s"))


def summarize(checks: Sequence[Check]) -> HealthReport:
    """Returns a report that is as bad as the worst of its checks; healthy without any."""
    statuses = {check.status for check in checks}
    worst = next((status for status in reversed(Status) if status in statuses), Status.HEALTHY)
    return HealthReport(worst, tuple(checks))
