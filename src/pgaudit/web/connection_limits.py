"""Limits on the connections of the health port, so that slow clients cannot use up the files of the worker."""

from asyncio import BaseTransport, TimerHandle, Transport
from typing import Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS: Final = 32
# From accept to the end of the response. A look-up takes at most half of it.
CONNECTION_SECONDS: Final = 10.0


class LimitedProtocol(H11Protocol):
    """Ends a connection that lasts too long, and the oldest one without a request when there are too many."""

    _limit: TimerHandle

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast("Transport", transport))
        self._limit = self.loop.call_later(CONNECTION_SECONDS, self.transport.abort)
        others = self._open_connections() - {self}
        if len(others) >= MAX_CONNECTIONS:
            waiting = [one for one in others if one.conn.their_state is h11.IDLE]
            min(waiting, key=lambda one: one._limit.when(), default=self).transport.abort()  # noqa: SLF001

    def connection_lost(self, exc: Exception | None) -> None:
        self._limit.cancel()
        super().connection_lost(exc)

    def _open_connections(self) -> "set[LimitedProtocol]":
        """Returns the connections of the server, without those that are being closed."""
        connections = cast("set[LimitedProtocol]", self.connections)
        return {one for one in connections if not one.transport.is_closing()}


# Options of uvicorn. One request for each connection, so that an idle client keeps none; a short backlog, because
# asyncio accepts the whole of it before any connection can be closed; requests that are no HTTP are not logged.
LIMITS: Final[dict[str, Any]] = {
    "http": LimitedProtocol,
    "headers": [("Connection", "close")],
    "backlog": MAX_CONNECTIONS,
    "log_level": "error",
}
