"""Who may see what: the access to the API and the dashboard, given to ``create_app``.

>>> app = create_app(access=TokenAccess(Settings()))  # the default: PGAUDIT_ADMIN_TOKEN
>>> def allows(user, action):
...     return user.is_staff and action != "retry"
>>> app = create_app(access=RequestUserAccess(allows=allows))  # the user that the application has logged in

Every method decides for one request, and failing closed is the rule: an exception, or a value of another type than the
one that is asked for, refuses the request.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, get_args

from starlette.requests import HTTPConnection

from pgaudit.settings import Settings
from pgaudit.trail.query import Query, Term, parse
from pgaudit.web.sessions import Sessions
from pgaudit.web.tokens import check_bearer, secret_of

Action = Literal["read", "export", "retry", "admin"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of the trail that a user sees: events of these tenants that a query finds, too.

    >>> Scope(tenants=frozenset({"north"}), query="-action:payroll.*")
    """

    tenants: frozenset[str] | None = None
    """At most 100. None for all tenants, and events of no tenant. An empty set for nothing at all."""
    query: str = ""
    """Text of a search that is added to each search of the user."""

    def as_query(self) -> Query:
        """Returns the search that finds what the user sees.

        :raises InvalidQuery: the text is not one, or there are more than 100 tenants.
        :raises TypeError: the tenants are a text, which would be one tenant for each of its letters.
        """
        added = parse(self.query)
        if self.tenants is None:
            return added
        if isinstance(self.tenants, str):
            raise TypeError(f"tenants is the text {self.tenants!r}: pass a set of tenants")
        return Query((Term("tenant", tuple(sorted(self.tenants))),)) & added


EVERYTHING: Final = Scope()


def unmasked(user: object, path: str, value: object) -> object:  # noqa: ARG001 - a mask has these
    """Returns the value itself: the mask of users who see everything."""
    return value


class Access(Protocol):
    """What the API and the dashboard ask about a request. Plain methods run in a thread, so they may use a database."""

    def user(self, request: HTTPConnection) -> object | Awaitable[object]:
        """Returns the user who makes the request, or None when nobody is logged in. May be ``async``.

        ``str(user)`` names the user in the dashboard and in recorded exports, unless there is a ``display_name``. Where
        names are not unique, or users can change them, give the user an ``identity``: saved searches belong to it, and
        exports are recorded with it.
        """

    def allows(self, user: Any, action: Action) -> bool:
        """Returns True if the user may ``read``, ``export``, ``retry`` or ``admin``."""
        ...

    def scope(self, user: Any) -> Scope:
        """Returns the part of the trail that the user sees."""
        ...

    def mask(self, user: Any, path: str, value: object) -> object:
        """Returns the value as the user may see it: the value itself, or another in its place.

        Asked for each value of an event except its id and its times. It must be fast: it runs in the event loop.

        :param path: such as ``data.address.city``, ``changes.iban.before``, ``actor.name``, ``targets.name``,
            ``context.ip`` or ``reason``.
        """


class TokenAccess:
    """Allows everything to clients that send ``PGAUDIT_ADMIN_TOKEN`` or have logged in with it.

    :param settings: have the token and the lifetime of a session.
    """

    mask = staticmethod(unmasked)

    def __init__(self, settings: Settings) -> None:
        self._token = secret_of(settings.admin_token)
        self.sessions = Sessions(self._token, settings.session_lifetime)

    async def user(self, request: HTTPConnection) -> object:
        """Returns the administrator.

        :raises HTTPException: 403 when the server has no token, 401 when the request has neither it nor a session.
        """
        if self._token and "Authorization" not in request.headers and self.sessions.is_open(request):
            return "admin"
        check_bearer(request, "admin", self._token)
        return "admin"

    def allows(self, user: object, action: Action) -> bool:  # noqa: ARG002 - one token for all
        """Returns True: the token is the administrator's."""
        return True

    def scope(self, user: object) -> Scope:  # noqa: ARG002
        """Returns all of the trail."""
        return EVERYTHING


class RequestUserAccess:
    """The user that the application has logged in: ``request.user`` of Starlette's ``AuthenticationMiddleware``.

    >>> RequestUserAccess(allows=lambda user, action: action == "read", login_url="/login")

    :param allows: returns True if a user may do an action.
    :param scope: returns the part of the trail that a user sees; all of it by default.
    :param mask: returns a value as a user may see it; unchanged by default.
    :param login_url: where a browser without a user is sent, with the parameter ``next``.
    """

    def __init__(
        self,
        allows: Callable[[Any, Action], bool],
        *,
        scope: Callable[[Any], Scope] = lambda _user: EVERYTHING,
        mask: Callable[[Any, str, object], object] = unmasked,
        login_url: str | None = None,
    ) -> None:
        self._allows = allows
        self._scope = scope
        self._mask = mask
        self.login_url = login_url

    async def user(self, request: HTTPConnection) -> object:
        """Returns the request's user, or None if they are not authenticated.

        :raises LookupError: the application has no ``AuthenticationMiddleware`` around this one.
        """
        if "user" not in request.scope:
            raise LookupError("request.user is missing: put Starlette's AuthenticationMiddleware around the mount")
        return request.user if request.user.is_authenticated else None

    def allows(self, user: object, action: Action) -> bool:
        """Returns whether the user may do it."""
        return self._allows(user, action)

    def scope(self, user: object) -> Scope:
        """Returns the part of the trail that the user sees."""
        return self._scope(user)

    def mask(self, user: object, path: str, value: object) -> object:
        """Returns the value as the user may see it."""
        return self._mask(user, path, value)
