"""An audit trail for Python monoliths on Postgres: complete, exactly once, tamper-evident, cheap.

>>> audit = AuditLog()
>>> with psycopg.connect(dsn) as conn:
...     conn.execute("UPDATE claims SET status = 'approved' WHERE id = %s", [7])
...     audit.record(conn, AuditEvent(action="claim.approved", actor="user:42", target="claim:7"))
"""

from typing import TYPE_CHECKING, Any, Final

from pgaudit.errors import (
    InvalidEvent,
    InvalidSettings,
    NotInRequest,
    NotInTransaction,
    PgauditError,
    UnknownConnection,
    UntrackedChange,
)
from pgaudit.events import Actor, AuditContext, AuditEvent, Change, Target
from pgaudit.recording import replay as replay
from pgaudit.recording import spool as spool
from pgaudit.recording.audit_log import AuditLog
from pgaudit.recording.context import bind
from pgaudit.recording.identification import identify, identify_async
from pgaudit.settings import Mode, OnFailure, Settings

if TYPE_CHECKING:
    from pgaudit.processors import Backoff, Discard, ProcessorEntry, Retry, processor

__all__ = [
    "Actor",
    "AuditContext",
    "AuditEvent",
    "AuditLog",
    "Backoff",
    "Change",
    "Discard",
    "InvalidEvent",
    "InvalidSettings",
    "Mode",
    "NotInRequest",
    "NotInTransaction",
    "OnFailure",
    "PgauditError",
    "ProcessorEntry",
    "Retry",
    "Settings",
    "Target",
    "UnknownConnection",
    "UntrackedChange",
    "bind",
    "identify",
    "identify_async",
    "processor",
]
__version__ = "0.1.0"

OF_PROCESSORS: Final = frozenset({"Backoff", "Discard", "ProcessorEntry", "Retry", "processor"})


def __getattr__(name: str) -> Any:
    """Imports what processors need when it is asked for: an application that only records does not pay for it."""
    if name not in OF_PROCESSORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pgaudit import processors  # noqa: PLC0415 - see above

    return getattr(processors, name)
