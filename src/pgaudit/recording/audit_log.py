"""``AuditLog``: the object that an application records its events with."""

import asyncio
import logging
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg

from pgaudit import _tracing
from pgaudit._db_errors import add_remedy, refusal, safe_summary
from pgaudit._log import warn_once
from pgaudit.errors import InvalidEvent, UnknownConnection
from pgaudit.events import AuditEvent
from pgaudit.recording import attempt, autonomous, capture, spool
from pgaudit.recording._spool_file import require_locks
from pgaudit.recording.connections import async_transaction_of, refuse_outside_transaction, transaction_of
from pgaudit.recording.context import with_awaited_actor, with_bound_context
from pgaudit.recording.document import Portion, to_portions
from pgaudit.recording.spool import Origin
from pgaudit.settings import Mode, OnFailure, Settings

if TYPE_CHECKING:
    from pgaudit.recording.row_changes import RowChange

logger = logging.getLogger("pgaudit")

OFF: Final = "PGAUDIT_MODE=off: events are checked and dropped, so nothing is recorded. In production, unset it"
REMEDIES: Final = {
    "actor": 'give it actor="user:42", call pgaudit.identify(actor=...) in the request, or record it inside of '
    '`with bind(actor="service:import"):`',
    "target": 'give it target="claim:7"',
}


class AuditLog:
    """Records audit events in the caller's own transaction.

    >>> audit = AuditLog()
    >>> with psycopg.connect(dsn) as conn:
    ...     audit.record(conn, AuditEvent(action="claim.approved", actor="user:42", target="claim:7"))

    No I/O until it is used. One instance serves all threads and event loops.

    :param settings: read from the environment when left out.
    :raises InvalidSettings: a value in the environment is invalid.
    :raises SpoolRefused: ``PGAUDIT_ON_FAILURE=spool`` is set on a system without POSIX file locks.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        if self.settings.mode == Mode.OFF:
            warn_once(OFF)
        if self.settings.on_failure == OnFailure.SPOOL:
            require_locks()
        _tracing.is_installed()  # imports OpenTelemetry now, not while the first event is recorded

    def record(self, conn: object, *events: AuditEvent) -> None:
        """Records events in the caller's transaction, with one statement for each 32 MB of them.

        They are committed and rolled back with it, savepoints included.

        :param conn: a connection in a transaction, or a cursor of one.
        :raises InvalidEvent: an event is too large, or is none, lacks what ``PGAUDIT_REQUIRE`` asks for, or the
            database refuses it; nothing was recorded.
        :raises NotInTransaction: the connection would commit the events on their own.
        :raises UnknownConnection: ``conn`` is not a connection that pgaudit knows.
        """
        refuse_event(conn, "record")
        refuse_outside_transaction(conn)
        with self._span(events), refusals():
            portions = self._prepare(events)
            if not portions:
                return
            transaction = transaction_of(conn)
            for portion in portions:
                if self.settings.on_failure == OnFailure.RAISE:
                    transaction.record(portion.document, inline=self._inline, receipts=self.settings.wal_receipts)
                elif failure := attempt.try_record(
                    transaction, portion.document, inline=self._inline, receipts=self.settings.wal_receipts
                ):
                    self._spool(portion.events, attempt.origin_of(transaction), failure)

    def record_uncaptured(self, conn: object, *changes: "RowChange") -> None:
        """Records the events of rows that an ORM has changed, unless a trigger captures them; otherwise as ``record``.

        One statement for each 32 MB, which also looks for the triggers.
        """
        from pgaudit.recording.row_changes import uncaptured  # noqa: PLC0415 - only tracking of an ORM needs it

        if self.settings.mode == Mode.QUEUE and self.settings.on_failure == OnFailure.RAISE:
            self._record_uncaptured(conn, changes)
        elif self.settings.mode == Mode.OFF or capture.is_open():
            self.record(conn, *(change.event for change in changes))
        else:
            self.record(conn, *uncaptured(transaction_of(conn), changes))

    def _record_uncaptured(self, conn: object, changes: "Sequence[RowChange]") -> None:
        from pgaudit.recording.row_changes import document_of  # noqa: PLC0415 - likewise

        events, remaining = [change.event for change in changes], iter(changes)
        refuse_outside_transaction(conn)
        with self._span(events), refusals():
            for portion in self._prepare(events):
                document = document_of([next(remaining) for _ in portion.texts], portion.texts)
                transaction_of(conn).record_uncaptured(document, receipts=self.settings.wal_receipts)

    async def record_async(self, conn: object, *events: AuditEvent) -> None:
        """``record`` for asynchronous connections."""
        refuse_event(conn, "await record_async")
        with self._span(events), refusals():
            portions = await self._prepare_async(events)
            if not portions:
                return
            transaction = await async_transaction_of(conn)
            for portion in portions:
                if self.settings.on_failure == OnFailure.RAISE:
                    await transaction.record(portion.document, inline=self._inline, receipts=self.settings.wal_receipts)
                elif failure := await attempt.try_record_async(
                    transaction, portion.document, inline=self._inline, receipts=self.settings.wal_receipts
                ):
                    origin = await attempt.origin_of_async(transaction)
                    await asyncio.to_thread(self._spool, portion.events, origin, failure)

    def record_autonomous(self, *events: AuditEvent) -> None:
        """Records the events in a transaction of their own, which outlives the caller's rollback.

        For what must be kept although nothing changed: denied attempts, failed logins. Opens a connection
        to ``PGAUDIT_DSN`` for each call. With ``PGAUDIT_MODE=inline``, and another transaction holding the audit log
        for two seconds (it may be the caller's own), the events wait in the queue for the next inline record or a
        worker.
        """
        with self._span(events), refusals():
            portions = self._prepare(events)
            if not portions:
                return
            try:
                self._record_apart([portion.document for portion in portions])
            except psycopg.Error as error:
                self._spool_or_raise(portions, error)

    async def record_autonomous_async(self, *events: AuditEvent) -> None:
        """``record_autonomous`` without blocking the event loop."""
        with self._span(events), refusals():
            portions = await self._prepare_async(events)
            if not portions:
                return
            try:
                await self._record_apart_async([portion.document for portion in portions])
            except psycopg.Error as error:
                await asyncio.to_thread(self._spool_or_raise, portions, error)

    @property
    def _conninfo(self) -> str:
        """Where autonomous events go."""
        return self.settings.conninfo

    def _record_apart(self, documents: Sequence[str]) -> None:
        """Records documents, which are JSON arrays of events, in one transaction of their own."""
        autonomous.record(self._conninfo, documents, inline=self._inline, receipts=self.settings.wal_receipts)

    async def _record_apart_async(self, documents: Sequence[str]) -> None:
        """``_record_apart`` for asynchronous callers."""
        await autonomous.record_async(
            self._conninfo, documents, inline=self._inline, receipts=self.settings.wal_receipts
        )

    @property
    def _inline(self) -> bool:
        return self.settings.mode == Mode.INLINE

    def _span(self, events: Sequence[AuditEvent]) -> AbstractContextManager[None]:
        """Returns the span that the events are recorded in; an empty one in mode ``off``."""
        return _tracing.record_span(0 if self.settings.mode == Mode.OFF else len(events))

    def _prepare(self, events: Sequence[AuditEvent], *, look_up: bool = True) -> list[Portion]:
        """Returns the events with what is bound, in portions to send; none when nothing has to be sent."""
        refuse_others(events)
        trace = _tracing.current_ids()
        events = [with_bound_context(event, trace, look_up=look_up) for event in events]
        refuse_incomplete(events, self.settings.require)
        portions = to_portions(events, self.settings.max_event_bytes)
        return [] if capture.keep(events) or self.settings.mode == Mode.OFF else portions

    async def _prepare_async(self, events: Sequence[AuditEvent]) -> list[Portion]:
        """``_prepare``, where an actor may have to be awaited."""
        refuse_others(events)
        return self._prepare(await with_awaited_actor(events), look_up=False)

    def _spool_or_raise(self, portions: Sequence[Portion], error: psycopg.Error) -> None:
        if self.settings.on_failure == OnFailure.RAISE or refusal(error):
            if not (self._conninfo or error.sqlstate):
                error.add_note("pgaudit: PGAUDIT_DSN is not set, so the defaults of libpq apply")
            raise error
        self._spool([event for portion in portions for event in portion.events], None, error)

    def _spool(self, events: Sequence[AuditEvent], origin: Origin | None, error: Exception) -> None:
        """Keeps the events in a file. What prevents that is raised, so that the caller rolls the change back."""
        _tracing.record_error(error)
        documents = [event.to_json() for event in events]
        path = spool.append(self.settings.require_spool_dir(), documents, origin, self.settings.spool_max_bytes)
        extra: dict[str, Any] = {"action": "event_spooled", "events": [str(event.id) for event in events]}
        logger.error(
            "%d event(s) went to %s, not to the database: %s", len(events), path, safe_summary(error), extra=extra
        )


@contextmanager
def refusals() -> Generator[None]:
    """Raises InvalidEvent where the database refuses an event: its limits may be narrower than those checked here.

    Other errors are raised unchanged, with a note of the remedy if the schema or a right is missing.
    """
    try:
        yield
    except Exception as error:
        if message := refusal(error):
            raise InvalidEvent(message) from error
        add_remedy(error)
        raise


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


def refuse_incomplete(events: Sequence[AuditEvent], required: Sequence[str]) -> None:
    """Raises InvalidEvent when one of the events names no actor, or no target, and has to."""
    named = {"actor": "actor", "target": "targets"}
    for event in events:
        for part in required:
            if not getattr(event, named[part]):
                raise InvalidEvent(
                    f"event {event.action} names no {part}, which PGAUDIT_REQUIRE asks for: {REMEDIES[part]}"
                )
