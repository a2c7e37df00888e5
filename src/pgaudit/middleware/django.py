"""For Django, synchronous and asynchronous.

Anywhere in the middleware that Django runs::

    MIDDLEWARE = [..., "django.contrib.auth.middleware.AuthenticationMiddleware",
                  "pgaudit.middleware.django.audit_middleware"]

The actor is ``request.user`` as it is when an event is recorded, once logged in, as "user:" and its primary key; or
what the function says that the Django setting ``PGAUDIT_ACTOR`` names by its dotted path: given the request it returns
an Actor, "user:42" or what is false, such as None for no actor, and may be asynchronous. A request that records nothing
loads no user and no session.

The Django setting ``PGAUDIT`` may hold pgaudit's own settings: ``PGAUDIT = {"CLIENT_ADDRESS": "network"}``.
"""

# Django ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.conf import settings as django_settings
from django.utils.decorators import sync_and_async_middleware
from django.utils.functional import SimpleLazyObject, empty
from django.utils.module_loading import import_string

from pgaudit.middleware.request import REQUEST_ID, context_of, headers_of
from pgaudit.recording.context import Request
from pgaudit.settings import Settings


@sync_and_async_middleware  # type: ignore[untyped-decorator]  # Django ships no types
def audit_middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Gives events what is known of a request while Django serves it, a streamed body included."""
    settings = settings_of_django()
    path = getattr(django_settings, "PGAUDIT_ACTOR", None)
    lookup, lookup_async = lookups(import_string(path) if path else None)

    def begin(request: Any) -> tuple[Request, str]:
        known = context_of(request.META.get("REMOTE_ADDR"), headers_of(request.META), settings)
        return Request(known, partial(lookup, request), partial(lookup_async, request)), known["request_id"]

    def serve(request: Any) -> Any:
        served, request_id = begin(request)
        with served.serving():
            response = get_response(request)
        return answered(response, request_id, served)

    async def serve_async(request: Any) -> Any:
        served, request_id = begin(request)
        with served.serving():
            response = await get_response(request)
        return answered(response, request_id, served)

    # Python 3.11's own does not know what asgiref has marked.
    return serve_async if iscoroutinefunction(get_response) else serve  # pyright: ignore[reportDeprecated]


def settings_of_django() -> Settings:
    """Returns pgaudit's settings: what Django's setting ``PGAUDIT`` says, then the environment."""
    given: dict[str, Any] = getattr(django_settings, "PGAUDIT", {})
    return Settings(**{name.lower(): value for name, value in given.items() if name.lower() in Settings.model_fields})


def lookups(actor: Callable[[Any], Any] | None) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Returns the function that finds the actor, for synchronous and for asynchronous recording."""
    if actor is None:
        return user, user_async
    if iscoroutinefunction(actor):  # pyright: ignore[reportDeprecated] # as above
        return async_to_sync(actor), actor
    return actor, sync_to_async(actor)


def user(request: Any) -> str | None:
    """Returns the user who is logged in by now."""
    found = getattr(request, "user", None)
    # Each of request.user and request.auser() loads the user for itself.
    if isinstance(found, SimpleLazyObject) and found._wrapped is empty:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - nothing public says so
        found = getattr(request, "_acached_user", found)
    return reference(found)


async def user_async(request: Any) -> str | None:
    """``user``, which may have to be loaded. Authentication backends need not have asynchronous methods for it."""
    if not hasattr(request, "user") and hasattr(request, "auser"):
        return reference(await request.auser())
    return await sync_to_async(user)(request)


def reference(user: Any) -> str | None:
    """Returns a user of Django as an actor; None for none, for the anonymous one and for one that is not saved."""
    return f"user:{user.pk}" if user is not None and user.is_authenticated and user.pk is not None else None


def answered(response: Any, request_id: str, served: Request) -> Any:
    """Returns the response with the request's id; the events of its streamed body belong to the request, too."""
    response[REQUEST_ID] = request_id
    # A file is left to the server, which may have a faster way to send it.
    if response.streaming and getattr(response, "file_to_stream", None) is None:
        content = response.streaming_content
        response.streaming_content = streamed_async(content, served) if response.is_async else streamed(content, served)
    return response


def streamed(content: Iterable[bytes], served: Request) -> Iterator[bytes]:
    """Yields the chunks; the request is served only while one is made, for the server's code runs between them."""
    chunks = iter(content)
    while True:
        with served.serving():
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


async def streamed_async(content: AsyncIterable[bytes], served: Request) -> AsyncIterator[bytes]:
    """``streamed`` for asynchronous chunks."""
    chunks = aiter(content)
    while True:
        with served.serving():
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield chunk
