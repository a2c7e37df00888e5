"""The log as a viewer may see it: the scope is added to every search, and hidden values are masked."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import psycopg

from pgaudit import trail
from pgaudit.errors import InvalidQuery
from pgaudit.trail import ActorTimeline, Count, Entry, Moment, Query, Stop, Timeline
from pgaudit.trail.fields import moment
from pgaudit.trail.spans import ALL
from pgaudit.trail.timelines import single
from pgaudit.trail.timelines.moment import readable_changes
from pgaudit.web.access import unmasked
from pgaudit.web.guard import Viewer
from pgaudit.web.masked_searches import refuse_masked
from pgaudit.web.masking import MaskedEntry, first_target, masked, masked_event, reference

Connection = psycopg.Connection[Any]
When = datetime | int | None
ACTOR_LIMIT: Final = 1_000
SIZE: Final = "SELECT first_index + count FROM pgaudit.batch ORDER BY first_index DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class View:
    """A page of events as the viewer may see them. See ``pgaudit.trail.Page``."""

    entries: list[MaskedEntry]
    next: str | None
    previous: str | None
    stopped: Stop | None


def checked(viewer: Viewer, query: Query | str) -> Query:
    """Returns a query that the viewer may ask.

    :raises InvalidQuery: the text is not a query.
    :raises HTTPException: 403, it asks for a value that is hidden from the viewer.
    """
    parsed = query if isinstance(query, Query) else trail.parse(query)
    refuse_masked(viewer, parsed)
    return parsed


def search(conn: Connection, viewer: Viewer, query: Query | str, after: str | None = None, limit: int = 50) -> View:
    """Returns a page of the events that a query finds.

    :raises InvalidQuery: the query or the cursor cannot be understood.
    :raises HTTPException: 403, the query asks for a value that is hidden from the viewer.
    """
    page = trail.search(conn, checked(viewer, query), after, limit, viewer.scope_query)
    return View(as_seen(viewer, page.entries), page.next, page.previous, page.stopped)


def count(conn: Connection, viewer: Viewer, query: Query | str) -> Count:
    """Returns how many events a query finds, up to a thousand."""
    return trail.count(conn, checked(viewer, query), scope=viewer.scope_query)


def find(conn: Connection, viewer: Viewer, key: int | UUID) -> MaskedEntry | None:
    """Returns an event by its index or id; None if there is none that the viewer sees."""
    entry = trail.find(conn, key, viewer.scope_query)
    return masked(viewer, entry) if entry else None


def timeline(conn: Connection, viewer: Viewer, thing: tuple[str, str], limit: int) -> Timeline:
    """Returns the life of a thing, told by the values that the viewer may see.

    :raises InvalidQuery: it is not a single thing.
    :raises HTTPException: 403, things of this type are hidden from the viewer.
    """
    checked(viewer, Query((single("target", thing),)))
    life = trail.timeline(conn, thing, scope=viewer.scope_query, limit=limit)
    return replace(life, moments=tuple(seen_moment(viewer, moment) for moment in life.moments))


def actor_timeline(conn: Connection, viewer: Viewer, actor: tuple[str, str], before: int | None) -> ActorTimeline:
    """Returns what an actor has done before an index, a thousand events at most.

    :raises InvalidQuery: it is not a single actor.
    :raises HTTPException: 403, who has done something is hidden from the viewer.
    """
    checked(viewer, Query((single("actor", actor),)))
    as_of = None if before is None else before - 1
    life = trail.actor_timeline(conn, actor, as_of, viewer.scope_query, ACTOR_LIMIT)
    return replace(life, moments=tuple(seen_moment(viewer, moment) for moment in life.moments))


def seen_moment(viewer: Viewer, moment: Moment) -> Moment:
    """Returns a moment as the viewer may see it."""
    if viewer.access.mask is unmasked:
        return moment
    event = {"action": moment.action, "outcome": moment.outcome, "reason": moment.reason}
    parts = {"actor": parts_of(moment.actor), "targets": [parts_of(moment.target)]}
    shown = masked_event(viewer, {**event, **parts, "changes": [dict(change) for change in moment.changes]})
    return replace(
        moment,
        action=str(shown["action"]),
        outcome=str(shown["outcome"]),
        actor=reference(shown["actor"]) if moment.actor else None,
        target=first_target(shown["targets"]) if moment.target else None,
        reason=None if shown["reason"] is None else str(shown["reason"]),
        changes=readable_changes(shown["changes"]),
    )


def parts_of(text: str | None) -> dict[str, str]:
    """Returns "type:id" as an object."""
    kind, _, identity = (text or "").partition(":")
    return {"type": kind, "id": identity}


def as_seen(viewer: Viewer, entries: Iterable[Entry]) -> list[MaskedEntry]:
    """Returns entries as the viewer may see them."""
    return [masked(viewer, entry) for entry in entries]


def size_of_log(conn: Connection) -> int:
    """Returns the size of the log: the index that the next event will have."""
    row = conn.execute(SIZE).fetchone()
    return row[0] if row else 0


def key_of(text: str) -> int | UUID | None:
    """Returns the index or the id of an event that a text names; None if it is neither.

    >>> key_of("17"), key_of("01890a5d-ac96-774b-bcce-b302099a8057"), key_of("017")
    (17, UUID('01890a5d-ac96-774b-bcce-b302099a8057'), None)
    """
    if text.isascii() and text.isdigit():
        return int(text) if text == str(int(text[:20])) and int(text) < ALL.stop else None
    try:
        return UUID(text) if len(text) == len(str(UUID(int=0))) else None
    except ValueError:
        return None


def moment_of(text: str) -> datetime | int:
    """Returns the moment that a text names: an index of the log, or a time as a search takes it.

    :raises InvalidQuery: it is neither.
    """
    key = key_of(text)
    if isinstance(key, int):
        return key

    try:
        return moment(text)
    except ValueError as error:
        raise InvalidQuery(str(error)) from None
