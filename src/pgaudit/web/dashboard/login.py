"""Login with the admin token, and logout. Where the application logs its users in, these pages do not exist."""

import logging
import re
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgaudit.middleware.request import client_address
from pgaudit.web.access import TokenAccess
from pgaudit.web.dashboard import forms
from pgaudit.web.dashboard.attempts import Attempts
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.guard import refuse_other_sites
from pgaudit.web.tokens import closed, is_token, secret_of

logger = logging.getLogger("pgaudit.web")

FIRST_PAGE: Final = "/"
# One slash, then printable ASCII. Browsers read "//" and "/\" as the beginning of a host.
PAGE: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")
LONGEST_PAGE: Final = 8_000


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of login and logout, if the access is that of the token."""
    access = dashboard.guard.access
    if not isinstance(access, TokenAccess):
        return []
    login = Login(dashboard, access)
    return [
        Route("/login", login.show, methods=["GET"]),
        Route("/login", login.log_in, methods=["POST"]),
        Route("/logout", login.log_out, methods=["POST"]),
    ]


class Login:
    """The login page."""

    def __init__(self, dashboard: Dashboard, access: TokenAccess) -> None:
        self._dashboard = dashboard
        self._access = access
        self._token = secret_of(dashboard.settings.admin_token)
        self._attempts = Attempts()

    async def show(self, request: Request) -> Response:
        """Returns the form, or leads on when a session is open."""
        self._refuse_without_token()
        next_page = safe_page(request.query_params.get("next", ""))
        if self._access.sessions.is_open(request):
            return self._lead_to(request, next_page)
        return self._page(request, next_page)

    async def log_in(self, request: Request) -> Response:
        """Opens a session if the token is right."""
        self._refuse_without_token()
        refuse_other_sites(request)
        form = await forms.read(request, self._dashboard.key, "")
        next_page, address = safe_page(form.text("next")), self._address(request)
        if seconds := self._attempts.seconds_to_wait(address):
            return self._wait(request, next_page, seconds)
        if not is_token(form.text("token").encode(), self._token):
            self._attempts.failed(address)
            logger.warning("a log-in to the dashboard from %s had a wrong token", address)
            return self._page(request, next_page, "This is not the admin token.", HTTPStatus.FORBIDDEN)
        response = self._lead_to(request, next_page)
        self._access.sessions.open(request, response)
        return response

    async def log_out(self, request: Request) -> Response:
        """Ends the session in this browser."""
        await self._dashboard.posted(request, "read")
        response = self._dashboard.redirect(request, "/login")
        self._access.sessions.close(request, response)
        return response

    def _refuse_without_token(self) -> None:
        """Says what to configure.

        :raises HTTPException: 403, the server has no token.
        """
        if not self._token:
            raise HTTPException(HTTPStatus.FORBIDDEN, closed("admin"))

    def _address(self, request: Request) -> str:
        """Returns the address of the client, as far as proxies are trusted."""
        peer = request.client.host if request.client else None
        forwarded = ",".join(request.headers.getlist("X-Forwarded-For"))
        return client_address(peer, forwarded, self._dashboard.settings.trusted_proxies) or ""

    def _wait(self, request: Request, next_page: str, seconds: int) -> Response:
        error = f"Too many attempts. Try again in {seconds} seconds."
        page = self._page(request, next_page, error, HTTPStatus.TOO_MANY_REQUESTS)
        page.headers["Retry-After"] = str(seconds)
        return page

    def _page(self, request: Request, next_page: str, error: str = "", status: int = HTTPStatus.OK) -> Response:
        return self._dashboard.render(request, "login.html", status=status, next_page=next_page, error=error)

    def _lead_to(self, request: Request, page: str) -> Response:
        path, _, query = page.partition("?")
        return self._dashboard.redirect(request, path + (f"?{query}" if query else ""))


def safe_page(page: str) -> str:
    """Returns a path below the mount to which a login may lead: the one that is given, or that of the first page."""
    return page if len(page) <= LONGEST_PAGE and PAGE.fullmatch(page) else FIRST_PAGE
