"""What a timeline has of an event: enough to show what was done and changed, without the whole event."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self, cast
from uuid import UUID

from pgaudit._exact_json import parse_json
from pgaudit._reading import Statement, Steps
from pgaudit.trail.query import Term

MOST_TOGETHER: Final = 1_000
# The last column: whether the changes are of the thing with that type and id. It must be the first target, or have the
# same type and role as that. It is NULL without a thing.
MOMENTS: Final = """
    SELECT index, event_id, occurred_at, recorded_at, action, outcome, actor_type, actor_id, target_type, target_id,
           event->>'reason', (event->'changes')::text,
           EXISTS (SELECT FROM jsonb_path_query(event, 'lax $.targets[*]') AS target
                    WHERE target->>'type' = %(type)s::text AND target->>'id' = %(id)s::text
                      AND target_type = %(type)s::text
                      AND (target->>'role') IS NOT DISTINCT FROM (event #>> '{targets,0,role}'))
      FROM pgaudit.audit_log WHERE index = ANY(%(indexes)s) ORDER BY index DESC
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """One event of a timeline. ``target`` is its first target, ``changes`` are as they were recorded.

    ``is_subject`` says whether the changes are of the thing whose timeline this is: of an event with several targets,
    they are of the first one, and of others with the same type and role.
    """

    index: int
    event_id: UUID
    occurred_at: datetime
    recorded_at: datetime
    action: str
    outcome: str
    actor: str | None
    target: str | None
    reason: str | None
    changes: tuple[dict[str, Any], ...]
    is_subject: bool

    @property
    def effect(self) -> tuple[dict[str, Any], ...]:
        """The changes that the event made to the thing: none if it was denied or failed, or changed another thing."""
        return self.changes if self.is_subject and self.outcome == "success" else ()

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Self:
        """Returns the moment of a row of ``MOMENTS``, as any driver returns it."""
        index, event_id, occurred, recorded, action, outcome, *references, reason, changes, is_subject = row
        actor_type, actor_id, target_type, target_id = references
        return cls(
            index,
            event_id,
            occurred.astimezone(UTC),
            recorded.astimezone(UTC),
            action,
            outcome,
            actor_type and f"{actor_type}:{actor_id}",
            target_type and f"{target_type}:{target_id}",
            reason,
            readable_changes(parse_json(changes)) if changes else (),
            bool(is_subject),
        )


def readable_changes(changes: object) -> tuple[dict[str, Any], ...]:
    """Returns the changes that name a path; an event that was not made by this library may hold anything."""
    items = cast("list[object]", changes) if isinstance(changes, list) else []
    dicts = [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]
    return tuple(change for change in dicts if isinstance(change.get("path"), str))


def moments_at(indexes: Sequence[int], term: Term) -> Steps[list[Moment]]:
    """Reads the moments at these indexes, the newest first, for the timeline of the target or actor of a term."""
    kind, _, identity = term.values[0].partition(":") if term.field == "target" else ("", "", "")
    moments: list[Moment] = []
    for first in range(0, len(indexes), MOST_TOGETHER):
        some = list(indexes[first : first + MOST_TOGETHER])
        rows = yield Statement(MOMENTS, {"indexes": some, "type": kind, "id": identity})
        moments += map(Moment.from_row, rows)
    return moments
