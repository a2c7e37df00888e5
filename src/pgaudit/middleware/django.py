"""For Django, synchronous and asynchronous.

After the middleware that authenticates::

    MIDDLEWARE = [..., "django.contrib.auth.middleware.AuthenticationMiddleware",
                  "pgaudit.middleware.django.audit_middleware"]

The actor is ``request.user``, once logged in, as "user:" and its primary key; or what the function says that the Django
setting ``PGAUDIT_ACTOR`` names by its dotted path: given the request it returns an Actor, "user:42" or what is false,
such as None for no actor, and may be asynchronous where Django is.
"""

# Django ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings as django_settings
from django.utils.decorators import sync_and_async_middleware
from django.utils.module_loading import import_string

from pgaudit.events import Actor
from pgaudit.middleware.request import REQUEST_ID, context_of, headers_of
from pgaudit.recording.context import bind
from pgaudit.settings import Settings

Found = Actor | str | None
Bound = dict[str, Any]


@sync_and_async_middleware  # type: ignore[untyped-decorator]  # Django ships no types
def audit_middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Binds what is known of a request while Django serves it, a streamed body included."""
    trusted = Settings().trusted_proxies
    path = getattr(django_settings, "PGAUDIT_ACTOR", None)
    actor: Callable[[Any], Any] | None = import_string(path) if path else None

    def serve(request: Any) -> Any:
        known = context_of(request.META.get("REMOTE_ADDR"), headers_of(request.META), trusted)
        bound = known | {"actor": (actor(request) if actor else user(request)) or None}
        with bind(**bound):
            response = get_response(request)
        return answered(response, known["request_id"], bound)

    async def serve_async(request: Any) -> Any:
        known = context_of(request.META.get("REMOTE_ADDR"), headers_of(request.META), trusted)
        found = actor(request) if actor else user_async(request)
        bound = known | {"actor": (await found if inspect.isawaitable(found) else found) or None}
        with bind(**bound):
            response = await get_response(request)
        return answered(response, known["request_id"], bound)

    # Python 3.11's own does not know what asgiref has marked.
    return serve_async if iscoroutinefunction(get_response) else serve  # pyright: ignore[reportDeprecated]


def user(request: Any) -> str | None:
    """Returns the user who is logged in."""
    return reference(getattr(request, "user", None))


async def user_async(request: Any) -> str | None:
    """Returns the user who is logged in, without blocking the event loop."""
    load: Callable[[], Awaitable[Any]] | None = getattr(request, "auser", None)
    return reference(await load() if load else getattr(request, "user", None))


def reference(user: Any) -> str | None:
    """Returns a user of Django as an actor; None for none and for the anonymous one."""
    return f"user:{user.pk}" if user is not None and user.is_authenticated else None


def answered(response: Any, request_id: str, bound: Bound) -> Any:
    """Returns the response with the request's id; its body is streamed with what is bound."""
    response[REQUEST_ID] = request_id
    # A file is left to the server, which may have a faster way to send it.
    if response.streaming and getattr(response, "file_to_stream", None) is None:
        content = response.streaming_content
        response.streaming_content = streamed_async(content, bound) if response.is_async else streamed(content, bound)
    return response


def streamed(content: Iterable[bytes], bound: Bound) -> Iterator[bytes]:
    """Yields the chunks; the context is bound only while one is made, for the server's code runs between them."""
    chunks = iter(content)
    while True:
        with bind(**bound):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


async def streamed_async(content: AsyncIterable[bytes], bound: Bound) -> AsyncIterator[bytes]:
    """``streamed`` for asynchronous chunks."""
    chunks = aiter(content)
    while True:
        with bind(**bound):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield chunk
