"""Records as an event that the audit log was read. Readers may record such events and no others."""

from typing import Final

import psycopg
from psycopg.rows import scalar_row

from pgaudit._db_errors import refusal
from pgaudit._driver import fetch, undone_on_error
from pgaudit.errors import InvalidEvent
from pgaudit.events import AuditEvent
from pgaudit.recording.context import with_bound_context
from pgaudit.recording.document import to_ascii

__all__ = ["EXPORTED", "EXPORT_STARTED", "VIEWED", "record_access"]

EXPORT_STARTED: Final = "audit.export_started"
EXPORTED: Final = "audit.exported"
VIEWED: Final = "audit.viewed"
RECORD_ACCESS: Final = "SELECT pgaudit.record_access(%s)"


def record_access(conn: object, event: AuditEvent) -> None:
    """Records an event about reading: ``audit.export_started``, ``audit.exported`` or ``audit.viewed``.

    It is committed with the caller's transaction; without one, at once. It has what is bound, like any event.

    >>> with psycopg.connect(dsn, autocommit=True) as conn:
    ...     record_access(conn, AuditEvent(action="audit.viewed", actor="user:42", target="claim:7"))

    :param conn: a connection of psycopg, or one of Django or SQLAlchemy on psycopg, whose role is a reader.
    :raises InvalidEvent: the database refuses the event; nothing was recorded.
    :raises UnknownConnection: ``conn`` is asynchronous, or has no psycopg connection below it.
    :raises psycopg.errors.InsufficientPrivilege: the action is another one, or the role is no reader.
    """
    document = to_ascii(with_bound_context(event).to_json())
    try:
        with undone_on_error(conn) as driver:
            fetch(driver, scalar_row, RECORD_ACCESS, [document])
    except psycopg.Error as error:
        if message := refusal(error):
            raise InvalidEvent(message) from error
        raise
