"""Rows that an ORM has changed, as events: what capture would record of them, as far as an ORM can see it."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pgaudit.events import AuditEvent, Change, Target
from pgaudit.recording.connections import Transaction
from pgaudit.recording.event_size import fitting
from pgaudit.recording.row_values import Operation, changes_between, id_of

VERBS: Final[Mapping[Operation, str]] = {"insert": "created", "update": "updated", "delete": "deleted"}
ROOM: Final = 4_096  # bytes of an event for what is bound


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


def uncaptured(transaction: Transaction, changes: Sequence[RowChange]) -> list[AuditEvent]:
    """Returns the events of the changes that no trigger captures."""
    captured = {table: transaction.captured_operations(table) for table in {change.table for change in changes}}
    return [change.event for change in changes if change.operation not in captured[change.table]]


def columns_to_record(transaction: Transaction, operation: Operation, tables: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the columns of an object, and the table of each; of several tables, without those that are captured."""
    if len(names := set(tables.values())) == 1:
        return tables  # record_uncaptured looks itself
    captured = {name for name in names if operation in transaction.captured_operations(name)}
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
