"""The admin routes and the metrics: what each route does."""

import re
from typing import Annotated, Any, Final

import psycopg
from fastapi import Path
from pydantic import BeforeValidator, Field
from starlette.responses import Response

from pgaudit import jobs, stats
from pgaudit.health import HealthReport
from pgaudit.settings import Settings
from pgaudit.web import metrics, scrape
from pgaudit.web.bodies import QueueStatistics, Retried
from pgaudit.web.lookups import Lookups
from pgaudit.web.probes import HealthRoutes
from pgaudit.web.problems import NEVER_CACHED

LARGEST_ID: Final = 2**63 - 1
DIGITS: Final = re.compile("[1-9][0-9]{0,18}")


def parse_job_id(text: str) -> int:
    """Returns the number of a job: ASCII digits, without the other spellings that ``int`` accepts.

    :raises ValueError: it is not one.
    """
    if not DIGITS.fullmatch(text) or int(text) > LARGEST_ID:
        raise ValueError(f"The id of a job is a number from 1 to {LARGEST_ID}.")
    return int(text)


JobId = Annotated[
    int,
    Field(ge=1, le=LARGEST_ID, json_schema_extra={"format": "int64"}),
    BeforeValidator(parse_job_id),  # after the bounds, which the OpenAPI document would lack otherwise
    Path(alias="id", description="Number of a failed job."),
]


class QueueRoutes:
    """The routes of the audit queue."""

    def __init__(self, lookups: Lookups, settings: Settings, health: HealthRoutes) -> None:
        self._lookups = lookups
        self._health = health
        self._stats = lookups.share(look_at_queue)
        self._metrics = lookups.share(lambda conn: metrics.exposition(scrape.look(conn, settings)))

    async def stats(self) -> QueueStatistics:
        """Returns the statistics of the queue and its workers, at most a second old."""
        return await self._stats.result()

    async def report(self) -> HealthReport:
        """Returns the health report with its details; 200 whatever it says."""
        return await self._health.report()

    async def retry(self, job_id: JobId) -> Retried:
        """Runs a failed job again, from its first attempt."""
        await self._lookups.run(lambda conn: jobs.retry_jobs(conn, [job_id]))
        return Retried(job_id)

    async def metrics(self) -> Response:
        """Returns the metrics in the format of OpenMetrics, at most a second old."""
        return Response(await self._metrics.result(), 200, NEVER_CACHED, metrics.MEDIA_TYPE)


def look_at_queue(conn: psycopg.Connection[Any]) -> QueueStatistics:
    """Returns the statistics of the queue and its workers."""
    return QueueStatistics(stats.queue_stats(conn), stats.worker_stats(conn))
