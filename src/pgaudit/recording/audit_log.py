"""``AuditLog``: the object that an application records its events with."""

import asyncio
import logging
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, cast

import psycopg

from pgaudit import _tracing
from pgaudit._db_errors import refusal, safe_summary
from pgaudit.errors import InvalidEvent, UnknownConnection
from pgaudit.events import AuditEvent
from pgaudit.recording import capture, spool
from pgaudit.recording.connections import async_transaction_of, transaction_of
from pgaudit.recording.connections.psycopg_ import AsyncPsycopgTransaction, PsycopgTransaction
from pgaudit.recording.context import with_bound_context
from pgaudit.recording.document import to_document
from pgaudit.settings import Mode, OnFailure, Settings

logger = logging.getLogger("pgaudit")

# How long an autonomous event waits for the end of the audit log: the caller's own transaction may hold it.
LOG_TIMEOUT: Final = "SET LOCAL lock_timeout = '2s'"


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
        _tracing.is_installed()  # imports OpenTelemetry now, not while the first event is recorded

    def record(self, conn: object, *events: AuditEvent) -> None:
        """Records events in the caller's transaction, with one statement, however many there are.

        They are committed and rolled back with it, savepoints included.

        :param conn: a connection in a transaction, or a cursor of one.
        :raises InvalidEvent: an event is too large, or is none, or the database refuses it; nothing was recorded.
        :raises NotInTransaction: the connection would commit the events on their own.
        :raises UnknownConnection: ``conn`` is not a connection that pgaudit knows.
        """
        refuse_event(conn, "record")
        with self._span(events):
            events, document = self._prepare(events)
            if document is None:
                return
            transaction = transaction_of(conn)
            if self.settings.on_failure == OnFailure.RAISE:
                with refusals():
                    transaction.record(document, inline=self._inline)
                return
            try:
                with refusals(), transaction.savepoint():
                    transaction.record(document, inline=self._inline)
            except InvalidEvent:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the change goes on
                # On a broken connection this raises: then the change is lost too, and needs no event.
                self._spool(events, transaction.xid(), error)

    async def record_async(self, conn: object, *events: AuditEvent) -> None:
        """``record`` for asynchronous connections."""
        refuse_event(conn, "await record_async")
        with self._span(events):
            events, document = self._prepare(events)
            if document is None:
                return
            transaction = await async_transaction_of(conn)
            if self.settings.on_failure == OnFailure.RAISE:
                with refusals():
                    await transaction.record(document, inline=self._inline)
                return
            try:
                with refusals():
                    async with transaction.savepoint():
                        await transaction.record(document, inline=self._inline)
            except InvalidEvent:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the change goes on
                await asyncio.to_thread(self._spool, events, await transaction.xid(), error)

    def record_autonomous(self, *events: AuditEvent) -> None:
        """Records the events in a transaction of their own, which outlives the caller's rollback.

        For what must be kept although nothing changed: denied attempts, failed logins. Opens a connection
        to ``PGAUDIT_DSN`` for each call. With ``PGAUDIT_MODE=inline``, and another transaction holding the audit log
        for two seconds (it may be the caller's own), the events wait in the queue for the next inline record or a
        worker.
        """
        with self._span(events):
            events, document = self._prepare(events)
            if document is None:
                return
            try:
                with refusals(), psycopg.connect(self.settings.conninfo) as conn:
                    if self._inline:
                        record_inline_or_queue(conn, document)
                    else:
                        PsycopgTransaction(conn).record(document, inline=False)
            except psycopg.Error as error:
                self._spool_or_raise(events, error)

    async def record_autonomous_async(self, *events: AuditEvent) -> None:
        """``record_autonomous`` without blocking the event loop."""
        with self._span(events):
            events, document = self._prepare(events)
            if document is None:
                return
            try:
                with refusals():
                    async with await psycopg.AsyncConnection.connect(self.settings.conninfo) as conn:
                        if self._inline:
                            await record_inline_or_queue_async(conn, document)
                        else:
                            await AsyncPsycopgTransaction(conn).record(document, inline=False)
            except psycopg.Error as error:
                await asyncio.to_thread(self._spool_or_raise, events, error)

    @property
    def _inline(self) -> bool:
        return self.settings.mode == Mode.INLINE

    def _span(self, events: Sequence[AuditEvent]) -> AbstractContextManager[None]:
        """Returns the span that the events are recorded in; an empty one in mode ``off``."""
        return _tracing.record_span(0 if self.settings.mode == Mode.OFF else len(events))

    def _prepare(self, events: Sequence[AuditEvent]) -> tuple[tuple[AuditEvent, ...], str | None]:
        """Returns the events with what is bound, and the document to send; None when nothing has to be sent."""
        refuse_others(events)
        trace = _tracing.current_ids()
        events = tuple(with_bound_context(event, trace) for event in events)
        document = to_document(events, self.settings.max_event_bytes)
        if capture.keep(events) or not events or self.settings.mode == Mode.OFF:
            return events, None
        return events, document

    def _spool_or_raise(self, events: Sequence[AuditEvent], error: psycopg.Error) -> None:
        if self.settings.on_failure == OnFailure.RAISE:
            raise error
        self._spool(events, None, error)

    def _spool(self, events: Sequence[AuditEvent], xid: str | None, error: Exception) -> None:
        _tracing.record_error(error)
        path = spool.append(self.settings.spool_dir, [event.to_json() for event in events], xid)
        extra: dict[str, Any] = {"action": "event_spooled", "events": [str(event.id) for event in events]}
        logger.error(
            "%d event(s) went to %s, not to the database: %s", len(events), path, safe_summary(error), extra=extra
        )


@contextmanager
def refusals() -> Generator[None]:
    """Raises InvalidEvent where the database refuses an event: its limits may be narrower than those checked here."""
    try:
        yield
    except Exception as error:
        if message := refusal(error):
            raise InvalidEvent(message) from error
        raise


def record_inline_or_queue(conn: psycopg.Connection[Any], document: str) -> None:
    """Appends the events, or leaves them in the queue while another transaction holds the audit log."""
    conn.execute(LOG_TIMEOUT)
    try:
        with conn.transaction():
            PsycopgTransaction(conn).record(document, inline=True)
    except psycopg.errors.LockNotAvailable:
        PsycopgTransaction(conn).record(document, inline=False)


async def record_inline_or_queue_async(conn: psycopg.AsyncConnection[Any], document: str) -> None:
    """``record_inline_or_queue`` for asynchronous connections."""
    await conn.execute(LOG_TIMEOUT)
    try:
        async with conn.transaction():
            await AsyncPsycopgTransaction(conn).record(document, inline=True)
    except psycopg.errors.LockNotAvailable:
        await AsyncPsycopgTransaction(conn).record(document, inline=False)


def refuse_event(conn: object, method: str) -> None:
    """Raises UnknownConnection when events are passed in the place of the connection."""
    kind = type(conn)
    given = cast("Sequence[object]", conn) if isinstance(conn, list | tuple) else [conn]
    if any(isinstance(each, AuditEvent) for each in given):
        raise UnknownConnection(
            f"{kind.__name__} is not a connection; pass the connection first: {method}(conn, event)"
        )


def refuse_others(events: Sequence[object]) -> None:
    """Raises InvalidEvent when one of the events is not an AuditEvent."""
    for number, event in enumerate(events, start=1):
        if not isinstance(event, AuditEvent):
            raise InvalidEvent(
                f"event {number} is a {type(event).__name__}, not an AuditEvent; "
                "pass events one by one: record(conn, *events)"
            )
