"""The Django middleware, in a real Django: synchronous, asynchronous and streaming."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path

from pgaudit import AuditEvent
from pgaudit.middleware.django import audit_middleware
from pgaudit.recording.context import with_bound_context
from tests.support import django_project

MEETINGS: dict[str, asyncio.Barrier] = {}


@pytest.fixture(autouse=True)
def configured() -> None:
    """Django wants it before anything else."""
    django_project.configure()


class User:
    """What the middleware needs of Django's user."""

    def __init__(self, pk: int | None) -> None:
        self.pk = pk
        self.is_authenticated = pk is not None


def found() -> dict[str, Any]:
    """What an event recorded here would hold."""
    event = with_bound_context(AuditEvent(action="claim.approved"))
    context = event.context.model_dump(exclude_none=True) if event.context else {}
    return context | {"actor": event.actor and str(event.actor)}


def logged_in(request: HttpRequest) -> User:
    """The user that a header of the test names."""
    name = request.headers.get("X-User")
    return User(int(name) if name else None)


def authenticate(get_response: Callable[[Any], HttpResponse]) -> Callable[[Any], HttpResponse]:
    """Sets the user, as Django's own middleware does."""

    def middleware(request: Any) -> HttpResponse:
        request.user = logged_in(request)
        return get_response(request)

    return middleware


def authenticate_async(get_response: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """As Django does it for asynchronous views: only ``auser`` may be used."""

    async def middleware(request: Any) -> Any:
        async def auser() -> User:
            await asyncio.sleep(0)
            return logged_in(request)

        request.auser = auser
        return await get_response(request)

    return middleware


authenticate_async.async_capable = True  # type: ignore[attr-defined]
authenticate_async.sync_capable = False  # type: ignore[attr-defined]


def actor_of(request: HttpRequest) -> str:
    """Named by PGAUDIT_ACTOR."""
    return f"key:{request.headers['X-Key']}"


async def actor_of_async(request: HttpRequest) -> str:
    """Named by PGAUDIT_ACTOR, and awaited."""
    await asyncio.sleep(0)
    return f"key:{request.headers['X-Key']}"


def nobody(_request: HttpRequest) -> str:
    """Named by PGAUDIT_ACTOR, for whom is not logged in."""
    return ""


def false(_request: HttpRequest) -> Any:
    """Another value that is false."""
    return False


async def nobody_async(_request: HttpRequest) -> Any:
    """A value that is false, and is awaited."""
    await asyncio.sleep(0)
    return 0


def view(_request: HttpRequest) -> HttpResponse:
    """Answers with what was found."""
    return JsonResponse(found())


async def view_async(request: HttpRequest) -> HttpResponse:
    """Answers with what was found, after everybody has come."""
    if "X-Meeting" in request.headers:
        await MEETINGS[request.headers["X-Meeting"]].wait()
    return JsonResponse(found())


def stream(_request: HttpRequest) -> StreamingHttpResponse:
    """Looks while the body is made."""

    def body() -> Iterator[str]:
        for _ in range(2):
            yield f"{found()['request_id']},"

    return StreamingHttpResponse(body())


async def stream_async(_request: HttpRequest) -> StreamingHttpResponse:
    """Looks while the body is made, asynchronously."""

    async def body() -> AsyncIterator[str]:
        for _ in range(2):
            yield f"{found()['request_id']},"

    return StreamingHttpResponse(body())


def file(_request: HttpRequest) -> FileResponse:
    """A file, for the server to send."""
    return FileResponse(io.BytesIO(b"file"))


urlpatterns = [path(each.__name__, each) for each in (view, view_async, stream, stream_async)]
AUDIT = "pgaudit.middleware.django.audit_middleware"


@pytest.fixture
def client() -> Iterator[Client]:
    """Django's, synchronous."""
    names = [f"{__name__}.authenticate", AUDIT]
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=names):
        yield Client()


@pytest.fixture
def async_client() -> Iterator[AsyncClient]:
    """Django's, asynchronous."""
    names = [f"{__name__}.authenticate_async", AUDIT]
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=names):
        yield AsyncClient()


def test_an_event_inherits_what_the_request_says(client: Client) -> None:
    """And the response carries the request's id."""
    headers = {"X-Request-ID": "r-1", "User-Agent": "Agent\0/1", "X-Forwarded-For": "6.6.6.6", "X-User": "42"}
    response = client.get("/view", headers=headers)
    assert response.json() == {"request_id": "r-1", "user_agent": "Agent/1", "ip": "127.0.0.1", "actor": "user:42"}
    assert response["X-Request-ID"] == "r-1"
    assert found() == {"actor": None}


def test_an_anonymous_user_is_nobody(client: Client) -> None:
    """Its events have no actor, unless the view says so."""
    response = client.get("/view")
    assert response.json() == {"request_id": response["X-Request-ID"], "ip": "127.0.0.1", "actor": None}


def test_proxies_are_trusted_by_the_environment(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the other middlewares."""
    monkeypatch.setenv("PGAUDIT_TRUSTED_PROXIES", "127.0.0.0/8")
    assert client.get("/view", headers={"X-Forwarded-For": "203.0.113.9"}).json()["ip"] == "203.0.113.9"


def test_a_setting_names_the_actor(client: Client) -> None:
    """PGAUDIT_ACTOR is the dotted path of a function, which is asked in place of request.user."""
    with override_settings(PGAUDIT_ACTOR=f"{__name__}.actor_of"):
        assert client.get("/view", headers={"X-Key": "7", "X-User": "42"}).json()["actor"] == "key:7"


@pytest.mark.parametrize("name", ["nobody", "false"])
def test_an_actor_that_is_false_is_nobody(client: Client, name: str) -> None:
    """Whatever is false: the request is served."""
    with override_settings(PGAUDIT_ACTOR=f"{__name__}.{name}"):
        assert client.get("/view", headers={"X-User": "42"}).json()["actor"] is None


@pytest.mark.anyio
async def test_an_actor_that_is_false_is_nobody_in_asynchronous_views(async_client: AsyncClient) -> None:
    """The request is served here, too."""
    with override_settings(PGAUDIT_ACTOR=f"{__name__}.nobody_async"):
        assert (await async_client.get("/view_async")).json()["actor"] is None


def test_a_streamed_body_is_made_in_its_context(client: Client) -> None:
    """Between the chunks nothing is bound."""
    response = client.get("/stream", headers={"X-Request-ID": "r-1"})
    for chunk in response.streaming_content:
        assert chunk == b"r-1,"
        assert found() == {"actor": None}


def test_a_file_is_left_to_the_server() -> None:
    """It may have a faster way to send it."""
    response = audit_middleware(file)(RequestFactory().get("/file"))
    assert response.file_to_stream is not None
    assert response.getvalue() == b"file"


@pytest.mark.anyio
async def test_asynchronous_views_are_served_too(async_client: AsyncClient) -> None:
    """With the user that is loaded asynchronously."""
    response = await async_client.get("/view_async", headers={"X-Request-ID": "r-1", "X-User": "42"})
    assert response.json() == {"request_id": "r-1", "ip": "127.0.0.1", "actor": "user:42"}
    assert response["X-Request-ID"] == "r-1"


@pytest.mark.anyio
@pytest.mark.parametrize("function", [actor_of, actor_of_async])
async def test_a_setting_names_the_actor_of_asynchronous_views(async_client: AsyncClient, function: Any) -> None:
    """Its function may be asynchronous."""
    with override_settings(PGAUDIT_ACTOR=f"{__name__}.{function.__name__}"):
        response = await async_client.get("/view_async", headers={"X-Key": "7"})
    assert response.json()["actor"] == "key:7"


@pytest.mark.anyio
async def test_an_asynchronously_streamed_body_is_made_in_its_context(async_client: AsyncClient) -> None:
    """Between the chunks nothing is bound."""
    response = await async_client.get("/stream_async", headers={"X-Request-ID": "r-1"})
    async for chunk in response.streaming_content:
        assert chunk == b"r-1,"
        assert found() == {"actor": None}


@pytest.mark.anyio
async def test_concurrent_requests_never_see_each_other(async_client: AsyncClient) -> None:
    """Ten at once, all of them begun before any looks."""
    MEETINGS["ten"] = asyncio.Barrier(10)

    async def ask(number: int) -> Any:
        headers = {"X-Request-ID": f"r-{number}", "X-User": str(number), "X-Meeting": "ten"}
        return (await async_client.get("/view_async", headers=headers)).json()

    answers = await asyncio.gather(*(ask(number) for number in range(10)))
    assert [(answer["request_id"], answer["actor"]) for answer in answers] == [
        (f"r-{number}", f"user:{number}") for number in range(10)
    ]
