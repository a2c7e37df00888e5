"""Jobs as a viewer may see them: those of the viewer's scope, with masked values."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self, cast

from pgaudit._exact_json import Json, parse_json, to_indented_json
from pgaudit.jobs import JobError
from pgaudit.jobs.pages import Filter, QueuedJob
from pgaudit.web.access import unmasked
from pgaudit.web.guard import Viewer
from pgaudit.web.masking import differs, masked_event

WITHHELD: Final = "Withheld: it may quote values of this event that you may not see."


@dataclass(frozen=True, slots=True)
class ShownJob:
    """A job of a list. ``message`` is the one of the last error, or a sentence in its place."""

    job: QueuedJob
    event: Json
    is_masked: bool
    message: str | None

    @classmethod
    def of(cls, viewer: Viewer, job: QueuedJob) -> Self:
        """Returns the job as the viewer may see it: an error may quote any value of its event."""
        event = parse_json(job.text)
        shown = as_seen(viewer, event)
        is_masked = differs(shown, event)
        return cls(job, shown, is_masked, WITHHELD if is_masked and job.message else job.message)

    def text(self, name: str) -> str | None:
        """Returns a field of the event, short enough for a list; None unless it is a text."""
        value = self.event.get(name) if isinstance(self.event, dict) else None
        return value[:200] if isinstance(value, str) else None

    @property
    def recorded_at(self) -> datetime | None:
        """Returns when the event was recorded, as the server has stamped it; None for an event without a stamp."""
        try:
            recorded = datetime.fromisoformat(self.text("recorded_at") or "")
        except ValueError:
            return None
        return recorded if recorded.tzinfo else recorded.replace(tzinfo=UTC)

    def document(self) -> str:
        """Returns the event as JSON for people to read."""
        return to_indented_json(self.event)


def as_seen(viewer: Viewer, event: Json) -> Json:
    """Returns an event with masked values; None if the viewer has masks and the event is too broken for them."""
    if viewer.access.mask is unmasked:
        return event
    return masked_event(viewer, event) if isinstance(event, dict) and has_usual_changes(event) else None


def has_usual_changes(event: dict[str, Any]) -> bool:
    """Returns whether the changes of an event, if it has any, are a list of objects."""
    changes = event.get("changes", [])
    return isinstance(changes, list) and all(isinstance(change, dict) for change in cast("list[object]", changes))


def scope_of(viewer: Viewer) -> Filter:
    """Returns the jobs that a viewer sees: all, or those of some tenants; none if the scope is any other search."""
    if is_limited_by_search(viewer):
        return Filter(tenants=frozenset())
    tenants: frozenset[str] | None = None
    for term in viewer.scope_query.terms:
        tenants = frozenset(term.values) if tenants is None else tenants & frozenset(term.values)
    return Filter(tenants=tenants)


def is_limited_by_search(viewer: Viewer) -> bool:
    """Returns whether the scope asks for more than tenants, which a job cannot be asked."""
    return any(term.field != "tenant" or term.negated for term in viewer.scope_query.terms)


def sees_everything(viewer: Viewer) -> bool:
    """Returns whether the viewer sees the whole trail; only these viewers see numbers of all tenants."""
    return viewer.sees_everything


def shown_errors(errors: list[JobError], *, withheld: bool) -> list[dict[str, Any]]:
    """Returns errors as the viewer may see them."""
    return [
        {
            "error": error,
            "message": WITHHELD if withheld else error.message,
            "traceback": None if withheld else error.traceback,
        }
        for error in errors
    ]
