"""The frame of every page: templates, addresses below the mount, and the variables of every template."""

from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette._utils import get_route_path
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

import pgaudit
from pgaudit.settings import Settings
from pgaudit.web.access import Action
from pgaudit.web.dashboard import filters, forms
from pgaudit.web.dashboard.assets import ASSETS
from pgaudit.web.dashboard.forms import Form
from pgaudit.web.dashboard.headers import HEADERS
from pgaudit.web.exporting import Exports
from pgaudit.web.guard import Guard, Viewer
from pgaudit.web.lookups import Lookups
from pgaudit.web.mount import root_of
from pgaudit.web.sessions import COOKIE as SESSION_COOKIE

Query = str | int | Iterable[str | int] | None
MENU: Final = (
    ("/", "Overview"),
    ("/events", "Events"),
    ("/jobs", "Jobs"),
    ("/workers", "Workers"),
    ("/streams", "Streams"),
    ("/integrity", "Integrity"),
    ("/coverage", "Coverage"),
    ("/exports", "Exports"),
)
THEMES: Final = frozenset({"dark", "light"})


class Dashboard:
    """What pages share: settings, look-ups in the database, the guard, and the rendering of templates."""

    def __init__(self, settings: Settings, lookups: Lookups, guard: Guard) -> None:
        self.settings = settings
        self.lookups = lookups
        self.guard = guard
        self.exports = Exports(lookups, settings)
        self.key = forms.key_of(settings)
        self.menu: list[tuple[str, str]] = []
        self.templates = Environment(
            loader=PackageLoader("pgaudit.web.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self.templates.filters.update(filters.FILTERS)

    def offer(self, paths: Iterable[str]) -> None:
        """Puts the pages of these paths into the menu, if they belong there."""
        existing = set(paths)
        self.menu = [(path, title) for path, title in MENU if path in existing]

    async def viewer(self, request: Request, action: Action = "read") -> Viewer:
        """Returns the user of a request, if they may do the action.

        :raises HTTPException: 401 when nobody is logged in, which a browser sees as the login page; 403 when the user
            may not.
        """
        return await self.guard.require(request, action)

    async def posted(self, request: Request, action: Action) -> tuple[Viewer, Form]:
        """Returns the user who has sent a form, and its fields.

        :raises HTTPException: 401 or 403 as for ``viewer``; 403 when the form is not one of this user's pages.
        """
        viewer = await self.viewer(request, action)
        return viewer, await forms.read(request, self.key, viewer.id)

    def render(
        self, request: Request, template: str, viewer: Viewer | None = None, status: int = HTTPStatus.OK, **context: Any
    ) -> Response:
        """Returns a page.

        :param template: its name, such as ``events.html``; it extends ``layout.html``.
        :param viewer: the user; None on pages that need no login.
        :param context: the variables of the template.
        """
        binding = forms.Binding.of(request)
        token = binding.token(self.key, viewer.id if viewer else "")
        given = self._given(request, viewer) | {"form_token_field": forms.token_field(token)} | context
        page = self.templates.get_template(template).render(given)
        response = HTMLResponse(page, status, HEADERS)
        binding.keep(request, response)
        return response

    def _given(self, request: Request, viewer: Viewer | None) -> dict[str, Any]:
        """Returns the variables that every template has."""
        theme = request.cookies.get("pgaudit_theme", "")
        return {
            "viewer": viewer,
            "menu": self.menu if viewer else [],
            "can_log_out": SESSION_COOKIE in request.cookies,
            "path": get_route_path(request.scope),
            "theme": theme if theme in THEMES else None,
            "zone": filters.zone_of(request.cookies.get("pgaudit_tz", "")),
            "root": root_of(request.scope),
            "url": partial(self.url, request),
            "asset": partial(self._asset, request),
            "version": pgaudit.__version__,
        }

    @staticmethod
    def url(request: Request, path: str, **query: Query) -> str:
        """Returns the address of a page below the mount. Parts that are data go through ``segment`` first.

        :param path: such as ``/events``.
        :param query: parameters; None leaves one out, a list repeats it.
        """
        given = {name: value for name, value in query.items() if value is not None}
        return root_of(request.scope) + path + (f"?{urlencode(given, doseq=True)}" if given else "")

    def _asset(self, request: Request, name: str) -> str:
        """Returns the address of a file of the package."""
        return self.url(request, ASSETS.path(name))

    def redirect(self, request: Request, path: str, **query: Query) -> Response:
        """Returns a redirect to a page below the mount, as the answer to a form."""
        return RedirectResponse(self.url(request, path, **query), HTTPStatus.SEE_OTHER, HEADERS)
