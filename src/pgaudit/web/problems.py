"""Errors as RFC 9457 problem details: what is wrong, in a sentence, and never how it looks inside."""

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import psycopg
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pgaudit.errors import InvalidQuery, InvalidStream, JobNotFound, PgauditError, StreamNotFound

MEDIA_TYPE: Final = "application/problem+json"
NEVER_CACHED: Final = {"Cache-Control": "no-store"}
ROUTERS: Final[dict[int, str]] = {404: "There is nothing at this path.", 405: "{method} is not for this path."}


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **extensions: object) -> Response:
    """Returns the response for a problem. Its type is about:blank: the status says all that a program needs."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail} | extensions
    return Response(json.dumps(body), status, {**NEVER_CACHED, **(headers or {})}, MEDIA_TYPE)


async def http_error(request: Request, error: Exception) -> Response:
    """Returns the problem of a request that a route, or the router, has refused."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:  # the router's own words
        detail = ROUTERS.get(error.status_code, detail + ".").format(method=request.method)
    return problem(error.status_code, detail, error.headers)


async def not_found(_request: Request, error: Exception) -> Response:
    """Returns 404: there is no failed job of that number, or no stream of that name."""
    return problem(HTTPStatus.NOT_FOUND, f"{error}.")


async def invalid_stream(_request: Request, error: Exception) -> Response:
    """Returns 422: what is asked of a stream cannot be done."""
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.")


async def invalid_query(_request: Request, error: Exception) -> Response:
    """Returns 422: a search or a cursor cannot be understood. ``position`` is the place in the text of the search."""
    assert isinstance(error, InvalidQuery)  # noqa: S101 - it is registered for these
    if error.position is None:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.")
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.", position=error.position)


async def unavailable(_request: Request, _error: Exception) -> Response:
    """Returns 503: the database cannot be reached. The application log says more than the client may know."""
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "The audit trail cannot be reached; the server's log says why.")


async def too_slow(_request: Request, _error: Exception) -> Response:
    """Returns 503: the look-up took too long. A retry may have been made nevertheless."""
    detail = "The database did not answer in time. Try again; if it stays slow, look for locks and load there."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)


async def insufficient_privilege(_request: Request, _error: Exception) -> Response:
    """Returns 503: the role of PGAUDIT_DSN lacks a right."""
    detail = "The database role of this server lacks a right that the route needs: pgaudit grant --worker."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)


async def internal_error(_request: Request, _error: Exception) -> Response:
    """Returns 500: an error of ours. Starlette raises it again for the server, which logs it."""
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "An unexpected error; the application log of the server has it.")


# They are asynchronous, because Starlette runs others in the threads of the application around this one.
HANDLERS: Final[dict[Any, Callable[[Request, Exception], Awaitable[Response]]]] = {
    HTTPException: http_error,
    JobNotFound: not_found,
    StreamNotFound: not_found,
    InvalidStream: invalid_stream,
    InvalidQuery: invalid_query,
    PgauditError: unavailable,
    psycopg.errors.InsufficientPrivilege: insufficient_privilege,
    psycopg.Error: unavailable,
    TimeoutError: too_slow,
    OSError: unavailable,  # the spool
    Exception: internal_error,
}
