"""Procrastinate's connector with a pool of our own, on our schema, and only to servers that accept writes."""

from typing import Any, Final, LiteralString

import psycopg
from procrastinate import PsycopgConnector
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgaudit import _db_errors
from pgaudit.worker.pool import ConnectionPool

CONNECTION: Final[dict[str, Any]] = {
    "autocommit": True,
    "prepare_threshold": None,  # behind PgBouncer the next transaction may run in another session
    "application_name": "pgaudit worker",
    "client_encoding": "utf8",  # a message about an event may quote it
}
# Options of libpq that the conninfo may override.
DEFAULTS: Final[dict[str, Any]] = {
    "target_session_attrs": "read-write",
    # Seconds, for each host. A shutdown waits as long for a server that does not answer.
    "connect_timeout": 5,
}


class AuditConnector(PsycopgConnector):
    """Uses our pool, and adds our schema to Procrastinate's statements.

    A ``search_path`` would do the same, but it is session state, which PgBouncer passes on to other clients.
    """

    def __init__(self, conninfo: str, max_size: int) -> None:
        super().__init__(conninfo=conninfo, kwargs=CONNECTION)  # pyright: ignore[reportUnknownMemberType] - partly untyped
        self._pool = ConnectionPool(with_defaults(conninfo), CONNECTION, max_size)

    @property
    def pool(self) -> ConnectionPool:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride] - Procrastinate uses it by connection() alone
        """The pool of connections."""
        return self._pool

    async def open_async(self, pool: object = None) -> None:  # noqa: ARG002 - Procrastinate's signature
        """Opens the first connection.

        :raises psycopg.Error: the server cannot be reached, or refuses this role.
        """
        await self._pool.open()

    async def close_async(self) -> None:
        await self._pool.close()

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
            await self._pool.drain()


def with_defaults(conninfo: str) -> str:
    """Returns the conninfo with the options of ``DEFAULTS`` that it does not set itself."""
    given = conninfo_to_dict(conninfo)
    return make_conninfo(conninfo, **{name: value for name, value in DEFAULTS.items() if name not in given})


def add_schema(query: LiteralString) -> LiteralString:
    """Returns one of Procrastinate's statements with our schema before the names of its tables."""
    return query.replace("procrastinate_", "pgaudit.procrastinate_")
