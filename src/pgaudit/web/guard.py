"""Asks the application's access about a request, and refuses if that fails."""

import inspect
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request

from pgaudit.trail.query import Query
from pgaudit.web.access import ACTIONS, Access, Action, Scope
from pgaudit.web.tokens import CHALLENGE, unauthorized, variable

logger = logging.getLogger("pgaudit.web")

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
UNDECIDED: Final = "The application could not decide about your access; the server's log says why."
WHOLE_TRAIL: Final = "This is about the whole trail, and you may see a part of it: ask for access to all tenants."
REFUSED: Final = {
    "read": "You may not see the audit trail.",
    "export": "You may not export events.",
    "retry": "You may not retry jobs.",
    "admin": "You may not change how the audit trail is run.",
}
CROSS_SITE: Final = "This request comes from another site. Send it from the dashboard itself."


@dataclass(frozen=True, slots=True)
class Viewer:
    """The user of a request, and what they may see and do; each search is limited to ``scope_query``."""

    user: object
    name: str
    allowed: frozenset[Action]
    scope_query: Query
    access: Access

    @property
    def id(self) -> str:
        """What tells the user from all others: their ``identity`` if they have one, since two may have one name."""
        try:
            identity = getattr(self.user, "identity", None)
        except NotImplementedError:  # a user of Starlette that does not define it
            identity = None
        return str(identity or self.name)

    @property
    def sees_everything(self) -> bool:
        """Whether the user sees the whole trail: figures of all tenants are for these only."""
        return not self.scope_query.terms

    def allows(self, action: Action) -> bool:
        """Returns whether the user may do it."""
        return action in self.allowed

    def mask(self, path: str, value: object) -> object:
        """Returns the value as the user may see it.

        :raises HTTPException: 403, the application could not decide.
        """
        try:
            return self.access.mask(self.user, path, value)
        except Exception as error:
            raise undecided("mask", error) from error


class Guard:
    """Decides about requests, for the API and the dashboard alike."""

    def __init__(self, access: Access) -> None:
        self.access = access

    async def require(self, request: HTTPConnection, action: Action) -> Viewer:
        """Returns the user, if they may do it.

        :raises HTTPException: 401 when nobody is logged in, 403 when the user may not, or when that is not certain.
        """
        refuse_other_sites(request)
        user = await self._user(request)
        viewer = await run_in_threadpool(self.viewer_of, user)
        if not viewer.allows(action):
            raise HTTPException(HTTPStatus.FORBIDDEN, REFUSED[action])
        return viewer

    def viewer_of(self, user: object) -> Viewer:
        """Asks what the user may do and see. Only True allows, so that a coroutine never awaited does not.

        :raises HTTPException: 403, the application could not decide.
        """
        try:
            allowed = frozenset[Action](action for action in ACTIONS if self.access.allows(user, action) is True)
            return Viewer(user, name_of(user), allowed, query_of(self.access.scope(user)), self.access)
        except HTTPException:
            raise
        except Exception as error:
            raise undecided("allows() or scope()", error) from error

    async def _user(self, request: HTTPConnection) -> object:
        try:
            user = await run_in_threadpool(self.access.user, request)
            user = await user if inspect.isawaitable(user) else user
        except HTTPException:
            raise
        except Exception as error:
            raise undecided("user()", error) from error
        if user is None or user is False or user == "":  # so ``request.user.is_authenticated and request.user`` ends
            raise unauthorized("Log in to see the audit trail.", CHALLENGE)
        return user


class RequireAccess(HTTPBearer):
    """A dependency of the routes that ask for an action; the OpenAPI document names the token that opens them.

    :param whole: the route is for those who see the whole trail.
    """

    def __init__(self, guard: Guard, action: Action, *, whole: bool = False) -> None:
        self._guard = guard
        self._action: Action = action
        self._whole = whole
        super().__init__(scheme_name="admin", description=variable("admin"))

    async def __call__(self, request: Request) -> Viewer:  # type: ignore[override]
        """Returns the user, if they may do the action; the route finds them in ``request.state.viewer``, too.

        :raises HTTPException: 401 or 403.
        """
        viewer = await self._guard.require(request, self._action)
        if self._whole and not viewer.sees_everything:
            raise HTTPException(HTTPStatus.FORBIDDEN, WHOLE_TRAIL)
        request.state.viewer = viewer
        return viewer


def refuse_other_sites(request: HTTPConnection) -> None:
    """Returns unless a browser sends the request from a page of another site, and the request may change something.

    Cookies say who the user is, and a browser sends them with a form of any site. A browser says where the form is
    from: in ``Sec-Fetch-Site``, or over plain HTTP in ``Origin``; other programs send neither.

    :raises HTTPException: 403, it does.
    """
    if request.scope.get("method") in SAFE_METHODS:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is None and origin is not None:
        site = "same-origin" if urlsplit(origin).netloc == request.headers.get("Host") else "cross-site"
    if site not in {None, "same-origin", "none"}:
        raise HTTPException(HTTPStatus.FORBIDDEN, CROSS_SITE)


def query_of(scope: object) -> Query:
    """Returns the search of a scope.

    :raises TypeError: it is something else, such as the None of a method that returns nothing.
    """
    if not isinstance(scope, Scope):
        raise TypeError(f"scope() has returned {type(scope).__name__}, not a Scope")
    return scope.as_query()


def name_of(user: object) -> str:
    """Returns the name of a user for people to read."""
    return str(getattr(user, "display_name", None) or user)


def undecided(method: str, error: Exception) -> HTTPException:
    """Logs that a method of the access failed, and returns what its client may know."""
    logger.error("the access of the application has failed in %s", method, exc_info=error)
    return HTTPException(HTTPStatus.FORBIDDEN, UNDECIDED)
