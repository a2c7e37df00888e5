"""For ASGI applications."""

import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, cast

from pgaudit.middleware.request import HEADERS, REQUEST_ID, context_of
from pgaudit.recording.actor import Found, named
from pgaudit.recording.context import Request
from pgaudit.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class AsgiMiddleware:
    """Gives events what is known of a request or WebSocket, for as long as the application serves it.

    >>> app = AsgiMiddleware(app, actor=lambda scope: scope.get("user_id") and f"user:{scope['user_id']}")

    :param actor: takes the scope and returns the actor, or None for no actor. It is called when an event is recorded,
        so it may read what an inner middleware or a dependency has put into the scope; an asynchronous one is awaited
        when the request begins.
    :param settings: for ``trusted_proxies``, ``client_address`` and ``user_agent_length``; read from the environment
        when left out.
    """

    def __init__(
        self,
        app: App,
        actor: Callable[[Scope], Found | Awaitable[Found]] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._app = app
        self._actor = actor
        self._settings = settings or Settings()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection; the server's own, such as its lifespan, pass as they are."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        peer, *_ = scope.get("client") or [None]
        context = context_of(peer, headers_of(scope), self._settings)
        request = await self._request(scope, context)
        with request.serving():
            await self._app(scope, receive, answering(send, context["request_id"]))

    async def _request(self, scope: Scope, context: dict[str, str]) -> Request:
        """Returns the request, its actor known or to be looked up."""
        if self._actor is None or not is_asynchronous(self._actor):
            return Request(context, self._actor and cast("Callable[[], Found]", partial(self._actor, scope)))
        request = Request(context)
        request.actor = named(await cast("Awaitable[Found]", self._actor(scope)))
        return request


def is_asynchronous(function: Callable[..., object]) -> bool:
    """Returns whether a function, or an object that is called like one, has to be awaited."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - asks about an object's own method


def headers_of(scope: Scope) -> dict[str, str]:
    """Returns the headers that are used; Latin-1 has a character for every byte."""
    found: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower()
        if name in HEADERS:
            text = value.decode("latin-1")
            found[name] = f"{found[name]},{text}" if name in found else text
    return found


def answering(send: Send, request_id: str) -> Send:
    """Sends what it is given, the head of the response with the request's id."""
    name = REQUEST_ID.lower().encode()

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [header for header in message.get("headers", ()) if header[0].lower() != name]
            message = {**message, "headers": [*others, (name, request_id.encode())]}
        await send(message)

    return send_with_id
