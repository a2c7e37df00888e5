"""What addresses and forms of the job pages ask for."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Final, Self, get_args

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from pgaudit.jobs.pages import BATCH, START, Filter, Place, State
from pgaudit.web.dashboard.job_views import scope_of
from pgaudit.web.guard import Viewer
from pgaudit.web.masking import differs, masked_event
from pgaudit.web.routes import LARGEST_ID, parse_job_id

STATES: Final[tuple[State, ...]] = ("failed", "stalled", "delayed", "active", "waiting")
MASKED: Final = "You may not filter by this action: actions are hidden from you."
LONGEST: Final = 200  # characters of a filter


@dataclass(frozen=True, slots=True)
class Asked:
    """A list of jobs: state and filter."""

    state: State
    action: str
    error: str

    @classmethod
    def of(cls, given: QueryParams) -> Self:
        """Returns what an address asks for.

        :raises HTTPException: 422, there is no such state.
        """
        state = given.get("state", "failed")
        found = next((one for one in get_args(State) if one == state), None)
        if found is None:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"A state is one of {', '.join(STATES)}.")
        return cls(found, text(given.get("action")), text(given.get("error")))

    def query(self) -> dict[str, str | None]:
        """Returns the parameters of an address."""
        return {"state": self.state, "action": self.action or None, "error": self.error or None}

    def seen_by(self, viewer: Viewer) -> Filter:
        """Returns the filter within the scope of a viewer.

        :raises HTTPException: 403, it is about an action that the viewer sees masked only.
        """
        event = {"action": self.action}  # any text: a broken event may have one that no search takes
        if self.action and differs(masked_event(viewer, event), event):
            raise HTTPException(HTTPStatus.FORBIDDEN, MASKED)
        return replace(scope_of(viewer), action=self.action, error_class=self.error)


def text(given: str | None) -> str:
    """Returns the text of a filter; Postgres knows no NUL."""
    return (given or "").replace("\0", "").strip()[:LONGEST]


def place_of(given: str | None) -> Place:
    """Returns the place where a page begins.

    :raises HTTPException: 422, it is none.
    """
    if not given:
        return START
    number, _, moment = given.partition("_")
    try:
        return Place(parse_job_id(number), datetime.fromisoformat(moment) if moment else None)
    except ValueError as error:
        detail = "This is not a page of the list: begin at its first page."
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, detail) from error


def place_text(place: Place | None) -> str | None:
    """Returns a place as ``place_of`` reads it."""
    if place is None or place.scheduled_at is None:
        return str(place.job_id) if place else None
    return f"{place.job_id}_{place.scheduled_at.isoformat()}"


def numbers(given: Iterable[str]) -> list[int]:
    """Returns numbers of jobs, each once.

    :raises HTTPException: 422, one of them is none, or there are more than one transaction retries.
    """
    try:
        found = sorted({parse_job_id(one) for one in given})
    except ValueError as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    if len(found) > BATCH:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"Select {BATCH:,} jobs at most, or all that match.")
    return found


def count_of(given: str | None) -> int | None:
    """Returns a count that an address carries after a redirect; None if there is none."""
    return int(given) if given and given.isascii() and given.isdigit() and len(given) < len(str(LARGEST_ID)) else None
