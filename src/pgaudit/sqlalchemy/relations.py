"""Many-to-many relations of a tracked object: which other objects a flush adds to them and removes."""

from collections.abc import Iterator
from typing import Any, Final, cast

from sqlalchemy import Connection, Table
from sqlalchemy.orm import InstanceState, PassiveFlag

from pgaudit.events import Change
from pgaudit.recording.row_changes import RowChange
from pgaudit.recording.row_values import MASKED, row_value
from pgaudit.sqlalchemy.classes import Tracked, name_of, relations_of

WITHOUT_LOADING: Final = PassiveFlag.PASSIVE_NO_INITIALIZE | PassiveFlag.INCLUDE_PENDING_MUTATIONS


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
