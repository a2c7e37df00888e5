"""What the pages in Django's admin share: who looks, through which connection, and that it is recorded."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import Http404
from starlette.exceptions import HTTPException

from pgaudit._driver import reading
from pgaudit.access_log import VIEWED, record_access
from pgaudit.django.access import project_access
from pgaudit.django.audit_log import audit
from pgaudit.django.options import options
from pgaudit.errors import InvalidQuery
from pgaudit.events import AuditEvent
from pgaudit.middleware.django import reference
from pgaudit.trail import Query
from pgaudit.web import views
from pgaudit.web.guard import REFUSED, Guard, Viewer
from pgaudit.web.masking import MaskedEntry
from pgaudit.web.views import Connection, View

LARGEST_PAGE: Final = 1_000
NOTHING: Final = View([], None, None, None)


@contextmanager
def in_terms_of_django() -> Generator[None]:
    """Raises Django's errors for those of the dashboard.

    :raises PermissionDenied: the user may not.
    """
    try:
        yield
    except HTTPException as error:
        if error.status_code == HTTPStatus.FORBIDDEN:
            raise PermissionDenied(error.detail) from error
        raise


def may_read(user: Any) -> bool:
    """Returns whether a user may read the trail."""
    return project_access().allows(user, "read") is True


def viewer_of(request: Any) -> Viewer:
    """Returns the user of a request, and what they may see.

    :raises PermissionDenied: the user may not read the trail, or that is not certain.
    """
    with in_terms_of_django():
        viewer = Guard(project_access()).viewer_of(request.user)
    if not viewer.allows("read"):
        raise PermissionDenied(REFUSED["read"])
    return viewer


def connection() -> Connection:
    """Returns the connection to read through: that of ``READ_ALIAS``, or of ``ALIAS``."""
    chosen = options()
    return reading(connections[chosen.read_alias or chosen.alias])


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of events, or what is wrong with the search. ``is_forward``: it was searched from the newest one down."""

    view: View = NOTHING
    problem: InvalidQuery | None = None
    is_forward: bool = True

    @property
    def status(self) -> HTTPStatus:
        """The status of the response."""
        return HTTPStatus.UNPROCESSABLE_ENTITY if self.problem else HTTPStatus.OK

    def context(self, **query: str) -> dict[str, Any]:
        """Returns what templates show of it, with the addresses of the neighbouring pages."""
        kept = {name: value for name, value in query.items() if value}
        cursors = {"newer_page": self.view.previous, "older_page": self.view.next}
        links = {name: urlencode(kept | {"after": cursor}) for name, cursor in cursors.items() if cursor}
        own = {"view": self.view, "problem": self.problem, "is_forward": self.is_forward}
        return own | {"first_page": urlencode(kept)} | links


def searched(request: Any, query: Query | str, limit: int) -> Listed:
    """Returns the page of events that a search finds, at the cursor ``after`` of the address.

    :raises PermissionDenied: the user may not read the trail, or not search for this.
    """
    viewer, after = viewer_of(request), request.GET.get("after")
    try:
        with in_terms_of_django():
            view = views.search(connection(), viewer, query, after, min(limit, LARGEST_PAGE))
    except InvalidQuery as error:
        return Listed(problem=error)
    return Listed(view, is_forward=after is None or after.startswith("before"))


def found(request: Any, key: str) -> MaskedEntry:
    """Returns the event with an index or id.

    :raises Http404: there is none that the user may see.
    :raises PermissionDenied: the user may not read the trail.
    """
    viewer = viewer_of(request)
    parsed = views.key_of(key)
    with in_terms_of_django():
        entry = None if parsed is None else views.find(connection(), viewer, parsed)
    if entry is None:
        raise Http404("There is no such event, or you may not see it.")
    return entry


def record_viewed(request: Any, target: str | None = None, **data: object) -> None:
    """Records that events were looked at, if ``PGAUDIT_RECORD_READS`` is on. If that fails, they are not shown."""
    if audit.settings.record_reads:
        targets = [target] if target else []
        event = AuditEvent(action=VIEWED, actor=reference(request.user), targets=targets, data=data)
        record_access(connection(), event)
