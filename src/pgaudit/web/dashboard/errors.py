"""Problems as pages: what is wrong in a sentence, and the login page for a browser without a user."""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.dashboard.headers import HEADERS
from pgaudit.web.guard import Viewer

Handler = Callable[[Request, Exception], Awaitable[Response]]
# These paths are for programs, which get problem details whatever they accept.
FOR_PROGRAMS: Final = ("/api/", "/metrics")
TITLES: Final = {
    403: "Not allowed",
    404: "Not found",
    405: "Not possible here",
    429: "Too many attempts",
    503: "The audit trail cannot be read",
}


def as_pages(dashboard: Dashboard, handlers: dict[Any, Handler]) -> dict[Any, Handler]:
    """Returns handlers that answer browsers with a page, and programs as the given ones do."""
    return {error: as_page(dashboard, handler) for error, handler in handlers.items()}


def as_page(dashboard: Dashboard, handler: Handler) -> Handler:
    """Returns a handler that answers a browser with the page of a problem."""

    async def handle(request: Request, error: Exception) -> Response:
        answer = await handler(request, error)
        return await problem_page(dashboard, request, answer) if is_browser(request) else answer

    return handle


def is_browser(request: Request) -> bool:
    """Returns whether a browser asks for a page, or htmx for a part of one."""
    if get_route_path(request.scope).startswith(FOR_PROGRAMS):
        return False
    return "text/html" in request.headers.get("Accept", "") or "HX-Request" in request.headers


async def problem_page(dashboard: Dashboard, request: Request, answer: Response) -> Response:
    """Returns the page of a problem, or sends the browser to the login page.

    :param answer: the problem details.
    """
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        return to_login(dashboard, request)
    title = TITLES.get(answer.status_code, HTTPStatus(answer.status_code).phrase)
    detail = json.loads(bytes(answer.body))["detail"]
    viewer = await viewer_or_none(dashboard, request)
    page = dashboard.render(request, "error.html", viewer, answer.status_code, title=title, detail=detail)
    page.headers.update({name: value for name, value in answer.headers.items() if name in {"allow", "retry-after"}})
    return page


async def viewer_or_none(dashboard: Dashboard, request: Request) -> Viewer | None:
    """Returns the user whose name and menu the page of a problem shows; None if they may not see the trail."""
    try:
        return await dashboard.viewer(request)
    except HTTPException:
        return None


def to_login(dashboard: Dashboard, request: Request) -> Response:
    """Returns a redirect to the login page, which leads back to where the browser is now."""
    address = login_address(dashboard, request)
    if "HX-Request" in request.headers:  # htmx would put the login page into the part that it has asked for
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers=HEADERS | {"HX-Redirect": address})
    return RedirectResponse(address, HTTPStatus.SEE_OTHER, HEADERS)


def login_address(dashboard: Dashboard, request: Request) -> str:
    """Returns the address of the login page: ours, or the application's if its access names one."""
    here = back_to(request)
    theirs: str | None = getattr(dashboard.guard.access, "login_url", None)
    if theirs is None:
        return dashboard.url(request, "/login", next=here)
    separator = "&" if urlsplit(theirs).query else "?"
    return f"{theirs}{separator}{urlencode({'next': dashboard.url(request, here)})}"


def back_to(request: Request) -> str:
    """Returns the page, below the mount, to which a login leads back; the first page after anything but a GET."""
    if "HX-Request" in request.headers or request.method not in {"GET", "HEAD"}:
        return "/"
    path = quote(get_route_path(request.scope))
    return path + (f"?{request.url.query}" if request.url.query else "")
