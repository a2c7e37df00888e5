"""The OpenAPI document of the routes."""

from typing import Any, Final, Literal

from pydantic import TypeAdapter

from pgaudit.health import HealthReport
from pgaudit.web.bodies import ADAPTERS, Problem, PublicHealth, Retried, Statistics
from pgaudit.web.problems import MEDIA_TYPE

LARGEST_ID: Final = 2**63 - 1
REFERENCE: Final = "#/components/schemas/{model}"
Json = dict[str, Any]

REFUSALS: Final = {
    401: "The token is missing or wrong.",
    403: "The server has no admin token.",
    404: "No failed job has that number.",
    422: "That is no number of a job.",
    503: "The database does not answer.",
}
JOB_ID: Final[Json] = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "Number of a failed job.",
    "schema": {"type": "integer", "format": "int64", "minimum": 1, "maximum": LARGEST_ID},
}


def document(server: str) -> Json:
    """Returns the document, for an application that is mounted at that path."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pgaudit",
            "version": "1",
            "description": "Health, statistics and retries of the audit trail.",
        },
        "servers": [{"url": server}],
        "paths": paths(),
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer", "description": "PGAUDIT_ADMIN_TOKEN"}},
        },
    }


def paths() -> Json:
    """Returns the routes."""
    queues = "/api/v1/admin/queues"
    health = answers(PublicHealth, "Healthy or degraded.") | {"503": content(PublicHealth, "Unhealthy.")}
    retried = answers(Retried, "It waits again.", 404, 422, 503)
    return {
        "/api/v1/health/queues": {"get": operation("health", "Whether events reach the log in time.", health)},
        f"{queues}/stats": {"get": admin("stats", "The queue and its workers.", answers(Statistics, "Now.", 503))},
        f"{queues}/health": {"get": admin("report", "The health report.", answers(HealthReport, "With details."))},
        f"{queues}/jobs/{{id}}/retry": {
            "post": admin("retry", "Runs a failed job again.", retried) | {"parameters": [JOB_ID]}
        },
        "/metrics": {"get": operation("metrics", "The trail for Prometheus.", exposition())},
        "/api/v1/openapi.json": {"get": operation("openapi", "This document.", described())},
    }


def operation(name: str, summary: str, responses: Json) -> Json:
    """Returns a public route."""
    return {"operationId": name, "summary": summary, "responses": responses}


def admin(name: str, summary: str, responses: Json) -> Json:
    """Returns a route that needs the token."""
    return operation(name, summary, responses | refusals(401, 403)) | {"security": [{"admin": []}]}


def answers(kind: type, description: str, *statuses: int) -> Json:
    """Returns the good response, and the problems that may be returned instead."""
    return {"200": content(kind, description), **refusals(*statuses)}


def refusals(*statuses: int) -> Json:
    """Returns problems by status."""
    return {str(status): content(Problem, REFUSALS[status], MEDIA_TYPE) for status in statuses}


def content(kind: type, description: str, media_type: str = "application/json") -> Json:
    """Returns a body of that kind."""
    schema = {"$ref": REFERENCE.format(model=kind.__name__)}
    return {"description": description, "content": {media_type: {"schema": schema}}}


def exposition() -> Json:
    """Returns the body of ``/metrics``."""
    text = {"application/openmetrics-text": {"schema": {"type": "string"}}}
    return {"200": {"description": "OpenMetrics.", "content": text}, **refusals(503)}


def described() -> Json:
    """Returns the document as an object of JSON schema."""
    return {"200": {"description": "OpenAPI.", "content": {"application/json": {"schema": {"type": "object"}}}}}


def schemas() -> Json:
    """Returns the schemas of the bodies."""
    inputs: list[tuple[str, Literal["serialization"], TypeAdapter[Any]]] = [
        (kind.__name__, "serialization", adapter) for kind, adapter in ADAPTERS.items()
    ]
    definitions: Json = TypeAdapter.json_schemas(inputs, ref_template=REFERENCE)[1]["$defs"]
    return definitions
