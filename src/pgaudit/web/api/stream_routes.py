"""Adds the routes about streams to the application, with what the OpenAPI document says about them."""

from typing import Any, Final

from fastapi import FastAPI

from pgaudit.settings import Settings
from pgaudit.streams import Stream
from pgaudit.web.access import Action
from pgaudit.web.api.routes import AUDIT, common
from pgaudit.web.api.stream_bodies import Deliveries, ParkedEvents, RetriedEvents, StreamList, StreamTest
from pgaudit.web.api.streams import StreamRoutes
from pgaudit.web.guard import Guard
from pgaudit.web.lookups import Lookups

# Path, what answers, what it does, and the body; for a look its problems, for an act its method and the right to it.
Look = tuple[str, Any, str, Any, tuple[int, ...]]
Operation = tuple[str, str, Any, str, Any, Action]
STREAM: Final = f"{AUDIT}/streams/{{name}}"
PROBLEMS: Final = {
    404: "There is no stream of that name, or it has not parked that event.",
    409: "A worker is sending a chunk of the stream: try again.",
    422: "What is asked for cannot be done; nothing was changed.",
}


def add_stream_routes(app: FastAPI, lookups: Lookups, settings: Settings, guard: Guard) -> None:
    """Adds the routes below ``/api/v1/audit/streams``."""
    routes = StreamRoutes(lookups, settings)
    reads: tuple[Look, ...] = (
        (f"{AUDIT}/streams", routes.streams, "All streams, with their state and lag.", StreamList, ()),
        (STREAM, routes.stream, "One stream.", Stream, (404, 422)),
        (f"{STREAM}/deliveries", routes.deliveries, "The deliveries of a stream.", Deliveries, (404, 422)),
        (f"{STREAM}/parked", routes.parked, "The parked events of a stream.", ParkedEvents, (404, 422)),
    )
    operations: tuple[Operation, ...] = (
        ("POST", f"{STREAM}/pause", routes.pause, "Pauses a stream.", Stream, "admin"),
        ("POST", f"{STREAM}/resume", routes.resume, "Resumes a stream.", Stream, "admin"),
        ("POST", f"{STREAM}/rewind", routes.rewind, "Moves a stream to another event.", Stream, "admin"),
        ("POST", f"{STREAM}/replay", routes.replay, "Replays a range of events.", Stream, "admin"),
        ("DELETE", f"{STREAM}/replay", routes.stop_replay, "Stops a replay.", Stream, "admin"),
        ("POST", f"{STREAM}/retry", routes.retry, "Sends parked events again.", RetriedEvents, "retry"),
        ("POST", f"{STREAM}/discard", routes.discard, "Discards a parked event.", Stream, "admin"),
        ("POST", f"{STREAM}/test", routes.test, "Tests a destination from this server.", StreamTest, "admin"),
    )
    for path, endpoint, summary, model, statuses in reads:
        add(app, path, endpoint, summary, model, common(guard, "read", 401, 403, *statuses, 503, whole=True))
    for method, path, endpoint, summary, model, action in operations:
        described = common(guard, action, 400, 401, 403, 404, 409, 422, 503, whole=True)
        add(app, path, endpoint, summary, model, described, methods=[method])


def add(  # noqa: PLR0913, PLR0917 - what FastAPI wants to know of a route
    app: FastAPI, path: str, endpoint: Any, summary: str, model: Any, described: dict[str, Any], **more: Any
) -> None:
    """Adds a route. Its problems are those of streams, and not of events."""
    for status, text in PROBLEMS.items():
        if status in described["responses"]:
            described["responses"][status]["description"] = text
    name = endpoint.__name__
    operation = name if "stream" in name else f"{name}_stream"
    app.add_api_route(
        path, endpoint, operation_id=operation, summary=summary, response_model=model, **described, **more
    )
