"""For WSGI applications."""

from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from functools import partial
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from pgaudit.middleware.request import REQUEST_ID, context_of, headers_of
from pgaudit.recording.actor import Found
from pgaudit.recording.context import Request
from pgaudit.settings import Settings


class WsgiMiddleware:
    """Gives events what is known of a request, for as long as it is served, its response's body included.

    >>> flask_app.wsgi_app = WsgiMiddleware(flask_app.wsgi_app, actor=lambda environ: environ.get("REMOTE_USER"))

    :param actor: takes the environ and returns the actor, or None for no actor. It is called when an event is recorded,
        so it may read what a ``before_request`` of Flask has put into ``g``.
    :param settings: for ``trusted_proxies``, ``client_address`` and ``user_agent_length``; read from the environment
        when left out.
    """

    def __init__(
        self,
        app: WSGIApplication,
        actor: Callable[[WSGIEnvironment], Found] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._app = app
        self._actor = actor
        self._settings = settings or Settings()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serves one request."""
        known = context_of(environ.get("REMOTE_ADDR"), headers_of(environ), self._settings)
        request = Request(known, self._actor and partial(self._actor, environ))
        # A body is iterated after this has returned: the request lives on in a copy of the context.
        with request.serving():
            context = copy_context()
        body = context.run(self._app, environ, answering(start_response, known["request_id"]))
        return body if isinstance(body, list | tuple) else Body(context, body)


class Body:
    """A response's body, iterated and closed in a context."""

    def __init__(self, context: Context, body: Iterable[bytes]) -> None:
        self._context = context
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        chunks = self._context.run(iter, self._body)
        while (chunk := self._context.run(next, chunks, None)) is not None:
            yield chunk

    def close(self) -> None:
        """Closes the body, if there is anything to close."""
        close = getattr(self._body, "close", None)
        if close is not None:
            self._context.run(close)


def answering(start_response: StartResponse, request_id: str) -> StartResponse:
    """Starts a response with the request's id among its headers."""

    def start_with_id(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
        others = [header for header in headers if header[0].lower() != REQUEST_ID.lower()]
        return start_response(status, [*others, (REQUEST_ID, request_id)], *exc_info)

    return start_with_id
