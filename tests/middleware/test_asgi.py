"""The ASGI middleware: what the events of a request inherit, and no other request's."""

import asyncio
from collections.abc import MutableMapping
from typing import Any
from uuid import UUID

import pytest

from pgaudit import Actor, AuditContext, AuditEvent, Settings, bind
from pgaudit.middleware import AsgiMiddleware
from pgaudit.middleware.asgi import Receive, Scope, Send
from tests.support.events import inheriting_event

pytestmark = pytest.mark.anyio
TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Application:
    """Collects an event of each request, and answers."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        self.events.append(inheriting_event())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Request-Id", b"its own")]})
        await send({"type": "http.response.body", "body": b""})


async def receive() -> MutableMapping[str, Any]:
    """Fails: a request without a body must not be read."""
    raise AssertionError


async def serve(app: AsgiMiddleware, *headers: tuple[bytes, bytes], **scope: Any) -> list[MutableMapping[str, Any]]:
    """Serves one request; returns the messages that were sent."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app({"type": "http", "headers": headers, "client": ("10.0.0.1", 4711), **scope}, receive, send)
    return sent


async def test_an_event_inherits_what_the_request_says() -> None:
    """An event has request id, trace, span, address and user agent of its request."""
    app = Application()
    middleware = AsgiMiddleware(app, settings=Settings(trusted_proxies=["10.0.0.0/8"]))
    headers = [(b"X-Request-ID", b"r-1"), (b"traceparent", TRACEPARENT), (b"user-agent", b"Agent/1")]
    forwarded = [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"203.0.113.9")]
    await serve(AsgiMiddleware(app), *headers, *forwarded)
    await serve(middleware, *headers, *forwarded)
    expected = AuditContext(
        request_id="r-1",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id="00f067aa0ba902b7",
        ip="10.0.0.1",
        user_agent="Agent/1",
    )
    assert app.events[0].context == expected
    assert app.events[1].context == expected.model_copy(update={"ip": "203.0.113.9"})
    assert inheriting_event().context is None
    assert inheriting_event().actor is None


async def test_the_response_carries_the_request_id() -> None:
    """The response has the request's id once, whether it was sent or generated, and not the application's."""
    app = Application()
    start, body = await serve(AsgiMiddleware(app), (b"x-request-id", b"r-1"))
    assert start["headers"] == [(b"x-request-id", b"r-1")]
    assert body == {"type": "http.response.body", "body": b""}
    start, _ = await serve(AsgiMiddleware(app))
    ((_, made),) = start["headers"]
    assert app.events[1].context == AuditContext(request_id=str(UUID(made.decode())), ip="10.0.0.1")


async def test_headers_that_are_no_text_are_left_out() -> None:
    """Bytes that cannot be decoded are left out, and the request is served."""
    app = Application()
    await serve(AsgiMiddleware(app), (b"user-agent", b"A\x00\xff\x85"), (b"x-request-id", b"\xff"), client=None)
    assert app.events[0].context is not None
    assert app.events[0].context.user_agent == "A\xff"
    assert app.events[0].context.ip is None


async def test_the_actor_comes_from_the_callable() -> None:
    """The callable may return a string, an Actor or None, and may be asynchronous."""
    app = Application()
    named = Actor(type="user", id="42")

    async def later(scope: Scope) -> Actor:
        await asyncio.sleep(0)
        return Actor(type="user", id=scope["user"])

    await serve(AsgiMiddleware(app, actor=lambda scope: f"user:{scope['user']}"), user="42")
    await serve(AsgiMiddleware(app, actor=lambda _: named))
    await serve(AsgiMiddleware(app, actor=later), user="42")
    await serve(AsgiMiddleware(app, actor=lambda _: None))
    assert [event.actor for event in app.events] == [named, named, named, None]


async def test_an_actor_that_is_known_only_inside_is_named() -> None:
    """The function is called when an event is recorded: a middleware further in may have found out who it is."""
    app = Application()

    async def authenticated(scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = "42"
        await app(scope, receive, send)

    await serve(AsgiMiddleware(authenticated, actor=lambda scope: f"user:{scope['user']}"))
    assert app.events[0].actor == Actor(type="user", id="42")


async def test_a_request_that_records_nothing_looks_nobody_up() -> None:
    """The function may need a query."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        """Records nothing."""

    await serve(AsgiMiddleware(app, actor=lambda _: pytest.fail("looked up")))


async def test_a_name_that_no_event_could_hold_is_marked() -> None:
    """The request is served."""
    app = Application()
    await serve(AsgiMiddleware(app, actor=lambda _: "nobody"))
    assert app.events[0].actor == Actor(type="invalid", id="nobody")


async def test_what_was_bound_outside_is_not_of_the_request() -> None:
    """A request does not inherit what its server's context has bound, which may belong to an earlier request."""
    app = Application()
    with bind(actor="user:1", tenant="acme", session_id="s"):
        await serve(AsgiMiddleware(app))
        assert inheriting_event().actor == Actor(type="user", id="1")
    assert app.events[0].actor is None
    assert app.events[0].tenant is None
    assert app.events[0].context is not None
    assert app.events[0].context.session_id is None


async def test_websockets_are_served_and_lifespans_pass() -> None:
    """Events of a WebSocket inherit from its handshake; a lifespan has no headers."""
    app = Application()
    await serve(AsgiMiddleware(app), (b"x-request-id", b"r-1"), type="websocket")
    await AsgiMiddleware(app)({"type": "lifespan"}, receive, app_send)
    assert [event.context and event.context.request_id for event in app.events] == ["r-1", None]


async def app_send(_message: MutableMapping[str, Any]) -> None:
    """Ignores the message."""


async def test_concurrent_requests_never_see_each_other() -> None:
    """Twenty concurrent requests, and tasks that they create, each see their own context."""
    requests = 20
    meeting = asyncio.Barrier(requests)
    found: dict[str, list[AuditEvent]] = {}

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        await meeting.wait()
        before = inheriting_event()
        await meeting.wait()
        found[scope["user"]] = [before, inheriting_event(), await asyncio.create_task(later())]

    async def later() -> AuditEvent:
        return inheriting_event()

    middleware = AsgiMiddleware(app, actor=lambda scope: f"user:{scope['user']}")
    names = [f"u{number}" for number in range(requests)]
    await asyncio.gather(*(serve(middleware, (b"x-request-id", name.encode()), user=name) for name in names))
    assert {name: {event.actor and event.actor.id for event in events} for name, events in found.items()} == {
        name: {name} for name in names
    }
    assert all(event.context == AuditContext(request_id=name, ip="10.0.0.1") for name in names for event in found[name])


@pytest.mark.parametrize("nobody", ["", 0, False])
async def test_a_false_actor_counts_as_none(nobody: Any) -> None:
    """A request without a user, for which the callable returns a false value, is served."""
    app = Application()

    async def later(_: Scope) -> Any:
        await asyncio.sleep(0)
        return nobody

    await serve(AsgiMiddleware(app, actor=lambda _: nobody))
    await serve(AsgiMiddleware(app, actor=later))
    assert [event.actor for event in app.events] == [None, None]
