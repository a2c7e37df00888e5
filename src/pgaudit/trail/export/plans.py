"""What an export will have: decided once at its start, so that it can be continued, and told to others."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self, get_args
from uuid import UUID

import pgaudit
from pgaudit._reading import Statement, Steps, run, run_async
from pgaudit.errors import ExportRefused
from pgaudit.events.uuid7 import uuid7
from pgaudit.trail.export import columns as table
from pgaudit.trail.fields import TIMES, moment
from pgaudit.trail.query import Query, Scanner, as_query

Format = Literal["ndjson", "csv", "parquet"]
SIZE: Final = "SELECT size FROM pgaudit.log_head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An export: the events that ``query`` finds below the index ``size``.

    The log only grows and has no gaps, so these are the same events whenever they are read; no snapshot has to be held.
    ``query`` has times where the query that was ``asked`` has ages.

    :raises ExportRefused: the format does not exist, or does not have what is asked for.
    """

    query: Query
    format: Format
    size: int
    columns: tuple[str, ...] = ()
    bom: bool = False
    masked: bool = False
    asked: str = ""
    id: UUID = field(default_factory=uuid7)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    version: str = field(default_factory=lambda: pgaudit.__version__)

    def __post_init__(self) -> None:
        if self.format not in get_args(Format):
            raise ExportRefused(f"there is no format {self.format!r}: {', '.join(get_args(Format))}")
        if self.columns and self.format == "ndjson":
            raise ExportRefused("NDJSON has no columns: it has each event as a whole")
        if self.bom and self.format != "csv":
            raise ExportRefused("only CSV can begin with a byte order mark")
        table.check(self.columns)

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as JSON values."""
        return {
            "export_id": str(self.id),
            "query": str(self.query),
            "asked": self.asked,
            "format": self.format,
            "log_size": self.size,
            "columns": list(self.columns),
            "bom": self.bom,
            "masked": self.masked,
            "created_at": self.created_at.isoformat(),
            "pgaudit": self.version,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Returns the plan that ``to_json`` has described."""
        return cls(
            query=Query(tuple(Scanner(values["query"]).terms())),
            format=values["format"],
            size=values["log_size"],
            columns=tuple(values["columns"]),
            bom=values["bom"],
            masked=values["masked"],
            asked=values["asked"],
            id=UUID(values["export_id"]),
            created_at=datetime.fromisoformat(values["created_at"]),
            version=values["pgaudit"],
        )


def plan(  # noqa: PLR0913 - one for each choice
    conn: object,
    query: Query | str = "",
    format: Format = "ndjson",  # noqa: A002 - as the command line names it
    *,
    columns: Sequence[str] = (),
    bom: bool = False,
    masked: bool = False,
    scope: Query | None = None,
) -> Plan:
    """Returns the plan of an export of what the log has now.

    :param columns: further columns of CSV and Parquet: paths such as ``data.amount``.
    :param bom: CSV begins with a byte order mark, by which Excel knows UTF-8.
    :param masked: the caller hands in masked events.
    :param scope: an additional condition, such as the tenants that a user may see.
    :raises ExportRefused: the format does not exist, or does not have what is asked for.
    :raises InvalidQuery: the query cannot be understood.
    """
    draft = drafted(as_query(query), scope, format=format, columns=tuple(columns), bom=bom, masked=masked)
    return replace(draft, size=run(conn, size_of_log()))


async def plan_async(  # noqa: PLR0913 - one for each choice
    conn: object,
    query: Query | str = "",
    format: Format = "ndjson",  # noqa: A002 - as the command line names it
    *,
    columns: Sequence[str] = (),
    bom: bool = False,
    masked: bool = False,
    scope: Query | None = None,
) -> Plan:
    """``plan`` for an asynchronous connection."""
    draft = drafted(as_query(query), scope, format=format, columns=tuple(columns), bom=bom, masked=masked)
    return replace(draft, size=await run_async(conn, size_of_log()))


def drafted(query: Query, scope: Query | None, **choices: Any) -> Plan:
    """Returns a plan of which the size is not known yet: what cannot be exported is refused before the log is read."""
    return Plan(query=fixed(query & (scope or Query())), asked=str(query), size=0, **choices)


def size_of_log() -> Steps[int]:
    """Reads how many events the log has."""
    ((size,),) = yield Statement(SIZE)
    return int(size)


def fixed(query: Query) -> Query:
    """Returns the query with times in place of ages: it means the same on each page, and tomorrow.

    >>> str(fixed(Query()))
    ''
    """
    return Query(
        tuple(
            replace(term, values=tuple(moment(value).isoformat() for value in term.values))
            if term.field in TIMES
            else term
            for term in query.terms
        )
    )
