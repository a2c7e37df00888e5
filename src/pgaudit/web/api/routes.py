"""Adds the routes of the API to the application, with what the OpenAPI document says about them."""

from typing import Any, Final

from fastapi import Depends, FastAPI
from pydantic import TypeAdapter
from starlette.responses import Response

from pgaudit.guard import Coverage
from pgaudit.settings import Settings
from pgaudit.web import proofs
from pgaudit.web.access import Action
from pgaudit.web.api.bodies import EventBody, EventPage, TimelineBody
from pgaudit.web.api.coverage import CoverageRoutes
from pgaudit.web.api.events import EventRoutes
from pgaudit.web.api.export import ExportRoutes
from pgaudit.web.api.integrity import IntegrityBody, IntegrityRoutes
from pgaudit.web.api.parameters import documented
from pgaudit.web.api.timeline import TimelineRoutes
from pgaudit.web.bodies import Problem
from pgaudit.web.exporting import MEDIA_TYPES, Exports
from pgaudit.web.guard import Guard, RequireAccess
from pgaudit.web.lookups import Lookups
from pgaudit.web.problems import MEDIA_TYPE

AUDIT: Final = "/api/v1/audit"
PROBLEM: Final = TypeAdapter(Problem).json_schema()
PROBLEMS: Final = {
    400: "The body cannot be read.",
    401: "Nobody is logged in, or the token is missing or wrong.",
    403: "The user may not do this, or not search by a value that is hidden from them.",
    404: "There is no such event that the user may see.",
    409: "The log does not verify, so nothing is proved.",
    422: "A parameter cannot be understood; for a search, `position` is the place of the fault.",
    503: "The database does not answer.",
}
ETAG: Final = {"ETag": {"description": "Changes with what is sent.", "schema": {"type": "string"}}}


def add_audit_routes(app: FastAPI, lookups: Lookups, settings: Settings, guard: Guard, exports: Exports) -> None:
    """Adds the routes below ``/api/v1/audit/``."""
    events = EventRoutes(lookups, settings)
    app.add_api_route(
        f"{AUDIT}/events",
        events.events,
        operation_id="events",
        summary="Events that a search finds.",
        response_model=EventPage,
        openapi_extra={"parameters": documented()},
        **common(guard, "read", 401, 403, 422, 503),
    )
    app.add_api_route(
        f"{AUDIT}/events/{{id}}",
        events.event,
        operation_id="event",
        summary="One event.",
        response_model=EventBody,
        **common(guard, "read", 401, 403, 404, 422, 503, extra={200: {"headers": ETAG}, 304: UNCHANGED}),
    )
    add_integrity_routes(app, IntegrityRoutes(lookups, settings), guard)
    app.add_api_route(
        f"{AUDIT}/coverage",
        CoverageRoutes(lookups).coverage,
        operation_id="coverage",
        summary="Which tables are captured or guarded.",
        response_model=Coverage,
        **common(guard, "read", 401, 403, 503, whole=True),
    )
    timelines = TimelineRoutes(lookups, settings)
    app.add_api_route(
        f"{AUDIT}/timeline/{{type}}/{{id:path}}",
        timelines.timeline,
        operation_id="timeline",
        summary="The life of one thing.",
        response_model=TimelineBody,
        **common(guard, "read", 401, 403, 404, 422, 503),
    )
    app.add_api_route(
        f"{AUDIT}/export",
        ExportRoutes(exports).export,
        operation_id="export",
        summary="Events that a search finds, as a file.",
        response_class=FileResponse,
        openapi_extra={"parameters": documented()},
        **common(guard, "export", 401, 403, 422, 503, extra={200: {"content": FILES}}),
    )


def add_integrity_routes(app: FastAPI, integrity: IntegrityRoutes, guard: Guard) -> None:
    """Adds the routes about the integrity of the log."""
    app.add_api_route(
        f"{AUDIT}/events/{{id}}/proof",
        integrity.proof,
        operation_id="proof",
        summary="The proof that an event is in the signed log.",
        response_class=FileResponse,
        **common(guard, "read", 401, 403, 404, 409, 422, 503, extra={200: {"content": PROOF}}),
    )
    app.add_api_route(
        f"{AUDIT}/integrity",
        integrity.integrity,
        operation_id="integrity",
        summary="How far the log is signed, verified and anchored.",
        response_model=IntegrityBody,
        **common(guard, "read", 401, 403, 503, whole=True),
    )


class FileResponse(Response):
    """Leaves the media types of the files to the description of the route."""

    media_type = None


FILES: Final = {media_type: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES.values()}
PROOF: Final = {proofs.MEDIA_TYPE: {"schema": {"type": "string"}}}
UNCHANGED: Final[dict[str, Any]] = {"description": "The client has the event: If-None-Match names its ETag."}


def common(
    guard: Guard, action: Action, *statuses: int, extra: dict[int, dict[str, Any]] | None = None, whole: bool = False
) -> dict[str, Any]:
    """Returns the guard of a route, and the problems that it may answer with.

    :param whole: the route is for those who see the whole trail.
    """
    problems = {
        status: {"description": PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": PROBLEM}}} for status in statuses
    }
    return {
        "dependencies": [Depends(RequireAccess(guard, action, whole=whole))],
        "responses": {**problems, **(extra or {})},
        "tags": ["audit"],
    }
