"""What the addresses of the timelines ask for."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Self

from starlette.requests import Request

from pgaudit.errors import InvalidQuery
from pgaudit.web import views
from pgaudit.web.views import When


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address asks for: where the list begins, and the moments of the state and of the comparison."""

    before: int | None
    as_of: str
    compare: str
    as_of_moment: When
    compare_moment: When
    error: str | None

    @classmethod
    def of(cls, request: Request, zone: tzinfo) -> Self:
        """Returns what the address asks for; what is not a moment is an error that the page shows."""
        given = request.query_params
        before = views.key_of(given.get("before", ""))
        as_of, compare = (given.get(name, "").strip() for name in ("as_of", "compare"))
        first = before if isinstance(before, int) else None
        try:
            return cls(first, as_of, compare, moment_in(zone, as_of), moment_in(zone, compare), None)
        except InvalidQuery as fault:
            return cls(first, as_of, compare, None, None, f"{fault}, or the index of an event")


def moment_in(zone: tzinfo, text: str) -> When:
    """Returns the moment that a text names; a time without an offset is in the viewer's time zone.

    :raises InvalidQuery: it names none.
    """
    if not text:
        return None
    if isinstance(views.key_of(text), int):
        return views.moment_of(text)
    try:
        time = datetime.fromisoformat(text)
        return time if time.tzinfo else time.replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return views.moment_of(text)


def reference_of(request: Request) -> tuple[str, str]:
    """Returns type and id of an address."""
    return request.path_params["type"], request.path_params["id"]
