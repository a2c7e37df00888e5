"""Procrastinate's connector, with its statements in our schema."""

from typing import Any, LiteralString

from procrastinate import PsycopgConnector


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


def add_schema(query: LiteralString) -> LiteralString:
    """Returns one of Procrastinate's statements with our schema before the names of its tables."""
    return query.replace("procrastinate_", "pgaudit.procrastinate_")
