"""The FastAPI application: routes, errors, the OpenAPI document and connections, put together."""

from typing import Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from pgaudit.settings import Settings
from pgaudit.web import probes
from pgaudit.web.access import Access, TokenAccess
from pgaudit.web.api.routes import add_audit_routes
from pgaudit.web.api.stream_routes import add_stream_routes
from pgaudit.web.bodies import Problem, PublicHealth
from pgaudit.web.dashboard import errors, pages
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.dashboard.headers import Headers
from pgaudit.web.database import Database, close_on_shutdown
from pgaudit.web.guard import Guard, RequireAccess
from pgaudit.web.lookups import Lookups
from pgaudit.web.probes import HealthRoutes
from pgaudit.web.problems import HANDLERS, MEDIA_TYPE, NEVER_CACHED, problem
from pgaudit.web.routes import QueueRoutes
from pgaudit.web.tokens import RequireToken

ADMIN: Final = "/api/v1/admin/queues"
PROBLEM: Final = TypeAdapter(Problem).json_schema()
PROBLEMS: Final = {
    401: "The token is missing or wrong.",
    403: "The server has no token for this route.",
    404: "No failed job has that number.",
    422: "The id is not the number of a job.",
    503: "The database does not answer.",
}
Responses = dict[int | str, dict[str, Any]]


def create_app(settings: Settings | None = None, access: Access | None = None) -> FastAPI:
    """Returns the application. No I/O until the first request.

    >>> app = FastAPI()
    >>> app.mount("/audit", create_app())

    :param settings: read from the environment when left out.
    :param access: who may see and do what; when left out, PGAUDIT_ADMIN_TOKEN opens everything.
    """
    settings = settings or Settings()
    database = Database(settings)
    lookups = Lookups(database)
    guard = Guard(access or TokenAccess(settings))
    dashboard = Dashboard(settings, lookups, guard)
    handlers: dict[Any, Any] = errors.as_pages(dashboard, HANDLERS | {RequestValidationError: invalid_request})
    app = FastAPI(
        title="pgaudit",
        version="1",
        description="The audit trail: search, timelines and exports; its health, statistics and retries.",
        openapi_url=None,  # a route of ours serves it, so that the document describes that, too
        redirect_slashes=False,  # exactly these paths
        dependencies=[Depends(never_cache)],
        exception_handlers=handlers,
        middleware=[Middleware(Headers, refuse=handlers[HTTPException])],
        lifespan=close_on_shutdown(database),
    )
    health = HealthRoutes(lookups, settings)
    add_health_routes(app, health)
    add_queue_routes(app, QueueRoutes(lookups, settings, health), settings, guard)
    add_audit_routes(app, lookups, settings, guard, dashboard.exports)
    add_stream_routes(app, lookups, settings, guard)
    app.add_api_route("/api/v1/openapi.json", openapi, operation_id="openapi", summary="This document.")
    allow_head(app)
    app.routes.extend(pages.routes(dashboard))
    return app


def add_health_routes(app: FastAPI, health: HealthRoutes) -> None:
    """Adds the routes for probes, which are public."""
    unhealthy: Responses = {503: {"model": PublicHealth, "description": "Unhealthy; the body has the reason."}}
    for path, endpoint, summary in (
        (probes.QUEUES, health.queues, "Whether events reach the log in time."),
        (probes.READY, health.ready, "Whether this server can do its work."),
        (probes.LIVE, health.live, "Whether the process answers."),
    ):
        responses = {} if path == probes.LIVE else unhealthy
        app.add_api_route(
            path,
            endpoint,
            operation_id=endpoint.__name__,
            summary=summary,
            response_model=PublicHealth,
            responses=responses,
        )


def add_queue_routes(app: FastAPI, queue: QueueRoutes, settings: Settings, guard: Guard) -> None:
    """Adds the admin routes for those who may read or retry, and the metrics behind their token if there is one."""
    read, retry = (Depends(RequireAccess(guard, action, whole=True)) for action in ("read", "retry"))
    app.add_api_route(
        f"{ADMIN}/stats",
        queue.stats,
        operation_id="stats",
        summary="The queue and its workers.",
        responses=problems(401, 403, 503),
        dependencies=[read],
    )
    app.add_api_route(
        f"{ADMIN}/health",
        queue.report,
        operation_id="report",
        summary="The health report.",
        responses=problems(401, 403),
        dependencies=[read],
    )
    app.add_api_route(
        f"{ADMIN}/jobs/{{id}}/retry",
        queue.retry,
        methods=["POST"],
        operation_id="retry",
        summary="Runs a failed job again.",
        responses=problems(401, 403, 404, 422, 503),
        dependencies=[retry],
    )
    token = settings.metrics_token
    app.add_api_route(
        "/metrics",
        queue.metrics,
        operation_id="metrics",
        summary="The trail for Prometheus.",
        response_class=OpenMetricsResponse,
        responses=problems(401, 503) if token else problems(503),
        dependencies=[Depends(RequireToken("metrics", token))] if token else [],
    )


class OpenMetricsResponse(Response):
    """Tells the OpenAPI document the media type of the metrics."""

    media_type = "application/openmetrics-text"


def problems(*statuses: int) -> Responses:
    """Returns the problems that a route may answer with, for the OpenAPI document."""
    return {
        status: {"description": PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": PROBLEM}}} for status in statuses
    }


async def openapi(request: Request) -> dict[str, Any]:
    """Returns the OpenAPI document, for the path at which the application is mounted."""
    document: dict[str, Any] = request.app.openapi()
    return document | {"servers": [{"url": request.scope.get("root_path") or "/"}]}


async def never_cache(response: Response) -> None:
    """Forbids to cache what a route returns."""
    response.headers.update(NEVER_CACHED)


async def invalid_request(_request: Request, error: Exception) -> Response:
    """Returns 422 with a sentence for each invalid parameter."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for these
    sentences = [one["msg"].removeprefix("Value error, ") for one in error.errors()]
    return problem(422, " ".join(sentences))


def allow_head(app: FastAPI) -> None:
    """Answers HEAD like GET, which some probes send. FastAPI does not, and would document each route twice."""
    app.openapi()  # keeps the document as it is now
    for route in app.routes:
        if isinstance(route, Route) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")
