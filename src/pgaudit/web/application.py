"""The ASGI application: routes, errors and connections, put together."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from pgaudit.settings import Settings
from pgaudit.web.database import Database
from pgaudit.web.problems import HANDLERS
from pgaudit.web.routes import Queues, openapi
from pgaudit.web.tokens import guarded

HEALTH: Final = "/api/v1/health/queues"
ADMIN: Final = "/api/v1/admin/queues"


def create_app(settings: Settings | None = None) -> Starlette:
    """Returns the application; settings are read from the environment when left out. No I/O until the first request.

    >>> app = FastAPI()
    >>> app.mount("/audit", create_app())
    """
    settings = settings or Settings()
    database = Database(settings)
    queues, token = Queues(database, settings), settings.admin_token
    routes = [
        Route(HEALTH, queues.health),
        Route(f"{ADMIN}/stats", guarded(queues.stats, token)),
        Route(f"{ADMIN}/health", guarded(queues.report, token)),
        Route(f"{ADMIN}/jobs/{{id}}/retry", guarded(queues.retry, token), methods=["POST"]),
        Route("/metrics", queues.metrics),
        Route("/api/v1/openapi.json", openapi),
    ]
    return assembled(routes, database)


def create_probe(settings: Settings) -> Starlette:
    """Returns an application with the health route alone, for a port that is open to everyone."""
    database = Database(settings)
    return assembled([Route(HEALTH, Queues(database, settings).health)], database)


def assembled(routes: Sequence[Route], database: Database) -> Starlette:
    """Returns an application of these routes that closes its connections on shutdown."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await run_in_threadpool(database.close)

    app = Starlette(routes=routes, exception_handlers=HANDLERS, lifespan=lifespan)
    app.router.redirect_slashes = False  # exactly these paths
    return app
