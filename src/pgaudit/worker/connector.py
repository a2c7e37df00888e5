"""Procrastinate's connector, with its statements in our schema, to a server that can be written to."""

from typing import Any, LiteralString

import psycopg
from procrastinate import PsycopgConnector
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgaudit import _db_errors


class AuditConnector(PsycopgConnector):
    """Names our schema in Procrastinate's own statements.

    A ``search_path`` would do the same, but it is session state, which PgBouncer passes on to other clients.
    """

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        await super().execute_query_async(add_schema(query), **arguments)

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        row: dict[str, Any] = await super().execute_query_one_async(add_schema(query), **arguments)
        return row

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = await super().execute_query_all_async(add_schema(query), **arguments)
        return rows

    async def leave_read_only_server(self, error: BaseException) -> None:
        """Replaces all connections if the error says that the server has become read-only: a demoted primary, say."""
        if isinstance(_db_errors.origin(error), psycopg.errors.ReadOnlySqlTransaction):
            await self.pool.drain()


def to_primary(conninfo: str) -> str:
    """Returns the conninfo, restricted to servers that can be written to, unless it has a restriction of its own."""
    given = conninfo_to_dict(conninfo).get("target_session_attrs")
    return conninfo if given else make_conninfo(conninfo, target_session_attrs="read-write")


def add_schema(query: LiteralString) -> LiteralString:
    """Returns one of Procrastinate's statements with our schema before the names of its tables."""
    return query.replace("procrastinate_", "pgaudit.procrastinate_")
