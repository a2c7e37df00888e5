"""Events as a viewer may see them: values that the access masks are replaced, wherever the event is shown.

The exact text and the leaf hash of an event with a masked value are withheld, because a hash confirms a guess.
"""

from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pgaudit._exact_json import Json
from pgaudit.trail import Entry
from pgaudit.web.access import unmasked
from pgaudit.web.guard import Viewer

ALWAYS_SHOWN: Final = frozenset({"id", "occurred_at", "recorded_at"})  # pages are in this order, and link to these


@dataclass(frozen=True, slots=True)
class MaskedEntry:
    """An event in the log as a viewer may see it.

    ``text`` and ``leaf_hash`` are None when a value is masked.
    """

    index: int
    event_id: UUID
    occurred_at: datetime
    recorded_at: datetime
    persisted_at: datetime
    action: object
    outcome: object
    actor: str | None
    target: str | None
    tenant: object
    event: dict[str, Any]
    conflicts_with: int | None
    is_masked: bool
    text: str | None
    leaf_hash: bytes | None


def masked(viewer: Viewer, entry: Entry) -> MaskedEntry:
    """Returns an entry as a viewer may see it, its numbers with all their digits.

    :raises HTTPException: 403, the access could not decide about a value.
    """
    stored = entry.exact_event()
    event = masked_event(viewer, stored)
    is_masked = differs(event, stored)
    return MaskedEntry(
        index=entry.index,
        event_id=entry.event_id,
        occurred_at=entry.occurred_at,
        recorded_at=entry.recorded_at,
        persisted_at=entry.persisted_at,
        action=event.get("action"),
        outcome=event.get("outcome"),
        actor=reference(event.get("actor")),
        target=first_target(event.get("targets")),
        tenant=event.get("tenant"),
        event=event,
        conflicts_with=entry.conflicts_with,
        is_masked=is_masked,
        text=None if is_masked else entry.text,
        leaf_hash=None if is_masked else entry.leaf_hash,
    )


def masked_event(viewer: Viewer, event: dict[str, Any]) -> dict[str, Any]:
    """Returns a copy of an event as a viewer may see it."""
    copy = deepcopy(event)  # a mask that changes a value in place must not change the event
    return {name: value if name in ALWAYS_SHOWN else masked_value(viewer, name, value) for name, value in copy.items()}


def masked_value(viewer: Viewer, path: str, value: Json) -> object:
    """Returns a value of an event as a viewer may see it: itself, or with masked values inside, or another one.

    An object is asked about first, then each value in it. The items of a list have the path of the list.
    """
    if viewer.access.mask is unmasked:
        return value
    shown = viewer.mask(path, value)
    if differs(shown, value):
        return shown
    if path == "changes" and isinstance(value, list):
        return [masked_change(viewer, change) for change in value]
    if isinstance(value, dict):
        return {name: masked_value(viewer, f"{path}.{name}", inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked_value(viewer, path, item) for item in value]
    return value


def masked_change(viewer: Viewer, change: dict[str, Any]) -> dict[str, Any]:
    """Returns a change as a viewer may see it: the name of the field stays, also if the change is masked as a whole."""
    path = f"changes.{change.get('path', '')}"
    shown = viewer.mask(path, change)
    if differs(shown, change):
        return {name: value if name == "path" else shown for name, value in change.items()}
    return {
        name: value if name == "path" else masked_value(viewer, f"{path}.{name}", value)
        for name, value in change.items()
    }


def differs(shown: object, value: object) -> bool:
    """Returns whether two JSON values differ; 1, 1.0 and true do."""
    return repr(shown) != repr(value)


def reference(part: Json) -> str | None:
    """Returns an actor or a target as "type:id"; what stands in its place if it is masked as a whole."""
    if isinstance(part, dict):
        return f"{part.get('type')}:{part.get('id')}"
    return None if part is None else str(part)


def first_target(targets: Json) -> str | None:
    """Returns the first target as "type:id"."""
    if isinstance(targets, list):
        return reference(targets[0]) if targets else None
    return reference(targets)
