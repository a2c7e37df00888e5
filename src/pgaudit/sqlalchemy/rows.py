"""The events of the objects that a flush has written."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection
from sqlalchemy.orm import InstanceState, Mapper

from pgaudit.recording.connections.sqlalchemy_ import SqlalchemyTransaction
from pgaudit.recording.row_changes import Row, RowChange, columns_to_record
from pgaudit.recording.row_values import Operation
from pgaudit.sqlalchemy.attributes import chosen_by_database, present_values, stored_values
from pgaudit.sqlalchemy.classes import Tracked, name_of


@dataclass(frozen=True, slots=True)
class Written:
    """An object that a flush has inserted, updated or deleted; ``before`` has its values until then."""

    state: InstanceState[Any]
    operation: Operation
    tracked: Tracked
    columns: Mapping[str, Column[Any]]
    before: Mapping[str, Any]

    @property
    def key(self) -> tuple[Any, ...]:
        """The primary key after the flush."""
        return tuple(self.state.mapper.primary_key_from_instance(self.state.obj()))

    @property
    def expired(self) -> set[str]:
        """The names of values that the database has chosen, and that are not loaded."""
        if self.operation == "delete":
            return set()
        names = (
            chosen_by_database(self.columns) if self.operation == "insert" else self.columns.keys() & self.before.keys()
        )
        return {name for name in names if name not in self.state.dict}


Stored = Mapping[InstanceState[Any], Mapping[str, Any]]


def row_changes(conn: Connection, objects: Sequence[Written]) -> Iterator[RowChange]:
    """Yields a change for each object whose row has changed."""
    stored = read_again(conn, objects)
    for written in objects:
        if change := row_change(conn, written, stored.get(written.state, {})):
            yield change


def read_again(conn: Connection, objects: Sequence[Written]) -> Stored:
    """Reads what the database has chosen, such as a column with ``onupdate=func.now()``: one query for each class."""
    by_class: dict[Mapper[Any], list[Written]] = defaultdict(list)
    for written in objects:
        if written.expired:
            by_class[written.state.mapper].append(written)
    found: dict[InstanceState[Any], Mapping[str, Any]] = {}
    for mapper, some in by_class.items():
        names = set[str]().union(*(written.expired for written in some))
        rows = stored_values(conn, mapper, [written.key for written in some], names)
        found |= {written.state: rows.get(written.key, {}) for written in some}
    return found


def row_change(conn: Connection, written: Written, stored: Mapping[str, Any]) -> RowChange | None:
    """Returns the change of an object; None if there is none to record."""
    state, operation, key = written.state, written.operation, written.key
    tables = {name: name_of(conn, column.table) for name, column in written.columns.items()}
    loaded = present_values(state, written.columns) | {name: stored[name] for name in written.expired & stored.keys()}
    old_key = key if state.key is None or operation == "insert" else state.key[1]
    row = Row(
        key=old_key,
        new_key=old_key if operation == "delete" else key,
        before=written.before,
        after={} if operation == "delete" else loaded,
    )
    names = columns_to_record(SqlalchemyTransaction(conn), operation, tables)
    return written.tracked.described.change(operation, row, names)
