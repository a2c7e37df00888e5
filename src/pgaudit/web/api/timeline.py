"""The route of the life of one thing."""

from typing import Annotated, Any, Final

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

from pgaudit._exact_json import to_json
from pgaudit.settings import Settings
from pgaudit.trail import Moment, Timeline, Told
from pgaudit.web import views
from pgaudit.web.api.bodies import spliced, stop_body
from pgaudit.web.api.viewer import CurrentViewer
from pgaudit.web.lookups import Lookups
from pgaudit.web.reads import Reader
from pgaudit.web.views import Connection

MOST_MOMENTS: Final = 20_000
Kind = Annotated[str, Path(alias="type", max_length=100, description="The type of the thing, such as `claim`.")]
Identity = Annotated[str, Path(alias="id", max_length=500, description="Its id. It may have slashes.")]
MOMENT: Final = "a time such as `2026-03-01T12:00Z`, an age such as `7d`, or the index of an event"
AsOf = Annotated[str | None, Query(description=f"The state at a moment: {MOMENT}. The latest one without it.")]
Compare = Annotated[str | None, Query(description=f"What is not the same as at another moment: {MOMENT}.")]
Limit = Annotated[int, Query(ge=1, le=MOST_MOMENTS, description="The most events to read; the newest are kept.")]


class TimelineRoutes:
    """The route of the life of one thing."""

    def __init__(self, lookups: Lookups, settings: Settings) -> None:
        self._lookups = lookups
        self._settings = settings

    async def timeline(  # noqa: PLR0913, PLR0917 - one for each parameter
        self,
        request: Request,
        viewer: CurrentViewer,
        kind: Kind,
        identity: Identity,
        as_of: AsOf = None,
        compare: Compare = None,
        limit: Limit = 1_000,
    ) -> Response:
        """Returns the events of a thing in the order of the log, and what they tell of its fields.

        A field that is missing in `state`, or not `known`, is unknown: no event has told it.
        """
        reader = Reader.of(request, viewer, self._settings)
        at, other = (None if text is None else views.moment_of(text) for text in (as_of, compare))

        def look(conn: Connection) -> str:
            life = views.timeline(conn, viewer, (kind, identity), limit=limit)
            reader.viewed(conn, target=life.target, count=len(life.moments))
            return timeline_text(life, at, other)

        return Response(await self._lookups.run(look), media_type="application/json")


def timeline_text(life: Timeline, as_of: views.When, compare: views.When) -> str:
    """Returns a timeline as JSON, its numbers with all their digits."""
    state = {path: told_body(told) for path, told in life.state(as_of).items()}
    return spliced(
        target=to_json(life.target),
        moments=to_json([moment_body(moment) for moment in life.moments]),
        state=to_json(state),
        difference="null" if compare is None else difference_text(life, as_of, compare),
        stopped=to_json(life.stopped and stop_body(life.stopped)),
    )


def difference_text(life: Timeline, as_of: views.When, compare: views.When) -> str:
    """Returns the fields that are not the same at two moments, as JSON."""
    return to_json(
        [
            {
                "path": one.path,
                "before": one.before and told_body(one.before),
                "after": one.after and told_body(one.after),
            }
            for one in life.difference(compare, as_of)
        ]
    )


def told_body(told: Told) -> dict[str, Any]:
    """Returns what an event has told of a field."""
    return {
        "value": told.value,
        "known": told.known,
        "source": told.source,
        "index": told.by.index,
        "contradicted_by": told.contradicted_by and told.contradicted_by.index,
    }


def moment_body(moment: Moment) -> dict[str, Any]:
    """Returns an event of a timeline."""
    return {
        "index": moment.index,
        "event_id": str(moment.event_id),
        "occurred_at": moment.occurred_at.isoformat(),
        "recorded_at": moment.recorded_at.isoformat(),
        "action": moment.action,
        "outcome": moment.outcome,
        "actor": moment.actor,
        "target": moment.target,
        "reason": moment.reason,
        "changes": list(moment.changes),
    }
