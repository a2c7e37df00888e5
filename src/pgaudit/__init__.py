"""An audit trail for Python monoliths on Postgres: complete, exactly once, tamper-evident, cheap.

>>> audit = AuditLog()
>>> with psycopg.connect(dsn) as conn:
...     conn.execute("UPDATE claims SET status = 'approved' WHERE id = %s", [7])
...     audit.record(conn, AuditEvent(action="claim.approved", actor="user:42", target="claim:7"))
"""

import importlib
import typing

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

if typing.TYPE_CHECKING:
    from pgaudit.processors import Backoff, Discard, ProcessorEntry, Retry, processor
    from pgaudit.trail.following import stream

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
    "stream",
]
__version__ = "0.1.0"

_LATER: typing.Final = {
    "Backoff": "pgaudit.processors",
    "Discard": "pgaudit.processors",
    "ProcessorEntry": "pgaudit.processors",
    "Retry": "pgaudit.processors",
    "processor": "pgaudit.processors",
    "stream": "pgaudit.trail.following",
}


def __getattr__(name: str) -> typing.Any:
    """Imports what an application needs that reads the log, when it asks for it: recording costs no more for it."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(importlib.import_module(_LATER[name]), name)
    return found
