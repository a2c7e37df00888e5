"""An audit trail for Python monoliths on Postgres: complete, exactly once, tamper-evident, cheap.

>>> audit = AuditLog()
>>> with psycopg.connect(dsn) as conn:
...     conn.execute("UPDATE claims SET status = 'approved' WHERE id = %s", [7])
...     audit.record(conn, AuditEvent(action="claim.approved", actor="user:42", target="claim:7"))
"""

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

__all__ = [
    "Actor",
    "AuditContext",
    "AuditEvent",
    "AuditLog",
    "Change",
    "InvalidEvent",
    "InvalidSettings",
    "Mode",
    "NotInRequest",
    "NotInTransaction",
    "OnFailure",
    "PgauditError",
    "Settings",
    "Target",
    "UnknownConnection",
    "UntrackedChange",
    "bind",
    "identify",
    "identify_async",
]
__version__ = "0.1.0"
