"""The classes that are tracked, and the tables that their objects are in."""

# isinstance() leaves open which columns a table has.
# pyright: reportUnknownArgumentType=false

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, FromClause, Table
from sqlalchemy.orm import Mapper, RelationshipProperty

from pgaudit.recording.audit_log import AuditLog
from pgaudit.recording.row_changes import Described


@dataclass(frozen=True, slots=True)
class Tracked:
    """How the objects of a class are tracked."""

    audit: AuditLog
    described: Described
    fields: Collection[str] | None


@dataclass(frozen=True, slots=True)
class TrackedTable:
    """A table of a tracked class: its own, or that of a many-to-many relation.

    :param name: of the class.
    """

    name: str
    tracked: Tracked
    is_relation: bool


tracked: Final[WeakKeyDictionary[Mapper[Any], Tracked]] = WeakKeyDictionary()


def tracked_as(mapper: Mapper[Any]) -> Tracked | None:
    """Returns how a class is tracked: as the nearest of its bases, itself included; None if none is."""
    return next((tracked[base] for base in mapper.iterate_to_root() if base in tracked), None)


def tracked_table(table: FromClause) -> TrackedTable | None:
    """Returns the class whose rows, or whose many-to-many relations, a table has; None if it is not tracked."""
    for root in list(tracked):
        for mapper in root.self_and_descendants:
            if found := tracked_as(mapper):
                is_relation = table in {each.secondary for each in relations_of(mapper, found.fields)}
                if is_relation or table == mapper.local_table:  # not "is": statements have annotated copies
                    return TrackedTable(mapper.class_.__name__, found, is_relation)
    return None


def relations_of(mapper: Mapper[Any], fields: Collection[str] | None = None) -> Iterator[RelationshipProperty[Any]]:
    """Yields the many-to-many relations of a class that it writes."""
    for relation in mapper.relationships:
        if (
            isinstance(relation.secondary, Table)
            and not relation.viewonly
            and (fields is None or relation.key in fields)
        ):
            yield relation


def name_of(conn: Connection, table: FromClause) -> str:
    """Returns the name of a table as ``regclass`` reads it, in the schema that the connection's options choose."""
    quote = conn.dialect.identifier_preparer.quote
    schema = conn.schema_for_object(table) if isinstance(table, Table) else None
    name = quote(cast("Any", table).name)
    return f"{quote(schema)}.{name}" if schema else name
