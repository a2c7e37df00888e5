"""The dashboard for the users of a Django project, who are logged in to Django.

>>> create_app(access=DjangoAccess())  # mounted beside get_asgi_application()

Django's middleware does not run for the dashboard: the session cookie says who it is, and the permissions decide.

==========  ========================
``read``    ``pgaudit.view_event``
``export``  ``pgaudit.export_event``
``retry``   ``pgaudit.retry_job``
``admin``   ``pgaudit.manage_trail``
==========  ========================
"""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.utils.module_loading import import_string
from starlette.requests import HTTPConnection

from pgaudit.django.options import options
from pgaudit.web.access import EVERYTHING, Action, Scope, unmasked

PERMISSIONS: Final[Mapping[Action, str]] = {
    "read": "pgaudit.view_event",
    "export": "pgaudit.export_event",
    "retry": "pgaudit.retry_job",
    "admin": "pgaudit.manage_trail",
}


class DjangoAccess:
    """The users of Django's session, and their permissions. Its methods run in threads, because the ORM needs one.

    >>> DjangoAccess(scope=lambda user: Scope(tenants=frozenset({user.company.slug})))

    :param scope: returns the part of the trail that a user sees; all of it by default.
    :param mask: returns a value as a user may see it; unchanged by default. It runs in the event loop: no ORM.
    :param login_url: where a browser without a user is sent; Django's ``LOGIN_URL`` by default.
    """

    def __init__(
        self,
        *,
        scope: Callable[[Any], Scope] = lambda _user: EVERYTHING,
        mask: Callable[[Any, str, object], object] = unmasked,
        login_url: str | None = None,
    ) -> None:
        self._scope = scope
        self.mask: Any = mask  # the function itself: where it is `unmasked`, no event is copied
        self._login_url = login_url

    @property
    def login_url(self) -> str:
        """Where a browser without a user is sent, with the parameter ``next``."""
        return str(resolve_url(self._login_url or settings.LOGIN_URL))

    def user(self, request: HTTPConnection) -> object:
        """Returns the active user of the session cookie, or None."""
        key = request.cookies.get(settings.SESSION_COOKIE_NAME)
        if not key:
            return None
        with closing_connections():
            user = user_of_session(key)
        return user if user.is_authenticated and user.is_active else None

    def allows(self, user: Any, action: Action) -> bool:
        """Returns whether the user has the permission."""
        with closing_connections():
            return bool(user.has_perm(PERMISSIONS[action]))

    def scope(self, user: Any) -> Scope:
        """Returns the part of the trail that the user sees."""
        with closing_connections():
            return self._scope(user)


class Session(dict[str, Any]):
    """The values of a session. It is renewed and ended by Django alone, which can send the new cookie."""

    def cycle_key(self) -> None:
        """Does nothing."""

    def flush(self) -> None:
        """Does nothing."""


def user_of_session(key: str) -> Any:
    """Returns the user of a session, or an AnonymousUser; a session from before a change of the password has none."""
    request: Any = HttpRequest()
    request.session = Session(import_module(settings.SESSION_ENGINE).SessionStore(key).items())
    return get_user(request)


@contextmanager
def closing_connections() -> Generator[None]:
    """Closes the connections that the block opens in this thread, which has no end of a request that would do it."""
    before = [conn.alias for conn in connections.all(initialized_only=True) if conn.connection]
    try:
        yield
    finally:
        for conn in connections.all(initialized_only=True):
            if conn.alias not in before:
                conn.close()


def project_access() -> DjangoAccess:
    """Returns the access that ``PGAUDIT["ACCESS"]`` names; without one, all of the trail for those with permissions.

    :raises ImproperlyConfigured: it is something else.
    """
    path = options().access
    access: Any = import_string(path) if path else DjangoAccess()
    if not isinstance(access, DjangoAccess):
        raise ImproperlyConfigured(f"PGAUDIT['ACCESS'] = {path!r} is not a DjangoAccess; name an object, not a class")
    return access
