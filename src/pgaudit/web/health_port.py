"""The health port: the health routes beside a worker, in a thread of their own. It loads no FastAPI."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from starlette.applications import Starlette
from starlette.routing import Route

from pgaudit.health import Check, HealthReport, Status
from pgaudit.settings import Settings
from pgaudit.signals import worker_started, worker_stopped
from pgaudit.web import probes
from pgaudit.web.connection_limits import LIMITS
from pgaudit.web.database import Database, close_on_shutdown
from pgaudit.web.lookups import Lookups
from pgaudit.web.probes import HealthRoutes, report_or_unreachable, summarize
from pgaudit.web.problems import HANDLERS
from pgaudit.web.server import listening, serving

IS_ALIVE: Final = "SELECT alive FROM pgaudit.worker_stats WHERE worker_id = %s"


class WorkerHealthRoutes(HealthRoutes):
    """The health routes of the worker in this process. It is ready while its heartbeats reach the database."""

    def __init__(self, lookups: Lookups, settings: Settings) -> None:
        super().__init__(lookups, settings)
        self._worker_id: int | None = None
        self._readiness = lookups.share(self._look_at_worker)

    async def readiness(self) -> HealthReport:
        """Returns whether the worker is registered and alive: neither a backlog nor a late event matters."""
        return await report_or_unreachable(self._readiness)

    def worker_started(self, _signal: str, *, worker_id: int) -> None:
        """Receives the id under which the worker is registered."""
        self._worker_id = worker_id

    def worker_stopped(self, _signal: str, *, worker_id: int) -> None:  # noqa: ARG002 - a process has one worker
        """Receives that the worker is registered no longer."""
        self._worker_id = None

    def _look_at_worker(self, conn: psycopg.Connection[Any]) -> HealthReport:
        if self._worker_id is None:
            problem = "The worker of this process is not registered: see its log."
        elif conn.execute(IS_ALIVE, [self._worker_id]).fetchone() != (True,):
            problem = "The worker of this process sends no heartbeat: see its log."
        else:
            return summarize([Check("worker", Status.HEALTHY, "alive", None, "The worker of this process is alive.")])
        return summarize([Check("worker", Status.UNHEALTHY, None, None, problem)])


@contextmanager
def probing(settings: Settings, port: int) -> Generator[None]:
    """Serves the health routes on that port of ``settings.health_host`` inside the block.

    It has a thread and an event loop of its own: a worker that is busy keeps no probe waiting.

    :raises OSError: the port is in use, or the host is not one of this machine.
    """
    database = Database(settings)
    routes = WorkerHealthRoutes(Lookups(database), settings)
    with (
        worker_started.connected_to(routes.worker_started),
        worker_stopped.connected_to(routes.worker_stopped),
        listening(settings.health_host, port) as listener,
        serving(create_probe(routes, database), listener, **LIMITS),
    ):
        yield


def create_probe(health: HealthRoutes, database: Database) -> Starlette:
    """Returns an application with the health routes alone, for a port that may be open to everyone."""
    app = Starlette(
        routes=[
            Route(probes.QUEUES, health.queues),
            Route(probes.READY, health.ready),
            Route(probes.LIVE, health.live),
        ],
        exception_handlers=HANDLERS,
        lifespan=close_on_shutdown(database),
    )
    app.router.redirect_slashes = False  # exactly these paths
    return app
