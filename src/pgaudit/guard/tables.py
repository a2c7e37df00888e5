"""What captured and guarded tables have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, LiteralString, TypeVar

from pgaudit.errors import CaptureRefused

Names = str | Sequence[str]
"""A name or several: ``"id"``, or ``("tenant", "id")``."""

# The columns of a view for the fields of WatchedTable.
FIELDS: Final[LiteralString] = """
    schema_name || '.' || table_name AS "table", target_type AS target, key_columns AS key, action, columns,
    excluded AS exclude, masked AS mask, condition AS "when", level, level_reason, children, problem,
    added_at, added_by, paused_at, paused_by
"""

# The name of a table as people write it: with its schema or without, quoted or not.
NAMED: Final[LiteralString] = """
    %(table)s IN (table_name, schema_name || '.' || table_name, quote_ident(table_name),
                  quote_ident(schema_name) || '.' || quote_ident(table_name))
"""
_Watched = TypeVar("_Watched", bound="WatchedTable")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedTable:
    """A table as the database has it now; columns have their present names."""

    purpose: ClassVar[str]
    """``capture`` or ``guard``: the command, and the SQL functions, are called so."""
    watched: ClassVar[str]
    """``captured`` or ``guarded``: the state in which no change passes unseen."""

    table: str
    """Its name with its schema."""
    target: str
    key: list[str]
    action: str
    columns: list[str] | None
    """The columns that count; None for all."""
    exclude: list[str]
    mask: list[str]
    when: str | None
    level: str | None
    """What its triggers fire for: ``statement`` or ``row``; None if they are missing."""
    level_reason: str | None
    """Why they must fire for each row; None if they may fire for each statement."""
    children: list[str]
    """Tables that inherit from it; not its partitions."""
    problem: str | None
    """Why changes may pass: the rest of a sentence about the table."""
    added_at: datetime
    added_by: str
    paused_at: datetime | None
    paused_by: str | None

    @property
    def is_paused(self) -> bool:
        """Whether it is paused."""
        return self.paused_at is not None

    @property
    def state(self) -> str:
        """``captured`` or ``guarded``; ``paused``; or ``broken`` when changes may pass unseen."""
        return "paused" if self.is_paused else "broken" if self.problem else self.watched


def several(names: Names | None) -> list[str]:
    """Returns the names as a list.

    >>> several("id"), several(("tenant", "id"))
    (['id'], ['tenant', 'id'])
    """
    return [names] if isinstance(names, str) else list(names or ())


def require(kind: type[WatchedTable], table: str, *, is_there: object) -> None:
    """Raises CaptureRefused if a table is not captured or guarded, as the database has answered."""
    if not is_there:
        raise CaptureRefused(f"{table} is not {kind.watched}: `pgaudit {kind.purpose} list` shows the tables that are")


def the_only(kind: type[_Watched], tables: Sequence[_Watched], name: str) -> _Watched:
    """Returns the only table of that name.

    :raises CaptureRefused: there is none, or there are several.
    """
    require(kind, name, is_there=tables)
    if len(tables) > 1:
        raise CaptureRefused(f"{name} is ambiguous: name one of {', '.join(each.table for each in tables)}")
    return tables[0]
