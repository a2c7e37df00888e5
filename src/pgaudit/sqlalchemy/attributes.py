"""The columns of a mapped class, and the values of an object before and after a flush."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import JSON, Column, Connection, select, tuple_
from sqlalchemy.orm import InstanceState, LoaderCallableStatus, Mapper

from pgaudit.errors import InvalidEvent

UNKNOWN: Final = LoaderCallableStatus.NO_VALUE
PORTION: Final = 1_000  # rows of one query


def columns_of(mapper: Mapper[Any]) -> dict[str, Column[Any]]:
    """Returns the columns of a class by the names of its attributes, without those that the database computes."""
    first = {attribute.key: attribute.columns[0] for attribute in mapper.column_attrs}
    return {name: column for name, column in first.items() if isinstance(column, Column) and column.computed is None}


def chosen_columns(
    mapper: Mapper[Any], fields: Collection[str] | None, mask: Collection[str]
) -> dict[str, Column[Any]]:
    """Returns the columns that ``fields`` names; all of them for None.

    :raises InvalidEvent: ``fields`` or ``mask`` names no mapped column.
    """
    columns = columns_of(mapper)
    refuse_unknown(mapper.class_.__name__, [*(fields or ()), *mask], columns)
    return columns if fields is None else {name: column for name, column in columns.items() if name in fields}


def refuse_unknown(name: str, given: Collection[str], known: Collection[str]) -> None:
    """Raises InvalidEvent if a name is given that is not known."""
    if unknown := sorted(set(given) - set(known)):
        raise InvalidEvent(f"{name} has no column {', '.join(unknown)}; it has {', '.join(sorted(known))}")


def stored_before(state: InstanceState[Any], names: Collection[str]) -> dict[str, Any]:
    """Returns what the database had before the next flush, or the one that is running, as far as the object knows.

    ``UNKNOWN`` stands for values that were replaced, but never loaded.
    """
    known = present_values(state, names)
    return known | {name: as_loaded(value) for name, value in state.committed_state.items() if name in names}


def present_values(state: InstanceState[Any], names: Collection[str]) -> dict[str, Any]:
    """Returns the values that an object has now, as far as they are loaded."""
    return {name: as_loaded(state.dict[name]) for name in names if name in state.dict}


def as_loaded(value: object) -> Any:
    """Returns a value as SQLAlchemy loads it: JSON's null, which ``JSON.NULL`` sets, as None, like SQL's."""
    return None if value is JSON.NULL else value


def unknown_of(before: Mapping[str, Any], columns: Mapping[str, Column[Any]]) -> set[str]:
    """Returns the names of columns that an UPDATE changes, and whose values before it have to be read."""
    set_by_statement = {name for name, column in columns.items() if column.onupdate or column.server_onupdate}
    return {name for name, value in before.items() if value is UNKNOWN} | (set_by_statement - before.keys())


def chosen_by_database(columns: Mapping[str, Column[Any]]) -> set[str]:
    """Returns the names of columns that an INSERT may leave to the database, or to a default."""
    return {name for name, column in columns.items() if column.server_default is not None or column.default is not None}


def stored_values(
    conn: Connection, mapper: Mapper[Any], identities: Sequence[Sequence[Any]], names: Collection[str]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Reads columns of rows. Returns their values by name, by primary key."""
    keys = [mapper.get_property_by_column(column).class_attribute for column in mapper.primary_key]
    query = select(*keys, *(mapper.attrs[name].class_attribute for name in sorted(names)))
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for start in range(0, len(identities), PORTION):
        some = [tuple(identity) for identity in identities[start : start + PORTION]]
        for row in conn.execute(query.where(tuple_(*keys).in_(some))):
            found[tuple(row[: len(keys)])] = dict(zip(sorted(names), row[len(keys) :], strict=True))
    return found
