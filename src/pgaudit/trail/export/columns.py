"""The columns of an event in a table: CSV and Parquet have the same."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from pgaudit._exact_json import parse_json, to_json
from pgaudit.errors import ExportRefused
from pgaudit.events import AuditContext
from pgaudit.trail.export.rows import Row
from pgaudit.trail.fields import data_path

# Where in the event the value of a column is. Arrays and objects are in the column as JSON.
IN_EVENT: Final[Mapping[str, tuple[str, ...]]] = {
    "event_id": ("id",),
    "action": ("action",),
    "outcome": ("outcome",),
    "actor_type": ("actor", "type"),
    "actor_id": ("actor", "id"),
    "actor_name": ("actor", "name"),
    "actor_on_behalf_of": ("actor", "on_behalf_of"),
    "target_type": ("targets", "0", "type"),
    "target_id": ("targets", "0", "id"),
    "target_name": ("targets", "0", "name"),
    "targets": ("targets",),
    "tenant": ("tenant",),
    "reason": ("reason",),
    **{name: ("context", name) for name in AuditContext.model_fields},
    "changes": ("changes",),
    "data": ("data",),
    "schema_version": ("schema_version",),
    "recorded_by": ("recorded_by",),
    "xid": ("xid",),
}
# Times, and columns of the log outside the event. Each format writes them in its own way.
IN_LOG: Final = ("index", "occurred_at", "recorded_at", "persisted_at", "conflicts_with", "leaf_hash")
NAMES: Final = (
    "index", "event_id", "occurred_at", "recorded_at", "persisted_at",
    *(name for name in IN_EVENT if name != "event_id"),
    "conflicts_with", "leaf_hash",
)  # fmt: skip


def check(columns: Sequence[str]) -> None:
    """Checks additional columns.

    :raises ExportRefused: one of them is no path in ``data``.
    """
    for column in columns:
        if not data_path(column):
            raise ExportRefused(f"{column!r} cannot be a column: write data. and a path, such as data.claim.amount")


def values(row: Row, columns: Sequence[str]) -> dict[str, str | None]:
    """Returns what the event has for the columns of ``IN_EVENT``, and for ``columns``, paths such as data.amount."""
    event = parse_json(row.text)
    paths = {**IN_EVENT, **{column: ("data", *data_path(column)) for column in columns}}
    return {name: as_cell(value_at(event, path)) for name, path in paths.items()}


def value_at(value: Any, path: Sequence[str]) -> Any:
    """Returns the value at a path of keys, and positions in lists; None if there is nothing.

    >>> value_at({"rates": [5, 7]}, ["rates", "1"])
    7
    """
    for key in path:
        value = members_of(value).get(key)
    return value


def members_of(value: Any) -> Mapping[str, Any]:
    """Returns the members of an object or list by their key or position; none of any other value."""
    if isinstance(value, list):
        return {str(position): item for position, item in enumerate(cast("list[object]", value))}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_cell(value: object) -> str | None:
    """Returns a text as it is, None for null, and any other value as JSON."""
    return value if value is None or isinstance(value, str) else to_json(value)
