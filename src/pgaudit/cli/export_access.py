"""Records who exports with ``pgaudit export``."""

import getpass
import os
from typing import Any, Final

from pgaudit._reading import Statement, Steps, run
from pgaudit.access_log import record_access
from pgaudit.cli.database import connect
from pgaudit.errors import ExportRefused
from pgaudit.events import Actor, AuditEvent
from pgaudit.trail.export import Plan, started

SESSION: Final = "SELECT session_user, current_setting('transaction_read_only')::boolean"


class ExportAccess:
    """Records the start and the end of an export, each in a session of its own: that of the export may be lost.

    :raises ExportRefused: the database is read-only and ``unrecorded`` is not set, or the other way round.
    """

    def __init__(self, conn: object, *, unrecorded: bool) -> None:
        user, is_read_only = run(conn, session())
        if is_read_only and not unrecorded:
            raise ExportRefused(
                "this database is read-only, such as a standby, and cannot record the export: export from the primary, "
                "or allow that it is missing in the log with --unrecorded"
            )
        if unrecorded and not is_read_only:
            raise ExportRefused("this database can record the export: leave out --unrecorded")
        self.said: dict[str, Any] = {"actor": Actor(type="db_user", id=user), "os_user": os_user()}
        self.record = None if is_read_only else self._record

    def start(self, plan: Plan, resumed_at: int | None = None, **more: Any) -> None:
        """Records that an export begins, or continues.

        :param more: what else to say of it.
        """
        more |= {} if resumed_at is None else {"resumed_at": resumed_at}
        if self.record:
            self.record(started(plan, **self.said, **more))

    def _record(self, event: AuditEvent) -> None:
        with connect("reader") as conn:
            record_access(conn, event)


def session() -> Steps[tuple[str, bool]]:
    """Reads the role of the session, and whether the database is read-only."""
    ((user, is_read_only),) = yield Statement(SESSION)
    return user, is_read_only


def os_user() -> str:
    """Returns the name of the operating system's user, or the user's number if there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
