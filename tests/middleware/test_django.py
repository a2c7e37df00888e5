"""The Django middleware in a real Django: synchronous, asynchronous and streaming."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path

from pgaudit.middleware.django import audit_middleware
from tests.support import django_project
from tests.support.django_project import User, found, found_async

MEETINGS: dict[str, asyncio.Barrier] = {}


@pytest.fixture(autouse=True)
def configured() -> None:
    """Configures Django before any test."""
    django_project.configure()


def logged_in(request: HttpRequest) -> User:
    """Returns the user whose id is in a header of the request."""
    name = request.headers.get("X-User")
    return User(int(name) if name else None)


def authenticate(get_response: Callable[[Any], HttpResponse]) -> Callable[[Any], HttpResponse]:
    """Sets request.user, as Django's own middleware does."""

    def middleware(request: Any) -> HttpResponse:
        request.user = logged_in(request)
        return get_response(request)

    return middleware


def authenticate_async(get_response: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """Sets request.auser, as Django does for asynchronous views."""

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
    """Returns an actor, as the function of PGAUDIT_ACTOR."""
    return f"key:{request.headers['X-Key']}"


async def actor_of_async(request: HttpRequest) -> str:
    """Returns an actor, as the asynchronous function of PGAUDIT_ACTOR."""
    await asyncio.sleep(0)
    return f"key:{request.headers['X-Key']}"


def nobody(_request: HttpRequest) -> str:
    """Returns an empty actor, as the function of PGAUDIT_ACTOR."""
    return ""


def false(_request: HttpRequest) -> Any:
    """Returns another false value."""
    return False


async def nobody_async(_request: HttpRequest) -> Any:
    """Returns a false value asynchronously."""
    await asyncio.sleep(0)
    return 0


def view(_request: HttpRequest) -> HttpResponse:
    """Answers with what was found."""
    return JsonResponse(found())


async def view_async(request: HttpRequest) -> HttpResponse:
    """Answers with what was found, after all concurrent requests have begun."""
    if "X-Meeting" in request.headers:
        await MEETINGS[request.headers["X-Meeting"]].wait()
    return JsonResponse(await found_async())


def stream(_request: HttpRequest) -> StreamingHttpResponse:
    """Looks at the context while the body is generated."""

    def body() -> Iterator[str]:
        for _ in range(2):
            yield f"{found()['request_id']},"

    return StreamingHttpResponse(body())


async def stream_async(_request: HttpRequest) -> StreamingHttpResponse:
    """Looks at the context while the body is generated asynchronously."""

    async def body() -> AsyncIterator[str]:
        for _ in range(2):
            yield f"{found()['request_id']},"

    return StreamingHttpResponse(body())


def file(_request: HttpRequest) -> FileResponse:
    """Returns a file for the server to send."""
    return FileResponse(io.BytesIO(b"file"))


urlpatterns = [path(each.__name__, each) for each in (view, view_async, stream, stream_async)]
AUDIT = "pgaudit.middleware.django.audit_middleware"


@pytest.fixture
def client() -> Iterator[Client]:
    """Django's synchronous client."""
    names = [f"{__name__}.authenticate", AUDIT]
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=names):
        yield Client()


@pytest.fixture
def async_client() -> Iterator[AsyncClient]:
    """Django's asynchronous client."""
    names = [f"{__name__}.authenticate_async", AUDIT]
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=names):
        yield AsyncClient()


def test_an_event_inherits_what_the_request_says(client: Client) -> None:
    """An event has the request's fields and user, and the response has the request's id."""
    headers = {"X-Request-ID": "r-1", "User-Agent": "Agent\0/1", "X-Forwarded-For": "6.6.6.6", "X-User": "42"}
    response = client.get("/view", headers=headers)
    assert response.json() == {"request_id": "r-1", "user_agent": "Agent/1", "ip": "127.0.0.1", "actor": "user:42"}
    assert response["X-Request-ID"] == "r-1"
    assert found() == {"actor": None}


def test_an_anonymous_user_is_no_actor(client: Client) -> None:
    """Events of an anonymous user have no actor, unless the view sets one."""
    response = client.get("/view")
    assert response.json() == {"request_id": response["X-Request-ID"], "ip": "127.0.0.1", "actor": None}


def test_trusted_proxies_come_from_the_environment(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGAUDIT_TRUSTED_PROXIES applies to this middleware, too."""
    monkeypatch.setenv("PGAUDIT_TRUSTED_PROXIES", "127.0.0.0/8")
    assert client.get("/view", headers={"X-Forwarded-For": "203.0.113.9"}).json()["ip"] == "203.0.113.9"


def test_a_setting_names_the_actor(client: Client) -> None:
    """PGAUDIT_ACTOR is the dotted path of a function that is called instead of reading request.user."""
    with override_settings(PGAUDIT_ACTOR=f"{__name__}.actor_of"):
        assert client.get("/view", headers={"X-Key": "7", "X-User": "42"}).json()["actor"] == "key:7"


@pytest.mark.parametrize("name", ["nobody", "false"])
def test_a_false_actor_counts_as_none(client: Client, name: str) -> None:
    """A request for which PGAUDIT_ACTOR returns a false value is served."""
    with override_settings(PGAUDIT_ACTOR=f"{__name__}.{name}"):
        assert client.get("/view", headers={"X-User": "42"}).json()["actor"] is None


@pytest.mark.anyio
async def test_a_false_actor_counts_as_none_in_asynchronous_views(async_client: AsyncClient) -> None:
    """A request for which the asynchronous PGAUDIT_ACTOR returns a false value is served."""
    with override_settings(PGAUDIT_ACTOR=f"{__name__}.nobody_async"):
        assert (await async_client.get("/view_async")).json()["actor"] is None


def test_a_streamed_body_is_generated_in_its_context(client: Client) -> None:
    """The context is bound while a chunk is generated, and not in between."""
    response = client.get("/stream", headers={"X-Request-ID": "r-1"})
    for chunk in response.streaming_content:
        assert chunk == b"r-1,"
        assert found() == {"actor": None}


def test_a_file_is_left_to_the_server() -> None:
    """A FileResponse is passed on, because the server may send it faster."""
    response = audit_middleware(file)(RequestFactory().get("/file"))
    assert response.file_to_stream is not None
    assert response.getvalue() == b"file"


@pytest.mark.anyio
async def test_asynchronous_views_inherit_what_the_request_says(async_client: AsyncClient) -> None:
    """The user of an asynchronous view is loaded asynchronously."""
    response = await async_client.get("/view_async", headers={"X-Request-ID": "r-1", "X-User": "42"})
    assert response.json() == {"request_id": "r-1", "ip": "127.0.0.1", "actor": "user:42"}
    assert response["X-Request-ID"] == "r-1"


@pytest.mark.anyio
@pytest.mark.parametrize("function", [actor_of, actor_of_async])
async def test_a_setting_names_the_actor_of_asynchronous_views(async_client: AsyncClient, function: Any) -> None:
    """The function of PGAUDIT_ACTOR may be asynchronous."""
    with override_settings(PGAUDIT_ACTOR=f"{__name__}.{function.__name__}"):
        response = await async_client.get("/view_async", headers={"X-Key": "7"})
    assert response.json()["actor"] == "key:7"


@pytest.mark.anyio
async def test_an_asynchronously_streamed_body_is_generated_in_its_context(async_client: AsyncClient) -> None:
    """The context is bound while a chunk is generated, and not in between."""
    response = await async_client.get("/stream_async", headers={"X-Request-ID": "r-1"})
    async for chunk in response.streaming_content:
        assert chunk == b"r-1,"
        assert found() == {"actor": None}


def test_an_asynchronous_actor_is_awaited_in_synchronous_views(client: Client) -> None:
    """PGAUDIT_ACTOR may name either."""
    with override_settings(PGAUDIT_ACTOR=f"{__name__}.actor_of_async"):
        assert client.get("/view", headers={"X-Key": "7"}).json()["actor"] == "key:7"


def test_settings_of_pgaudit_may_be_in_those_of_django(client: Client) -> None:
    """Other names in Django's setting PGAUDIT are ignored."""
    with override_settings(PGAUDIT={"CLIENT_ADDRESS": "none", "USER_AGENT_LENGTH": 3, "LOGINS": True}):
        answer = client.get("/view", headers={"User-Agent": "Agent", "X-Request-ID": "r-1"}).json()
    assert answer == {"request_id": "r-1", "user_agent": "Age", "actor": None}


@pytest.mark.anyio
async def test_concurrent_requests_never_see_each_other(async_client: AsyncClient) -> None:
    """Ten concurrent requests each see their own context."""
    MEETINGS["ten"] = asyncio.Barrier(10)

    async def ask(number: int) -> Any:
        headers = {"X-Request-ID": f"r-{number}", "X-User": str(number), "X-Meeting": "ten"}
        return (await async_client.get("/view_async", headers=headers)).json()

    answers = await asyncio.gather(*(ask(number) for number in range(10)))
    assert [(answer["request_id"], answer["actor"]) for answer in answers] == [
        (f"r-{number}", f"user:{number}") for number in range(10)
    ]
