"""Every error that pgaudit raises.

::

    PgauditError
    ├── InvalidEvent       the event cannot be recorded as it is
    ├── InvalidSettings    an environment variable or setting is invalid
    ├── NotInTransaction   the connection would commit the event on its own
    ├── NotInRequest       identify() was called where no middleware of pgaudit serves a request
    ├── UnknownConnection  the object is not a connection of a kind that can be used here
    ├── SpoolRefused       other users could change the directory of spooled events
    ├── SpoolFull          the directory of spooled events has reached its maximum size
    ├── WorkerRefused      the database lacks the schema, or the worker's role a right
    ├── MissingExtra       a feature whose packages are not installed
    ├── MigrationRefused   the schema cannot be printed, downgraded or removed as asked
    └── JobNotFound        there is no such job, or it is not in the required state

Errors of the database itself are the driver's. If the schema or a right is missing, they carry a note of the
remedy.
"""


class PgauditError(Exception):
    """Root of everything pgaudit raises."""


class InvalidEvent(PgauditError, ValueError):
    """The event cannot be recorded as it is; the message names the field. Nothing was sent."""


class InvalidSettings(PgauditError, ValueError):
    """A setting is invalid; the message names its environment variable."""


class NotInTransaction(PgauditError):
    """The connection is in autocommit, outside a transaction: the event would be committed on its own."""


class NotInRequest(PgauditError):
    """``identify`` was called where no middleware of pgaudit serves a request; use ``bind`` there."""


class UnknownConnection(PgauditError, TypeError):
    """The object is not a database connection of a kind that can be used here; the message names those that can."""


class SpoolRefused(PgauditError):
    """Other users could change the spool's directory or file; the message says how to close it. Nothing was written."""


class SpoolFull(PgauditError):
    """The spool would exceed ``PGAUDIT_SPOOL_MAX_BYTES``; nothing was written."""


class WorkerRefused(PgauditError):
    """A worker cannot run: gevent has replaced threads, or the schema, a right or access to the database is missing."""


class MissingExtra(PgauditError, ImportError):
    """A feature was asked for whose packages are not installed; the message says which extra has them."""


class MigrationRefused(PgauditError):
    """The schema cannot be printed, downgraded or removed as asked; the message says why. Nothing was changed."""


class JobNotFound(PgauditError, LookupError):
    """There is no job of that number, or it is not in the required state."""
