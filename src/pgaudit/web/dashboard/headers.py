"""The headers of every answer, which tell browsers what a page may do, and the paths that are refused unseen."""

import re
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from itertools import takewhile
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from starlette._utils import get_route_path
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pgaudit.web.mount import root_of

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
DROPPED: Final = frozenset({b".", b".."})  # segments that browsers and proxies leave out, encoded or not
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Headers:
    """Middleware that adds the headers to every answer that has not its own, and refuses paths with two meanings."""

    def __init__(self, app: ASGIApp, refuse: Callable[[Request, Exception], Awaitable[Response]]) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        app = self._app
        if get_route_path(scope) == "":
            app = RedirectResponse(root_of(scope) + "/")
        elif is_confusing(scope):
            app = await self._refuse(Request(scope), HTTPException(HTTPStatus.NOT_FOUND))
        await app(scope, receive, send_with_headers)


def is_confusing(scope: Scope) -> bool:
    """Returns whether a proxy or a browser could take the path for another one than this server does.

    The id of a target may have any printable character: an encoded slash belongs to it, and is accepted.
    """
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    _, *segments = raw.removeprefix(scope.get("root_path", "").encode()).split(b"/")
    return (
        b"\\" in raw
        or any(unquote_to_bytes(segment) in DROPPED for segment in segments)
        or b"" in segments[:-1]
        or has_hidden_slash(segments)
        or bool(CONTROL.search(scope["path"]))
    )


def has_hidden_slash(segments: Sequence[bytes]) -> bool:
    """Returns whether an encoded slash stands where no id is: proxies that guard ``/api/`` miss ``/api%2f``."""
    is_api = segments[:1] == [b"api"]
    names = takewhile(lambda segment: segment != b"timeline", segments) if is_api else segments[:1]
    return any(b"%2f" in segment.lower() for segment in names)
