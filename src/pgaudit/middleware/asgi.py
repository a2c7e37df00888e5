"""For ASGI applications."""

import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pgaudit.events import Actor
from pgaudit.middleware.request import HEADERS, REQUEST_ID, context_of
from pgaudit.recording.context import bind
from pgaudit.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Found = Actor | str | None


class AsgiMiddleware:
    """Binds what is known of a request or WebSocket for as long as the application serves it.

    >>> app = AsgiMiddleware(app, actor=lambda scope: scope.get("user_id") and f"user:{scope['user_id']}")

    :param actor: takes the scope and returns the actor, or None for no actor; may be asynchronous.
    :param settings: for ``trusted_proxies``; read from the environment when left out.
    """

    def __init__(
        self,
        app: App,
        actor: Callable[[Scope], Found | Awaitable[Found]] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._app = app
        self._actor = actor
        self._trusted = (settings or Settings()).trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection; the server's own, such as its lifespan, pass as they are."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        peer, *_ = scope.get("client") or [None]
        context = context_of(peer, headers_of(scope), self._trusted)
        with bind(actor=await self._actor_of(scope), **context):
            await self._app(scope, receive, answering(send, context["request_id"]))

    async def _actor_of(self, scope: Scope) -> Found:
        if self._actor is None:
            return None
        found = self._actor(scope)
        return (await found if inspect.isawaitable(found) else found) or None


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
