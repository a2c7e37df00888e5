"""Rows that an ORM has changed, as events: what capture would record of them, as far as an ORM can see it."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, cast

from pgaudit.errors import InvalidEvent
from pgaudit.events import AuditEvent, Change, Target
from pgaudit.recording.connections import Transaction
from pgaudit.recording.document import STAMP_BYTES, stored_size

Operation = Literal["insert", "update", "delete"]

VERBS: Final[Mapping[Operation, str]] = {"insert": "created", "update": "updated", "delete": "deleted"}
MASKED: Final = "***"
MAX_ID: Final = 500  # characters of a target's id
ROOM: Final = 4_096  # bytes of an event for what is bound
SMALL: Final = 200  # bytes of a value that is never left out


@dataclass(frozen=True, slots=True)
class RowChange:
    """The event of a changed row, and where the row is.

    :param table: its name as ``regclass`` reads it.
    """

    table: str
    operation: Operation
    event: AuditEvent


@dataclass(frozen=True, slots=True)
class Row:
    """An object's key and values, before and after its row has changed."""

    key: Sequence[object]
    new_key: Sequence[object]
    before: Mapping[str, object]
    after: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Described:
    """What the events of a tracked class have in common.

    :param mask: names of values that are recorded as ``"***"``.
    """

    target: str
    action: str
    max_bytes: int
    mask: Collection[str]

    def change(self, operation: Operation, row: Row, tables: Mapping[str, str]) -> RowChange | None:
        """Returns the change of an object; None if an UPDATE has changed nothing, or triggers capture all of it.

        :param tables: the columns to record, and the table of each.
        """
        before, after = ({name: side[name] for name in tables if name in side} for side in (row.before, row.after))
        changes = changes_between(operation, before, after, self.mask)
        if not tables or (operation == "update" and not changes):
            return None
        changed = [tables[change.path] for change in changes] or list(tables.values())
        return RowChange(changed[0], operation, self.event(operation, (row.key, row.new_key), changes))

    def event(
        self, operation: Operation, keys: tuple[Sequence[object], Sequence[object]], changes: Sequence[Change]
    ) -> AuditEvent:
        """Returns the event of a row, by its key before and after. A new key is a second target."""
        first, second = map(id_of, keys)
        targets = [Target(type=self.target, id=first)]
        if second != first:
            targets.append(Target(type=self.target, id=second, role="new"))
        event = AuditEvent(action=f"{self.action}.{VERBS[operation]}", targets=targets, changes=changes)
        return fitting(event, self.max_bytes - min(ROOM, self.max_bytes // 4))


def describe_class(target: str, action: str | None, max_bytes: int, mask: Collection[str]) -> Described:
    """Returns what the events of a class have in common. Raises InvalidEvent if no event could have that."""
    AuditEvent(action=f"{action or target}.{VERBS['insert']}", target=Target(type=target, id="1"))
    return Described(target, action or target, max_bytes, mask)


def changes_between(
    operation: Operation, before: Mapping[str, object], after: Mapping[str, object], mask: Collection[str] = ()
) -> tuple[Change, ...]:
    """Returns the changes of a row: values that are not null of a new or deleted one, differences of another.

    :param mask: names of values that are recorded as ``"***"``.
    """
    if operation == "update":
        return tuple(
            change_of(name, {"before": before[name], "after": value}, masked=name in mask)
            for name, value in after.items()
            if name in before and differs(before[name], value)
        )
    side, values = ("after", after) if operation == "insert" else ("before", before)
    return tuple(
        change_of(name, {side: value}, masked=name in mask) for name, value in values.items() if value is not None
    )


def differs(before: object, after: object) -> bool:
    """Returns whether two values differ; values of other libraries, such as arrays, by what would be recorded."""
    try:
        return bool(before != after)
    except (TypeError, ValueError):  # naive and aware times, or an array without one truth value
        return str(before) != str(after)


def change_of(path: str, sides: Mapping[str, object], *, masked: bool) -> Change:
    """Returns a change with the sides that are given: before, after or both."""
    values = {side: MASKED if masked else row_value(value) for side, value in sides.items()}
    try:
        return Change(path=path, **values)
    except InvalidEvent:
        texts = {side: as_text(value) for side, value in values.items()}
        return Change(path=path, **texts)


def row_value(value: object) -> object:
    """Returns a value as capture records it, where events have no form for it: times without zone, bytes, NaN."""
    match value:
        case datetime() if value.tzinfo is None:
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return "\\x" + bytes(cast("bytes", value)).hex()
        case float() | Decimal() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
        case set() | frozenset():
            return sorted((row_value(item) for item in cast("set[object]", value)), key=str)
        case list() | tuple():
            return [row_value(item) for item in cast("Sequence[object]", value)]
        case _:
            return value


def as_text(value: object) -> object:
    """Returns the JSON text of an object or array that no event can hold, such as one that is nested too deep."""
    return json.dumps(value, default=str) if isinstance(value, Mapping | list) else value


def id_of(key: Sequence[object]) -> str:
    """Returns the id of a target: the values of its key, joined with commas, as capture joins them."""
    texts = ["NULL" if value is None else str(value) for value in key]
    text = texts[0] if len(texts) == 1 else ",".join(text.replace("!", "!!").replace(",", "!,") for text in texts)
    if len(text) > MAX_ID:
        return f"{text[:400]}…{hashlib.sha256(text.encode()).hexdigest()}"
    return text or '""'


def fitting(event: AuditEvent, limit: int) -> AuditEvent:
    """Returns the event. While it is larger than the limit in bytes, its largest value is left out, as capture does."""
    while not fits(event, limit):
        sizes = [(size_of(value), n, side) for n, change in enumerate(event.changes) for side, value in given(change)]
        size, n, side = max(sizes, default=(0, 0, ""))
        if size < SMALL:
            break
        changes = list(event.changes)
        changes[n] = without(changes[n], side)
        event = event.model_copy(update={"changes": tuple(changes)})
    return event


def without(change: Change, side: str) -> Change:
    """Returns a change with the size and hash of a side in its place."""
    sides: dict[str, Any] = dict(given(change))
    sides[side] = omitted(sides[side])
    return Change(path=change.path, **sides)


def fits(event: AuditEvent, limit: int) -> bool:
    """Returns whether Postgres stores no more than that many bytes."""
    document = event.to_json()
    return len(document) * 5 + STAMP_BYTES <= limit or stored_size(document) <= limit


def given(change: Change) -> list[tuple[str, Any]]:
    """Returns the sides of a change that were given."""
    return [(side, getattr(change, side)) for side in ("before", "after") if side in change.model_fields_set]


def text_of(value: object) -> bytes:
    """Returns a value's text, of which size and hash are taken."""
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()


def size_of(value: object) -> int:
    """Returns the size of a value in bytes."""
    return len(text_of(value))


def omitted(value: object) -> dict[str, object]:
    """Returns what stands for a value that is too large: its size and hash."""
    return {"omitted": True, "bytes": size_of(value), "sha256": hashlib.sha256(text_of(value)).hexdigest()}


def uncaptured(transaction: Transaction, changes: Sequence[RowChange]) -> list[AuditEvent]:
    """Returns the events of the changes that no trigger captures."""
    captured = {table: transaction.captured_operations(table) for table in {change.table for change in changes}}
    return [change.event for change in changes if change.operation not in captured[change.table].split(",")]


def columns_to_record(transaction: Transaction, operation: Operation, tables: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the columns of an object, and the table of each; of several tables, without those that are captured."""
    if len(names := set(tables.values())) == 1:
        return tables  # record_uncaptured looks itself
    captured = {name for name in names if operation in transaction.captured_operations(name).split(",")}
    return {column: table for column, table in tables.items() if table not in captured}


def document_of(changes: Sequence[RowChange], texts: Sequence[str]) -> str:
    """Returns the JSON array that ``pgaudit.record_uncaptured`` takes.

    :param texts: the JSON of the changes' events.
    """
    parts = [
        f'{{"table":{json.dumps(change.table)},"operation":"{change.operation}","event":{text}}}'
        for change, text in zip(changes, texts, strict=True)
    ]
    return f"[{','.join(parts)}]"
