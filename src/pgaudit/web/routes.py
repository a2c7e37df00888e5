"""What each route does. The routes are plain functions: Starlette runs them in threads, beside its event loop."""

import re
from http import HTTPStatus
from typing import Final

import psycopg
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pgaudit import health, jobs, stats
from pgaudit.health import HealthReport, Status
from pgaudit.settings import Settings
from pgaudit.web import metrics
from pgaudit.web.bodies import PublicHealth, Retried, Statistics, json_response
from pgaudit.web.database import Database
from pgaudit.web.openapi import LARGEST_ID, document
from pgaudit.web.problems import NEVER_CACHED

NUMBER: Final = re.compile("[1-9][0-9]{0,18}")


class Queues:
    """The routes of the audit queue."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def health(self, _request: Request) -> Response:
        """Returns the verdict, for everyone: 503 makes a probe fail."""
        report = self._look()
        bad = report.status is Status.UNHEALTHY
        return json_response(PublicHealth.of(report), HTTPStatus.SERVICE_UNAVAILABLE if bad else HTTPStatus.OK)

    def report(self, _request: Request) -> Response:
        """Returns the report with its details; 200 whatever it says."""
        return json_response(self._look())

    def stats(self, _request: Request) -> Response:
        """Returns the statistics of the queue and its workers."""
        with self._database.connection() as conn:
            statistics = Statistics(stats.queue_stats(conn), stats.worker_stats(conn))
        return json_response(statistics)

    def retry(self, request: Request) -> Response:
        """Runs a failed job again."""
        job_id = number(request.path_params["id"])
        with self._database.connection() as conn:
            jobs.retry_jobs(conn, [job_id])
        return json_response(Retried(job_id))

    def metrics(self, _request: Request) -> Response:
        """Returns one scrape."""
        with self._database.connection() as conn:
            scrape = metrics.look(conn, self._settings)
        return Response(metrics.exposition(scrape), 200, NEVER_CACHED, metrics.MEDIA_TYPE)

    def _look(self) -> HealthReport:
        """Returns the report; a database that cannot be reached is reported, too."""
        try:
            with self._database.connection() as conn:
                return health.check(conn, self._settings)
        except psycopg.Error as error:
            return health.unreachable(error)


def openapi(request: Request) -> Response:
    """Returns the document, for where the application is mounted."""
    return JSONResponse(document(request.scope.get("root_path") or "/"), 200, NEVER_CACHED)


def number(text: str) -> int:
    """Returns the number of a job.

    :raises HTTPException: 422, it is none.
    """
    if not NUMBER.fullmatch(text) or int(text) > LARGEST_ID:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"The id of a job is a number from 1 to {LARGEST_ID}.")
    return int(text)
