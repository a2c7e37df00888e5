"""The ASGI middleware under FastAPI, which runs plain dependencies and endpoints in threads."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from httpx import ASGITransport, AsyncClient

from pgaudit import bind, identify
from pgaudit._log import warn_once
from pgaudit.middleware import AsgiMiddleware
from tests.support.events import inheriting_event

pytestmark = pytest.mark.anyio


async def test_fastapi_dependencies_name_the_actor() -> None:
    """Plain dependencies, which run in a thread, and asynchronous ones can call identify()."""
    app = FastAPI()
    app.add_middleware(AsgiMiddleware)

    def by_key() -> None:
        identify(actor="key:7")

    async def by_token() -> None:
        identify(actor="user:42", tenant="acme")

    @app.get("/key", dependencies=[Depends(by_key)])
    async def key() -> str:
        return str(inheriting_event().actor)

    @app.get("/token", dependencies=[Depends(by_token)])
    def token() -> str:
        return f"{inheriting_event().actor} of {inheriting_event().tenant}"

    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/key")).json() == "key:7"
        assert (await client.get("/token")).json() == "user:42 of acme"


def by_key() -> Iterator[None]:
    """A plain dependency. FastAPI enters and leaves it in threads, each with its own context."""
    with bind(actor="key:7"):
        yield


@contextmanager
def tenant() -> Iterator[None]:
    """A context manager of the application, for use in a dependency."""
    with bind(tenant="acme"):
        yield


def by_key_and_tenant() -> Iterator[None]:
    """A plain dependency that opens several blocks."""
    with tenant(), bind(actor="key:7"):
        yield


async def get(app: FastAPI, path: str = "/") -> Any:
    """Returns the JSON that a route responds with."""
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        return (await client.get(path)).json()


@pytest.mark.parametrize(("dependency", "expected"), [(by_key, "key:7 of None"), (by_key_and_tenant, "key:7 of acme")])
async def test_what_a_plain_dependency_binds_reaches_its_endpoint(
    dependency: Any, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A plain dependency binds for its endpoint and no other request; an inner ``bind`` has precedence."""
    app = FastAPI()
    app.add_middleware(AsgiMiddleware)

    def seen() -> str:
        return f"{inheriting_event().actor} of {inheriting_event().tenant}"

    @app.get("/", dependencies=[Depends(dependency)])
    async def key() -> list[str]:
        with bind(actor="user:1", tenant="inner"):
            inner = seen()
        return [seen(), await asyncio.to_thread(seen), inner]

    @app.get("/fails", dependencies=[Depends(dependency)])
    async def fail() -> None:
        raise HTTPException(409, seen())

    @app.get("/other")
    def other() -> str:
        return seen()

    assert await get(app) == [expected, expected, "user:1 of inner"]
    assert await get(app, "/fails") == {"detail": expected}
    assert await get(app, "/other") == "None of None"
    assert [record.message for record in caplog.records if record.name == "pgaudit"] == []


async def test_what_a_streamed_response_binds_stays_bound() -> None:
    """What a streamed generator binds stays bound in its next steps, although each runs in another thread."""
    app = FastAPI()
    app.add_middleware(AsgiMiddleware)

    def rows() -> Iterator[str]:
        with bind(actor="service:report"):
            yield f'["{inheriting_event().actor}", '
            yield f'"{inheriting_event().actor}", '
        yield f'"{inheriting_event().actor}"]'

    @app.get("/")
    def report() -> StreamingResponse:
        return StreamingResponse(rows())

    assert await get(app) == ["service:report", "service:report", "None"]


async def test_what_a_thread_binds_for_itself_stays_there() -> None:
    """What a generator binds in one thread is not bound in other threads of the same request."""
    app = FastAPI()
    app.add_middleware(AsgiMiddleware)
    bound, read = threading.Event(), threading.Event()

    def rows() -> Iterator[str]:
        with bind(actor="service:report"):
            yield str(inheriting_event().actor)

    def report() -> list[str]:
        found: list[str] = []
        for row in rows():
            bound.set()
            read.wait(10)
            found += [row, str(inheriting_event().actor)]
        return found

    @app.get("/")
    async def endpoint() -> list[str]:
        work = asyncio.create_task(asyncio.to_thread(report))
        assert await asyncio.to_thread(bound.wait, 10)
        seen = str(inheriting_event().actor)
        read.set()
        return [seen, *await work]

    assert await get(app) == ["None", "service:report", "service:report"]


async def test_binding_in_a_plain_dependency_without_the_middleware_says_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without the middleware the endpoint lacks what was bound, and the warning says to add the middleware."""
    warn_once.cache_clear()  # another test may have logged it
    app = FastAPI()

    @app.get("/", dependencies=[Depends(by_key)])
    async def key() -> str:
        return str(inheriting_event().actor)

    assert [await get(app) for _ in range(2)] == ["None", "None"]
    (message,) = [record.message for record in caplog.records if record.name == "pgaudit"]
    assert "AsgiMiddleware" in message
    assert "pgaudit.identify(actor=...)" in message
