"""The WSGI middleware: what the events of a request inherit, also while its body is generated."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import UUID
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from flask import Flask, g, request
from werkzeug.test import Client

from pgaudit import Actor, AuditContext, AuditEvent, identify
from pgaudit.middleware import WsgiMiddleware
from tests.support.events import inheriting_event


class Application:
    """Collects events: when it is called, while its body is iterated, and when that is closed."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def __call__(self, _environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.events.append(inheriting_event())
        start_response("200 OK", [("Content-Type", "text/plain"), ("x-request-id", "its own")])
        return self.body()

    def body(self) -> Iterator[bytes]:
        """Yields two chunks."""
        try:
            self.events.append(inheriting_event())
            yield b"one"
            self.events.append(inheriting_event())
            yield b"two"
        finally:
            self.events.append(inheriting_event())


class Response:
    """The response of an application that is called as PEP 3333 requires, which is checked."""

    def __init__(self, app: Any, **environ: str) -> None:
        self.headers: list[tuple[str, str]] = []
        given: dict[str, Any] = {"REMOTE_ADDR": "10.0.0.1", "QUERY_STRING": "", **environ}
        setup_testing_defaults(given)
        self.body = validator(app)(given, self._start)

    def _start(self, _status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], object]:
        self.headers = headers
        return self._never

    def _never(self, _chunk: bytes) -> object:
        raise AssertionError

    def read(self) -> bytes:
        """Returns the whole body."""
        try:
            return b"".join(self.body)
        finally:
            self.body.close()  # type: ignore[attr-defined]  # the validator's has it


def test_the_context_covers_the_call_the_body_and_its_end() -> None:
    """The context is bound in the application, and not in the server between and after the chunks."""
    app = Application()
    response = Response(WsgiMiddleware(app, actor=lambda environ: f"user:{environ['USER']}"), USER="42")
    chunks = iter(response.body)
    assert next(chunks) == b"one"
    assert inheriting_event().actor is None
    assert inheriting_event().context is None
    assert list(chunks) == [b"two"]
    response.body.close()  # type: ignore[attr-defined]
    ((_, made),) = [header for header in response.headers if header[0].lower() == "x-request-id"]
    expected = AuditContext(request_id=str(UUID(made)), ip="10.0.0.1")
    assert [(event.actor, event.context) for event in app.events] == [(Actor(type="user", id="42"), expected)] * 4


def test_the_user_that_flask_finds_before_a_request_is_named() -> None:
    """The actor comes from g or from identify; the next request of the thread has none."""
    flask_app = Flask(__name__)

    @flask_app.before_request
    def authenticate() -> None:
        if "X-Key" in request.headers:
            identify(actor=f"key:{request.headers['X-Key']}")
        g.user = request.headers.get("X-User")

    @flask_app.get("/")
    def view() -> str:
        return str(inheriting_event().actor)

    client = Client(WsgiMiddleware(flask_app, actor=lambda _: g.user and f"user:{g.user}"))
    answers = [client.get("/", headers=headers).text for headers in ({"X-User": "42"}, {"X-Key": "7"}, {})]
    assert answers == ["user:42", "key:7", "None"]


def test_a_body_that_is_broken_off_is_closed_in_its_context() -> None:
    """The server closes what the client no longer reads."""
    app = Application()
    response = Response(WsgiMiddleware(app), HTTP_X_REQUEST_ID="r-1")
    assert next(iter(response.body)) == b"one"
    response.body.close()  # type: ignore[attr-defined]
    assert [event.context and event.context.request_id for event in app.events] == ["r-1"] * 3


def test_a_list_is_passed_on_as_it_is() -> None:
    """A list is returned unchanged, because servers derive the length of the body from it."""
    body = [b"all"]

    def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return body

    assert WsgiMiddleware(app)({}, lambda *_: print) is body


def test_headers_that_are_no_text_are_left_out() -> None:
    """Characters that cannot be decoded are left out, and the request is served."""
    app = Application()
    environ = {"HTTP_USER_AGENT": "A\0\x85\xff", "HTTP_X_REQUEST_ID": "\xff", "HTTP_TRACEPARENT": "\0"}
    assert Response(WsgiMiddleware(app), **environ, HTTP_X_FORWARDED_FOR="\0").read() == b"onetwo"
    assert app.events[0].context is not None
    assert app.events[0].context.user_agent == "A\xff"
    assert app.events[0].context.ip == "10.0.0.1"


def test_an_error_leaves_nothing_bound() -> None:
    """An error of the application reaches the server, and nothing stays bound."""

    def app(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
        raise RuntimeError(inheriting_event().context)

    with pytest.raises(RuntimeError, match="r-1"):
        Response(WsgiMiddleware(app), HTTP_X_REQUEST_ID="r-1")
    assert inheriting_event().context is None


def test_requests_on_one_thread_never_see_each_other() -> None:
    """Bodies that are iterated by turns on one thread each have their own context."""
    app = Application()
    turns = [Response(WsgiMiddleware(app), HTTP_X_REQUEST_ID=name) for name in ("a", "b")]
    bodies = [iter(response.body) for response in turns]
    for _ in range(2):
        for body in bodies:
            next(body)
    for response in turns:
        response.body.close()  # type: ignore[attr-defined]
    ids = [event.context and event.context.request_id for event in app.events]
    assert ids == ["a", "b", "a", "b", "a", "b", "a", "b"]


def test_threads_never_see_each_other() -> None:
    """Eight concurrent threads each have their own context."""
    meeting = threading.Barrier(8)
    found: dict[str, str | None] = {}

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        meeting.wait(30)
        context = inheriting_event().context or AuditContext()
        found[environ["HTTP_X_REQUEST_ID"]] = context.request_id
        meeting.wait(30)
        return [b""]

    middleware = WsgiMiddleware(app)
    threads = [
        threading.Thread(target=lambda name=name: Response(middleware, HTTP_X_REQUEST_ID=name).read())
        for name in "abcdefgh"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {name: name for name in "abcdefgh"}


@pytest.mark.parametrize("nobody", ["", 0, False])
def test_a_false_actor_counts_as_none(nobody: Any) -> None:
    """A request whose callable returns a false value, such as an empty REMOTE_USER, is served."""
    app = Application()
    assert Response(WsgiMiddleware(app, actor=lambda _: nobody)).read() == b"onetwo"
    assert {event.actor for event in app.events} == {None}
