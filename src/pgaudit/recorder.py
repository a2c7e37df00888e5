"""``AuditLog``: what an application records its events with."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import psycopg

from pgaudit import spool, statements, tracing
from pgaudit.connections import async_transaction_of, transaction_of
from pgaudit.context import inherit
from pgaudit.embedded import conninfo
from pgaudit.errors import InvalidEvent, UnknownConnection
from pgaudit.events import AuditEvent
from pgaudit.settings import Mode, OnFailure, Settings
from pgaudit.sqlstates import in_brief
from pgaudit.statements import Statement

logger = logging.getLogger("pgaudit")


class AuditLog:
    """Records audit events in the caller's own transaction.

    >>> audit = AuditLog()
    >>> with psycopg.connect(dsn) as conn:
    ...     audit.record(conn, AuditEvent(action="claim.approved", actor="user:42", target="claim:7"))

    No I/O until it is used. One instance serves all threads and event loops.

    :param settings: read from the environment when left out.
    :raises InvalidSettings: a value in the environment is invalid.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    def record(self, conn: object, *events: AuditEvent) -> None:
        """Records the events with the change that the caller's transaction makes: one statement, however many.

        They are committed and rolled back with it, savepoints included.

        :param conn: a connection in a transaction, or a cursor of one.
        :raises InvalidEvent: an event is too large, or is none; nothing was sent.
        :raises NotInTransaction: the connection would commit the events on their own.
        :raises UnknownConnection: ``conn`` is not a connection that pgaudit knows.
        """
        refuse_event(conn, "record")
        with self._span(events):
            events, statement = self._prepare(events)
            if statement is None:
                return
            transaction = transaction_of(conn)
            if self.settings.on_failure == OnFailure.RAISE:
                transaction.execute(statement.query, statement.parameters)
                return
            try:
                with transaction.savepoint():
                    transaction.execute(statement.query, statement.parameters)
            except Exception as error:  # noqa: BLE001 - whatever it is, the change goes on
                # On a broken connection this raises: then the change is lost too, and needs no event.
                self._spool(events, transaction.xid(), error)

    async def record_async(self, conn: object, *events: AuditEvent) -> None:
        """``record`` for asynchronous connections."""
        refuse_event(conn, "await record_async")
        with self._span(events):
            events, statement = self._prepare(events)
            if statement is None:
                return
            transaction = await async_transaction_of(conn)
            if self.settings.on_failure == OnFailure.RAISE:
                await transaction.execute(statement.query, statement.parameters)
                return
            try:
                async with transaction.savepoint():
                    await transaction.execute(statement.query, statement.parameters)
            except Exception as error:  # noqa: BLE001 - whatever it is, the change goes on
                await asyncio.to_thread(self._spool, events, await transaction.xid(), error)

    def record_autonomous(self, *events: AuditEvent) -> None:
        """Records the events in a transaction of their own, which outlives the caller's rollback.

        For what must be kept although nothing changed: denied attempts, failed logins. Opens a connection
        to ``PGAUDIT_DSN`` for each call.
        """
        with self._span(events):
            events, statement = self._prepare(events)
            if statement is None:
                return
            try:
                with psycopg.connect(conninfo(self.settings.dsn)) as conn:
                    transaction_of(conn).execute(statement.query, statement.parameters)
            except psycopg.Error as error:
                self._spool_or_raise(events, error)

    async def record_autonomous_async(self, *events: AuditEvent) -> None:
        """``record_autonomous`` without blocking the event loop."""
        with self._span(events):
            events, statement = self._prepare(events)
            if statement is None:
                return
            try:
                async with await psycopg.AsyncConnection.connect(conninfo(self.settings.dsn)) as conn:
                    await (await async_transaction_of(conn)).execute(statement.query, statement.parameters)
            except psycopg.Error as error:
                await asyncio.to_thread(self._spool_or_raise, events, error)

    def _span(self, events: Sequence[AuditEvent]) -> AbstractContextManager[None]:
        """The span that they are recorded in, if they are to go anywhere."""
        return tracing.recording(0 if self.settings.mode == Mode.OFF else len(events))

    def _prepare(self, events: Sequence[AuditEvent]) -> tuple[tuple[AuditEvent, ...], Statement | None]:
        """The events with what is bound, checked, and the statement that records them, if one has to be sent."""
        refuse_others(events)
        trace = tracing.ids()
        events = tuple(inherit(event, trace) for event in events)
        statement = statements.statement_for(events, self.settings)
        return events, statement if events and self.settings.mode != Mode.OFF else None

    def _spool_or_raise(self, events: Sequence[AuditEvent], error: psycopg.Error) -> None:
        if self.settings.on_failure == OnFailure.RAISE:
            raise error
        self._spool(events, None, error)

    def _spool(self, events: Sequence[AuditEvent], xid: str | None, error: Exception) -> None:
        tracing.failed(error)
        path = spool.append(self.settings.spool_dir, [event.to_json() for event in events], xid)
        extra: dict[str, Any] = {"action": "event_spooled", "events": [str(event.id) for event in events]}
        logger.error("%d event(s) went to %s, not to the database: %s", len(events), path, in_brief(error), extra=extra)


def refuse_event(conn: object, method: str) -> None:
    """Raises UnknownConnection when events stand in the place of the connection: they would be recorded nowhere."""
    kind = type(conn)
    given = cast("Sequence[object]", conn) if isinstance(conn, list | tuple) else [conn]
    if any(isinstance(each, AuditEvent) for each in given):
        raise UnknownConnection(
            f"{kind.__name__} is not a connection; pass the connection first: {method}(conn, event)"
        )


def refuse_others(events: Sequence[object]) -> None:
    """Raises InvalidEvent when something among the events is none."""
    for number, event in enumerate(events, start=1):
        if not isinstance(event, AuditEvent):
            raise InvalidEvent(
                f"event {number} is a {type(event).__name__}, not an AuditEvent; "
                "pass events one by one: record(conn, *events)"
            )
