"""Many-to-many relations of a tracked object: which other objects a flush adds to them and removes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import Connection, Table
from sqlalchemy.orm import InstanceState, PassiveFlag
from sqlalchemy.orm.attributes import instance_state

from pgaudit.events import Change
from pgaudit.recording.row_changes import RowChange
from pgaudit.recording.row_values import MASKED, Operation, row_value
from pgaudit.sqlalchemy.classes import Tracked, name_of, relations_of
from pgaudit.sqlalchemy.rows import Written

Link = tuple[tuple[str, Any], ...]
"""How a row between refers to one of its objects: its columns, and their values."""
WITHOUT_LOADING: Final = PassiveFlag.PASSIVE_NO_INITIALIZE | PassiveFlag.INCLUDE_PENDING_MUTATIONS


@dataclass(frozen=True, slots=True)
class RowBetween:
    """A row of the table of a many-to-many relation, as a flush writes it."""

    table: Table
    operation: Operation
    values: Mapping[str, Any]

    def part(self, names: Sequence[str]) -> Link:
        """Returns some of its values."""
        return tuple((name, self.values.get(name)) for name in names)


def unexplained(rows: Sequence[RowBetween], objects: Sequence[Written]) -> Iterator[RowBetween]:
    """Yields the rows that are neither a change of an object's relation, nor deleted with an object."""
    if not rows:
        return
    changes = {change for written in objects for change in changed_rows(written)}
    deleted = {link for written in objects if written.operation == "delete" for link in links_of(written)}
    columns = {(table, tuple(name for name, _ in link)) for table, link in deleted}
    for row in rows:
        parts = {(table, row.part(names)) for table, names in columns if table == row.table}
        is_explained = (row.table, row.operation, frozenset(row.values.items())) in changes
        if row.operation != "update" and not is_explained and parts.isdisjoint(deleted):
            yield row


def changed_rows(written: Written) -> Iterator[tuple[Any, Operation, frozenset[tuple[str, Any]]]]:
    """Yields the rows that the relations of an object add and remove, as far as they are recorded."""
    for relation in relations_of(written.state.mapper, written.tracked.fields):
        history = written.state.get_history(relation.key, WITHOUT_LOADING)
        mine = link(relation.parent, written.state.obj(), relation.synchronize_pairs)
        sides: list[tuple[Operation, Any]] = [("insert", history.added), ("delete", history.deleted)]
        for operation, others in sides:
            for other in others or ():
                theirs = link(relation.mapper, other, relation.secondary_synchronize_pairs or ())
                yield relation.secondary, operation, frozenset((*mine, *theirs))


def links_of(written: Written) -> Iterator[tuple[Any, Link]]:
    """Yields how the rows of an object's relations refer to it."""
    for relation in relations_of(written.state.mapper, written.tracked.fields):
        yield relation.secondary, link(relation.parent, written.state.obj(), relation.synchronize_pairs)


def link(mapper: Any, obj: object, pairs: Sequence[tuple[Any, Any]]) -> Link:
    """Returns how rows between refer to an object.

    :param pairs: columns of the object, and those of the table between.
    """
    values = instance_state(obj).dict
    return tuple((between.key, values.get(mapper.get_property_by_column(own).key)) for own, between in pairs)


def rows_of_relations(conn: Connection, tracked: Tracked, state: InstanceState[Any]) -> Iterator[RowChange]:
    """Yields a change of the object for each relation that others are added to, or removed from."""
    key = state.mapper.primary_key_from_instance(state.obj())
    for relation in relations_of(state.mapper, tracked.fields):
        history = state.get_history(relation.key, WITHOUT_LOADING)
        table = name_of(conn, cast("Table", relation.secondary))
        masked = relation.key in tracked.described.mask
        if added := keys_of(relation.mapper, history.added):
            change = Change(path=f"{relation.key}.added", after=MASKED if masked else added)
            yield RowChange(table, "insert", tracked.described.event("update", (key, key), [change]))
        if removed := keys_of(relation.mapper, history.deleted):
            change = Change(path=f"{relation.key}.removed", before=MASKED if masked else removed)
            yield RowChange(table, "delete", tracked.described.event("update", (key, key), [change]))


def keys_of(mapper: Any, objects: Any) -> list[object]:
    """Returns the primary keys of objects: a list of values for each where the key has several columns."""
    keys = [[row_value(value) for value in mapper.primary_key_from_instance(obj)] for obj in objects or ()]
    return [key[0] if len(key) == 1 else key for key in keys]
