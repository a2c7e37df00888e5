"""Every error that pgaudit raises.

::

    PgauditError
    ├── InvalidEvent       the event cannot be recorded as it is
    ├── InvalidSettings    an environment variable or setting is invalid
    ├── NotInTransaction   the connection would commit the event on its own
    ├── NotInRequest       identify() was called where no middleware of pgaudit serves a request
    ├── UntrackedChange    an ORM cannot tell which rows are changed, or from what value
    ├── UnknownConnection  the object is not a connection of a kind that can be used here
    ├── SpoolRefused       other users could change the directory of spooled events
    ├── SpoolFull          the directory of spooled events has reached its maximum size
    ├── WorkerRefused      the database lacks the schema, or the worker's role a right
    ├── MissingExtra       a feature whose packages are not installed
    ├── MigrationRefused   the schema cannot be printed, downgraded or removed as asked
    ├── InvalidQuery       the text of a search cannot be understood
    ├── ExportRefused      the export cannot be made, continued or recorded as asked
    ├── IndexRefused       an index of the log cannot be added or removed
    ├── CaptureRefused     a table cannot be captured or guarded as asked
    ├── InvalidStream      a stream cannot be added or changed as asked
    ├── InvalidCursor      a cursor of the log cannot be made, read or moved
    ├── StreamNotFound     there is no stream of that name
    ├── ArchiveRefused     an archive cannot be set up or looked at as asked
    ├── InvalidProcessor   a processor cannot be declared as asked
    ├── InvalidNote        a checkpoint, signature or public key cannot be understood or verified
    ├── InvalidKey         there is no usable private key to sign checkpoints with
    ├── LogDamaged         rows or tiles of the log are missing
    ├── InvalidPolicy      a file that says whose signatures are needed cannot be understood
    ├── PackAltered        a pack is not what was signed
    ├── PackUnreadable     a pack cannot be checked, or has nothing to check
    ├── RolledBack         the log is smaller than, or other than, what was signed before
    ├── WalUnreadable      the WAL cannot be read, or is of another server
    ├── AnchorFailed       an anchor did not take a checkpoint, or cannot be read
    ├── JobNotFound        there is no such job, or it is not in the required state
    └── SearchNotSaved     a saved search is too long, or there are too many

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


class UntrackedChange(PgauditError):
    """Rows of a tracked class would change without an event; the message says what to do. The change was not made."""


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


class InvalidQuery(PgauditError, ValueError):
    """The text of a search cannot be understood; the message says where and why. ``position`` counts from 0."""

    def __init__(self, reason: str, text: str = "", position: int | None = None) -> None:
        self.reason = reason
        self.text = text
        self.position = position
        super().__init__(reason if position is None else f"{reason}, at character {position + 1}")

    @property
    def marked(self) -> str:
        """The text on one line, and below it a caret under the place."""
        line = "".join(character if character.isprintable() else " " for character in self.text)
        return line if self.position is None else f"{line}\n{' ' * self.position}^"


class ExportRefused(PgauditError):
    """The export cannot be made, continued or recorded as asked; the message says what to do."""


class IndexRefused(PgauditError):
    """An index cannot be added or removed: there is none of that name, or a transaction is in the way."""


class CaptureRefused(PgauditError):
    """A table cannot be captured or guarded as asked, or a transaction keeps it locked. Nothing was changed."""


class InvalidNote(PgauditError, ValueError):
    """A signed note, checkpoint, signature or public key has another form than the standard, or does not verify."""


class InvalidKey(PgauditError):
    """A private key cannot be read, written or used; the message never quotes it."""


class LogDamaged(PgauditError):
    """Rows or tiles of the log are missing, so that it cannot be sealed or proved; the message says which."""


class InvalidPolicy(PgauditError, ValueError):
    """A trust policy cannot be understood; the message names the line."""


class PackAltered(PgauditError):
    """A pack is not what was signed; the message names the file and, if it is about an event, its index."""


class PackUnreadable(PgauditError):
    """A pack cannot be checked: it cannot be read, is of another version, or has no events."""


class RolledBack(PgauditError):
    """The log is smaller than, or other than, one that this signer has signed. Nothing was signed."""


class WalUnreadable(PgauditError):
    """The WAL cannot be read, or is of another server; the message says what to do."""


class AnchorFailed(PgauditError):
    """An anchor did not take a checkpoint, or cannot be read; the message says why, and has no secret."""


class JobNotFound(PgauditError, LookupError):
    """There is no job of that number, or it is not in the required state."""


class SearchNotSaved(PgauditError, ValueError):
    """A saved search is too long, or its owner has too many of them; the message has the limit. Nothing was changed."""


class InvalidStream(PgauditError, ValueError):
    """A stream cannot be added or changed as asked; the message says what to write. Nothing was changed."""


class ArchiveRefused(PgauditError):
    """An archive cannot be set up or looked at as asked; the message says what to do, and has no secret."""


class InvalidCursor(PgauditError, ValueError):
    """A cursor of the log cannot be made, read or moved; the message says why. It was not moved."""


class StreamNotFound(PgauditError, LookupError):
    """There is no stream, processor or cursor of that name."""


class InvalidProcessor(PgauditError, ValueError):
    """A processor cannot be declared as asked, or its name is taken; the message says what to write."""
